"""The thread that makes frames of live pairs, writes those worth keeping, and has closed parts labelled. No ROS.

Callbacks leave the newest pair and never wait. Whatever happens to one frame, the recording goes on; what concerns the
disk stops it until somebody resumes it.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from monotakd_ros.errors import CalibrationError, FrameError, OutputError
from monotakd_ros.frame import BoxedFrame
from monotakd_ros.ros.disk_quota import DiskQuota
from monotakd_ros.ros.live_labels import LiveLabels
from monotakd_ros.ros.live_recorder import LiveRecorder
from monotakd_ros.ros.newest import NewestItems
from monotakd_ros.ros.paired_frames import PairedFrames
from monotakd_ros.ros.throttle import Throttle

logger = logging.getLogger(__name__)

CLOSE_S = 10.0
_PAIR, _TICK = "pair", "tick"


class RecordingWorker:
    """Records in a thread of its own.

    Args:
        frames: makes a frame of a pair.
        recorder: chooses and writes; used by that thread only.
        labels: gets the parts that are closed; None where nobody labels.
        quota: asked before every frame.

    Attributes:
        counts: pairs that came, were dropped, or gave no frame.
        listening: whether pairs are recorded; else the open part is closed.
        problem: why the last pair gave no frame; empty when it did.
        stopped: why nothing is written any more; empty while it is.
    """

    def __init__(
        self, frames: PairedFrames, recorder: LiveRecorder, labels: LiveLabels | None, quota: DiskQuota
    ) -> None:
        self._frames, self._recorder, self._labels, self._quota = frames, recorder, labels, quota
        self._newest: NewestItems[Any] = NewestItems()
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._throttle = Throttle()
        self._preview: BoxedFrame | None = None
        self.counts: Counter[str] = Counter()
        self.listening = False
        self.problem = self.stopped = ""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def listen(self) -> None:
        """Record from now on, also after it was stopped."""
        self.listening = True
        self.problem = self.stopped = ""

    def rest(self) -> None:
        """Record no more, and close the open part."""
        self.listening = False
        self.tick()

    def take_pair(self, image: Any, cloud: Any) -> None:
        """Leave a pair; an older one that still waits is dropped."""
        self.counts["pairs"] += 1
        if self._newest.put(_PAIR, (image, cloud)):
            self.counts["dropped: a newer pair came first"] += 1

    def tick(self) -> None:
        """Have what is due done, though no pair comes; called about once a second."""
        self._newest.put(_TICK, None)

    def preview(self) -> BoxedFrame | None:
        """The newest frame that was written since the last call; None without one."""
        shown, self._preview = self._preview, None
        return shown

    def close(self) -> None:
        """End, with the open part closed."""
        self._newest.close()
        if self._thread.ident:
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (taken := self._newest.take()) is not None:
            try:
                self._round(taken.get(_PAIR))
            except Exception as error:  # a fault of ours in one frame must not end the recording
                logger.exception("a frame failed: %r", error)
        self._hand_over(self._recorder.close)

    def _round(self, pair: tuple[Any, Any] | None) -> None:
        if not self.listening or self.stopped:
            self._hand_over(self._recorder.close)
            self._quota.objection()  # for its figures, which are shown
            return
        self._hand_over(self._recorder.close_when_due)
        objection = self._quota.objection()  # asked behind `stopped`: never older than a resume
        if objection is not None:
            self._stop(objection)
            self._hand_over(self._recorder.close)
        elif pair is not None:
            self._record(*pair)

    def _record(self, image: Any, cloud: Any) -> None:
        try:
            frame = self._frames.frame(image, cloud)
        except (FrameError, CalibrationError) as error:
            self.counts["unusable"] += 1
            self.problem = str(error)
            if self._throttle.lets_through("unusable"):
                logger.warning("%s", error)
            return
        self.problem = ""
        if self._hand_over(lambda: self._recorder.add(frame)):
            self._preview = BoxedFrame(frame, {})

    def _hand_over(self, act: Callable[[], bool | None]) -> bool | None:
        """Do something with the recorder, and have the parts that it closed labelled; an error stops the recording."""
        before = len(self._recorder.parts)
        try:
            return act()
        except OutputError as error:
            self._stop(str(error))
            return None
        finally:
            for part in self._recorder.parts[before:]:
                if self._labels is not None:
                    self._labels.add(part)

    def _stop(self, why: str) -> None:
        self.stopped = why
        logger.error("recording stopped: %s; ~/resume tries again", why)
