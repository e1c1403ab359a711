"""One camera of the detector node: what it hears, what it counts, what it publishes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode

from monotakd_ros.detector import Detector
from monotakd_ros.frame import Frame
from monotakd_ros.ros.camera_subscriptions import CameraSubscriptions
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.image_decoding import Decode
from monotakd_ros.ros.optional import ros_message_types
from monotakd_ros.ros.outputs import DetectionOutputs, Placed
from monotakd_ros.ros.tally import CameraTally


class LiveCamera:
    """One camera.

    Args:
        node: whose subscriptions and publishers they are.
        name: its namespace; empty for the node's own.
        settings: as configured.
        decode: pixels of an image message.
        on_image: called with this camera and each image message, in the executor's thread.

    Attributes:
        input: its subscriptions, and the frames of their messages.
        tally: counts and times.
        outputs: its publishers.
        notes: where camera and mount go beyond what training covered.
        epoch: rises when what came before shall not be published any more.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        settings: DetectorSettings,
        decode: Decode,
        on_image: Callable[[LiveCamera, Any], None],
    ) -> None:
        self.name, self._on_image = name, on_image
        self.tally = CameraTally()
        self.input = CameraSubscriptions(
            node,
            name,
            settings.image_transport,
            settings.rectify,  # type: ignore[arg-type]
            decode,
            self._take_image,
            on_calibration=lambda: self.tally.count("calibrations"),
            on_problem=self.tally.note,
        )
        self.outputs = DetectionOutputs(node, name, settings, ros_message_types)
        self.epoch = 0
        self._publishing = threading.Lock()
        self.notes: tuple[str, ...] = ()
        self._noted: Any = None

    @property
    def title(self) -> str:
        """For people."""
        return f"camera {self.name}" if self.name else "camera"

    def note(self, frame: Frame, detector: Detector) -> None:
        """Look at a frame's camera, when it is another than before."""
        if frame.camera is not self._noted:
            self._noted, self.notes = frame.camera, detector.notes(frame)

    def enable(self) -> None:
        """Listen, if it does not."""
        if not self.input.is_listening:
            self.tally.begin()
            self.input.subscribe()

    def disable(self, stamp_ns: int, frame_id: str) -> None:
        """Listen no longer, and show nothing any more."""
        self.input.unsubscribe()
        self.forget(stamp_ns, frame_id)

    def forget(self, stamp_ns: int, frame_id: str) -> None:
        """Take the markers away; what is under way is not published."""
        with self._publishing:
            self.epoch += 1
            self.outputs.clear(stamp_ns, frame_id)

    def publish(self, placed: Placed, epoch: int, settings: DetectorSettings, lifetime_s: float) -> bool:
        """Publish boxes of an image; returns False where its epoch is over."""
        with self._publishing:
            if epoch != self.epoch:
                return False
            self.outputs.publish([placed], settings, lifetime_s)
            return True

    def close(self) -> None:
        """Give everything back."""
        self.input.unsubscribe()
        self.outputs.close()

    def _take_image(self, message: Any) -> None:
        self.tally.count("received")
        self._on_image(self, message)
