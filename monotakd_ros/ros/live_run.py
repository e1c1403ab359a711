"""Frames of a running camera and LiDAR into parts on the disk, and from there into a labelled set.

The callbacks pair messages and leave the newest pair; one thread makes frames of pairs, chooses and writes them;
another one labels the parts that are closed.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions

from monotakd_ros.data.bag_topics import rectified_name
from monotakd_ros.data.kitti import calibrated_extrinsic
from monotakd_ros.errors import CalibrationError, FrameError, MissingDependencyError, OutputError
from monotakd_ros.frame import BoxedFrame
from monotakd_ros.generation.settings import ALL_FRAMES
from monotakd_ros.ros.diagnostics import steady_clock
from monotakd_ros.ros.disk_quota import DiskQuota
from monotakd_ros.ros.generate_settings import GenerateSettings
from monotakd_ros.ros.image_decoding import image_decoder
from monotakd_ros.ros.live_frames import LiveFrames
from monotakd_ros.ros.live_labels import LiveLabels
from monotakd_ros.ros.live_recorder import PART_DIR, LiveRecorder, earlier_parts
from monotakd_ros.ros.newest import NewestItems
from monotakd_ros.ros.optional import ros_message_types
from monotakd_ros.ros.paired_frames import PairedFrames
from monotakd_ros.ros.pairing import open_pairing
from monotakd_ros.ros.run_status import RunStatus
from monotakd_ros.ros.throttle import Throttle
from monotakd_ros.ros.transforms import TransformLookup

logger = logging.getLogger(__name__)

SET_DIR = "set"
CLOSE_S = 10.0
QUIET_S = 3.0
"""Without a pair for so long, something is amiss."""
_PAIR, _TICK = "pair", "tick"


class LiveRun:
    """A `Run` that records a running camera and LiDAR.

    Args:
        node: whose subscriptions and tf listener they are.
        settings: its parameters.
        quota: of `out`.

    Raises:
        MonotakdError: a setting, checkpoint or file cannot be used.
    """

    def __init__(self, node: Node, settings: GenerateSettings, quota: DiskQuota) -> None:
        self._node, self._settings, self._quota = node, settings, quota
        self._out = Path(settings.out)
        generation = settings.generation_settings()
        self._recorder = LiveRecorder(
            self._out,
            generation.selection,
            settings.part_format,  # type: ignore[arg-type]  # its choices are checked, as are those below
            settings.image_encoding,  # type: ignore[arg-type]
            settings.part_s,
        )
        self._labels = self._make_labels() if settings.teacher else None
        self._tf = self._make_tf()
        self._frames = self._make_frames()
        self._pairing = open_pairing(self._take_pair, settings.cloud_tolerance_s, self._time_jumps)
        self._newest: NewestItems[Any] = NewestItems()
        self._thread = threading.Thread(target=self._work, name="record", daemon=True)
        self._counts: Counter[str] = Counter()
        self._problem = ""
        self._full = ""
        self._preview: BoxedFrame | None = None
        self._subscriptions: list[Any] = []
        self._quiet_ticks = 0
        self._throttle = Throttle()

    def start(self) -> None:
        """See `Run`."""
        self._thread.start()
        if self._labels is not None:
            self._labels.start()
        self._node.create_timer(1.0, self._tick, clock=steady_clock())
        self.resume()

    def pause(self) -> str:
        """See `Run`."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._newest.put(_TICK, None)
        return "listens no longer; the open part is closed"

    def resume(self) -> str:
        """See `Run`."""
        self._full = self._problem = ""
        if not self._subscriptions:
            kind = "CompressedImage" if self._settings.image_transport == "compressed" else "Image"
            self._subscribe("CameraInfo", "camera_info", self._frames.images.take_camera_info)
            self._subscribe(kind, self._image_topic, self._pairing.add_image)
            self._subscribe("PointCloud2", "points", self._pairing.add_cloud)
        return "listens"

    def cancel(self) -> str:
        """See `Run`."""
        self.pause()
        if self._labels is not None:
            self._labels.close()
        return "ended; what is recorded is kept"

    def status(self) -> RunStatus:
        """See `Run`."""
        values = self._values()
        trouble = self._full or (self._labels.trouble if self._labels is not None else None)
        if trouble:
            what = "recording stopped" if self._full else "not labelled any more"
            return RunStatus("error", f"{what}: {trouble}", values=values)
        if not self._subscriptions:
            return RunStatus("warn", "paused", values=values)
        if self._quiet_ticks > QUIET_S:
            return RunStatus("warn", f"no pair of image and cloud: {self._missing()}", values=values)
        if self._problem:
            return RunStatus("warn", self._problem, values=values)
        return RunStatus("ok", "recording", values=values)

    def preview(self) -> BoxedFrame | None:
        """See `Run`."""
        labelled = None if self._labels is None else self._labels.newest.read()
        recorded, self._preview = self._preview, None
        return labelled or (recorded if self._labels is None else None)

    def close(self) -> None:
        """See `Run`."""
        self.pause()
        self._newest.close()
        if self._thread.ident:
            self._thread.join(CLOSE_S)
        if self._labels is not None:
            self._labels.close()
        parts = len(self._recorder.parts)
        logger.info("%d frames recorded in %d parts, %s", self._recorder.kept, parts, self._out / PART_DIR)

    def _make_labels(self) -> LiveLabels:
        request = self._settings.request()
        request = replace(
            request,
            sources=tuple(earlier_parts(self._out)),
            out=self._out / SET_DIR,
            settings=replace(request.settings, selection=ALL_FRAMES),  # they are chosen already
        )
        return LiveLabels(request, self._quota)

    def _make_frames(self) -> PairedFrames:
        settings, node = self._settings, self._node
        _, decode = image_decoder(settings.image_decoder)  # type: ignore[arg-type]
        rectified = rectified_name(node.resolve_topic_name("image"))
        images = LiveFrames(self._image_topic, rectified, settings.rectify, decode)  # type: ignore[arg-type]
        calibrated = calibrated_extrinsic(Path(settings.calibration)) if settings.calibration else None
        lookup = _no_tf if self._tf is None else self._tf.lookup
        return PairedFrames(images, node.resolve_topic_name("points"), lookup, calibrated, settings.world_frame)

    def _make_tf(self) -> TransformLookup | None:
        """None where a calibration file does for it."""
        settings = self._settings
        if settings.calibration and not settings.world_frame:
            return None
        try:
            return TransformLookup(self._node, settings.tf_timeout_s)
        except MissingDependencyError as error:
            if not settings.calibration:
                raise
            logger.warning("the vehicle's motion is not known: %s", error)
            return None

    @property
    def _image_topic(self) -> str:
        """Only `image` itself is remapped."""
        base = self._node.resolve_topic_name("image")
        return f"{base}/compressed" if self._settings.image_transport == "compressed" else base

    def _time_jumps(self) -> None:
        if self._tf is not None:
            self._tf.clear()
        self._frames.forget()

    def _subscribe(self, kind: str, topic: str, callback: Any) -> None:
        made = self._node.create_subscription(
            ros_message_types(f"sensor_msgs/msg/{kind}"),
            topic,
            callback,
            qos_profile_sensor_data,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._subscriptions.append(made)

    def _take_pair(self, image: Any, cloud: Any) -> None:
        self._counts["pairs"] += 1
        self._quiet_ticks = 0
        if self._newest.put(_PAIR, (image, cloud)):
            self._counts["dropped: a newer pair came first"] += 1

    def _tick(self) -> None:
        self._quiet_ticks += 1
        self._newest.put(_TICK, None)

    def _work(self) -> None:
        while (taken := self._newest.take((), 0.0)) is not None:
            try:
                self._round(taken.get(_PAIR))
            except Exception:  # the recording goes on, whatever happens to one frame
                logger.exception("a frame failed")
        self._hand_over(self._recorder.close)

    def _round(self, pair: tuple[Any, Any] | None) -> None:
        if not self._subscriptions or self._full:
            self._hand_over(self._recorder.close)
            return
        self._hand_over(self._recorder.close_when_due)
        self._full = self._quota.objection() or ""
        if self._full:
            logger.error("recording stopped: %s; ~/resume tries again", self._full)
            self._hand_over(self._recorder.close)
        elif pair is not None:
            self._record(*pair)

    def _record(self, image: Any, cloud: Any) -> None:
        try:
            frame = self._frames.frame(image, cloud)
        except (FrameError, CalibrationError) as error:
            self._counts["unusable"] += 1
            self._note(str(error))
            return
        self._problem = ""
        if self._hand_over(lambda: self._recorder.add(frame)):
            self._preview = BoxedFrame(frame, {})

    def _note(self, problem: str) -> None:
        self._problem = problem
        if self._throttle.lets_through("unusable"):
            logger.warning("%s", problem)

    def _hand_over(self, act: Any) -> Any:
        """Do something with the recorder, and have the parts that it closed labelled; errors end the recording."""
        before = len(self._recorder.parts)
        try:
            return act()
        except OutputError as error:
            self._full = str(error)
            logger.error("recording stopped: %s; ~/resume tries again", error)
            return None
        finally:
            for part in self._recorder.parts[before:]:
                if self._labels is not None:
                    self._labels.add(part)

    def _missing(self) -> str:
        """What is not published, or does not fit."""
        topics = (self._image_topic, self._node.resolve_topic_name("points"))
        silent = [topic for topic in topics if not self._node.count_publishers(topic)]
        if silent:
            return f"nobody publishes {' and '.join(silent)}"
        return f"no stamps within {self._settings.cloud_tolerance_s:g} s, or another QoS"

    def _values(self) -> dict[str, Any]:
        recorder, labels = self._recorder, self._labels
        values = {**self._counts, "frames recorded": recorder.kept, "parts closed": len(recorder.parts)}
        values |= {f"left out: {reason}": count for reason, count in sorted(recorder.left_out.items())}
        values |= {"pose known": self._frames.has_world}
        if labels is not None:
            values |= {"parts labelled": labels.labelled, "parts waiting for labels": labels.waiting}
        return values | {"GiB used": self._quota.used_gib, "free GiB": self._quota.free_gib, "out": self._out}


def _no_tf(target: str, source: str, stamp_ns: int) -> np.ndarray:
    raise CalibrationError(f"tf from {source!r} to {target!r} at {stamp_ns} ns: not listened to")
