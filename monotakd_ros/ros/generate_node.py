"""`generate_node`: training data from recordings, or from the running vehicle, as a ROS node.

It starts with the node and ends with it: a batch job, no lifecycle. Services pause, resume and cancel it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Float32

from monotakd_ros.errors import MissingDependencyError, MonotakdError
from monotakd_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Health, steady_clock
from monotakd_ros.ros.disk_quota import DiskQuota
from monotakd_ros.ros.generate_settings import GenerateSettings
from monotakd_ros.ros.live_run import LiveRun
from monotakd_ros.ros.optional import ros_module
from monotakd_ros.ros.parameters import READ_AT_START, NodeParameters
from monotakd_ros.ros.preview_publisher import PreviewPublisher
from monotakd_ros.ros.recordings_run import RecordingsRun
from monotakd_ros.ros.run_node import main_of
from monotakd_ros.ros.run_status import Run

NODE_NAME = "generate"
LEVELS = {"ok": OK, "warn": WARN, "error": ERROR}
LOOK_S = 0.2
"""How often it is looked for the end of the work and for something to show."""
PREVIEW_SHARE = 0.1
"""Previews take at most this much of the time, whatever their rate."""


class GenerateNode(Node):
    """The node; see the module.

    Args:
        options: of `rclpy.node.Node`.

    Attributes:
        is_done: whether there is nothing more to do, and the node ends.
        exit_code: of the process then.

    Raises:
        ConfigError: a parameter is out of its limits.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(NODE_NAME, **options)
        self._declared = NodeParameters(self, GenerateSettings, is_fixed=lambda: True, why_fixed=READ_AT_START)
        self.is_done, self.exit_code = False, 0
        self._run: Run | None = None
        self._told_end = False
        self._next_preview_s = 0.0

    def start(self) -> bool:
        """Begin; False, with the reason logged, where that cannot be."""
        settings = self._declared.current
        try:
            settings.require_complete()
            quota = DiskQuota(Path(settings.out), self._limits)
            self._run = self._make_run(settings, quota)
        except MonotakdError as error:
            self.get_logger().fatal(str(error))
            return False
        self._previews = PreviewPublisher(self, with_transforms=settings.mode == "recordings")
        for text in self._previews.lacking:
            self.get_logger().warning(text)
        self._progress = self.create_publisher(Float32, "~/progress", 10)
        self._offer_services()
        self._diagnostics = Diagnostics(self, 1.0, self._health, "")
        self.create_timer(LOOK_S, self._look, clock=steady_clock())
        self._run.start()
        return True

    def close(self) -> None:
        """End the work, keeping what is done."""
        if self._run is not None:
            self._run.close()

    def _limits(self) -> tuple[float, float]:
        return self._declared.current.max_gib, self._declared.current.min_free_gib

    def _make_run(self, settings: GenerateSettings, quota: DiskQuota) -> Run:
        if settings.mode == "live":
            return LiveRun(self, settings, quota)
        return RecordingsRun(settings.request(), settings.workers, quota)

    def _offer_services(self) -> None:
        assert self._run is not None, "called when it runs"
        try:
            trigger = ros_module("std_srvs.srv", "~/pause, ~/resume and ~/cancel", "stop the node to cancel").Trigger
        except MissingDependencyError as error:
            self.get_logger().warning(str(error))
            return
        for name, act in (("pause", self._run.pause), ("resume", self._run.resume), ("cancel", self._run.cancel)):
            self.create_service(trigger, f"~/{name}", self._answer(name, act))

    def _answer(self, name: str, act: Callable[[], str]) -> Callable[[Any, Any], Any]:
        def answer(request: Any, response: Any) -> Any:
            response.success, response.message = self._ask(name, act)
            return response

        return answer

    def _ask(self, name: str, act: Callable[[], str]) -> tuple[bool, str]:
        assert self._run is not None, "called when it runs"
        if self._run.status().exit_code is not None:
            return False, "the work is over"
        if self._run.cancelled and name != "cancel":
            return False, "it was cancelled; the node started again goes on"
        text = act()
        self.get_logger().info(f"{name}: {text}")
        self._diagnostics.publish()
        return True, text

    def _health(self) -> list[Health]:
        assert self._run is not None, "called when it runs"
        status = self._run.status()
        if status.share_done is not None:
            self._progress.publish(Float32(data=float(status.share_done)))
        return [Health(self._declared.current.mode, LEVELS[status.level], status.message, status.values)]

    def _look(self) -> None:
        assert self._run is not None, "called when it runs"
        self._show()
        status = self._run.status()
        if status.exit_code is None or self._told_end:
            return
        self._told_end, self.exit_code = True, status.exit_code
        self._diagnostics.publish()
        self.is_done = self._declared.current.exit_when_done

    def _show(self) -> None:
        rate_hz, now = self._declared.current.preview_rate_hz, time.monotonic()
        if not rate_hz or now < self._next_preview_s or self._run is None or not self._previews.is_wanted:
            return
        boxed = self._run.preview()
        if boxed is not None:
            self._previews.publish(boxed)
        took_s = time.monotonic() - now
        self._next_preview_s = now + max(1 / rate_hz, took_s / PREVIEW_SHARE)


def main() -> None:
    """Run the node until its work is done."""
    main_of(GenerateNode)
