"""What all cameras see, as one list: the newest boxes of each, objects that two of them see only once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.merging import View, without_duplicates
from monotakd_ros.ros.outputs import DetectionOutputs, Placed


@dataclass(frozen=True, eq=False)
class Seen:
    """Boxes of a camera, and for how long they count.

    Attributes:
        placed: the boxes.
        lifetime_s: about two of the camera's intervals.
        until_s: by `time.monotonic`.
    """

    placed: Placed
    lifetime_s: float
    until_s: float


class MergedOutput:
    """Keeps each camera's newest boxes, and publishes them together after each round.

    Cameras that are not triggered together come in rounds of their own; a list of one round would hold now the one,
    now the other. Each detection keeps its own image's stamp; the list has the newest.

    Args:
        outputs: the publishers.
    """

    def __init__(self, outputs: DetectionOutputs) -> None:
        self.outputs = outputs
        self._seen: dict[str, Seen] = {}
        self._lock = threading.Lock()

    def publish(self, round_of: Sequence[tuple[Placed, float]], settings: DetectorSettings) -> None:
        """Take a round's boxes, each with how long they count (s), and publish what all cameras see."""
        now = time.monotonic()
        with self._lock:
            for placed, lifetime_s in round_of:
                self._seen[placed.camera] = Seen(placed, lifetime_s, now + lifetime_s)
            self._seen = {name: seen for name, seen in self._seen.items() if seen.until_s > now}
            seen = list(self._seen.values())
            if seen:
                lifetime_s = max(item.lifetime_s for item in seen)
                self.outputs.publish(_merged([item.placed for item in seen], settings), settings, lifetime_s)

    def forget(self, camera: str | None, stamp_ns: int, frame_id: str) -> None:
        """Forget one camera's boxes, or all of them (None), and take the markers away."""
        with self._lock:
            self._seen = {} if camera is None else {name: seen for name, seen in self._seen.items() if name != camera}
            self.outputs.clear(stamp_ns, frame_id)


def _merged(placed: Sequence[Placed], settings: DetectorSettings) -> list[Placed]:
    views = [View(item.detections, item.frame_T_cam) for item in placed]
    masks = without_duplicates(views, settings.merge_iou, settings.merge_distance_m)
    return [replace(item, detections=item.detections.select(mask)) for item, mask in zip(placed, masks)]
