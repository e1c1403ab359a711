"""The live node: camera images in, 3D boxes out. A lifecycle node around `LiveDetector`.

configure loads and warms up the network, so that "active" means ready; activate subscribes. All that a user meets is
in docs/ros.md.
"""

from __future__ import annotations

import functools
import gc
import traceback
from collections.abc import Callable
from typing import Any

import torch
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from monotakd_ros.allocator import keep_freed_memory
from monotakd_ros.errors import MonotakdError
from monotakd_ros.ros.detector_health import detector_health
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.diagnostics import Diagnostics, Health
from monotakd_ros.ros.lifecycle import answer_illegal_transitions
from monotakd_ros.ros.live_detector import LiveDetector
from monotakd_ros.ros.parameters import NodeParameters
from monotakd_ros.ros.run_node import interrupted_by_signals, main_of

SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR
Transition = Callable[["DetectorNode", LifecycleState], TransitionCallbackReturn]


def _reaches(reached: str, failing: TransitionCallbackReturn = ERROR) -> Callable[[Transition], Transition]:
    """A transition that tells the reason when it fails: rclpy swallows exceptions of these callbacks.

    `failing` FAILURE goes back to the state before; ERROR puts everything away.
    """

    def wrap(method: Transition) -> Transition:
        @functools.wraps(method)
        def guarded(node: DetectorNode, state: LifecycleState) -> TransitionCallbackReturn:
            try:
                outcome = method(node, state)
            except Exception as error:
                node.transition_failed(method.__name__, error)
                return failing
            node.transition_done(reached)
            return outcome

        return guarded

    return wrap


class DetectorNode(LifecycleNode):
    """Detects in live images; arguments as of rclpy's LifecycleNode, without the name.

    Raises:
        ConfigError: a parameter is out of its limits.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("detector", **options)
        self._live: LiveDetector | None = None
        self._state = "unconfigured"
        self._failure: str | None = None
        self._node_parameters: NodeParameters[DetectorSettings] = NodeParameters(
            self, DetectorSettings, is_fixed=lambda: self._live is not None, on_change=self._settings_change
        )
        period_s = self._node_parameters.current.diagnostics_period_s
        self._diagnostics = Diagnostics(self, period_s, self._health, hardware_id="monotakd_ros")
        answer_illegal_transitions(self)
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=self._time_jumped,
        )

    def start(self) -> bool:
        """Configure and activate, where `autostart` asks for it; returns whether that went well."""
        if not self._node_parameters.current.autostart:
            return True
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    def close(self) -> None:
        """Give everything back; called once, before the node is destroyed."""
        self._jumps.unregister()
        self._put_away()
        self._diagnostics.close()

    @_reaches("inactive", failing=FAILURE)
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up."""
        with interrupted_by_signals():
            self._live = LiveDetector(self, self._node_parameters)
        name, detector = self._live.checkpoint, self._live.detector
        self.get_logger().info(f"{name.file} ({detector.config.name}) is loaded on {detector.device}")
        return super().on_configure(state)

    @_reaches("active", failing=FAILURE)
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish and subscribe."""
        outcome = super().on_activate(state)
        try:
            self._configured.activate()
        except BaseException:
            super().on_deactivate(state)
            raise
        inputs = [camera.input for camera in self._configured.cameras.values()]
        topics = ", ".join(item.image_topic for item in inputs if item.is_listening)
        self.get_logger().info(f"listening to {topics or 'no camera'}")
        return outcome

    @_reaches("inactive")
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop."""
        self._configured.deactivate()
        return super().on_deactivate(state)

    @_reaches("unconfigured")
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the network back."""
        self._put_away()
        return SUCCESS

    @_reaches("finalized")
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back."""
        self._put_away()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an error in a transition, whose reason stays in the diagnostics: back to unconfigured."""
        self._state = "unconfigured"
        self._put_away()
        return SUCCESS

    def transition_done(self, reached: str) -> None:
        """A transition went well."""
        self._state, self._failure = reached, None

    def transition_failed(self, name: str, error: Exception) -> None:
        """A transition did not: tell why, and keep it for the diagnostics."""
        self._failure = f"{name}: {error}"
        known = isinstance(error, MonotakdError)
        self.get_logger().error(self._failure if known else f"{name}:\n{traceback.format_exc()}")

    @property
    def _configured(self) -> LiveDetector:
        assert self._live is not None, "the life cycle allows this after configure only"
        return self._live

    def _put_away(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.close()
            del live
            gc.collect()  # cameras and detector know each other; the network must not wait for chance
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _settings_change(self, settings: DetectorSettings) -> None:
        if self._live is not None:
            self._live.check(settings)
            self._live.follow(settings)

    def _time_jumped(self, jump: TimeJump) -> None:
        if self._live is not None:
            self._live.reset()

    def _health(self) -> list[Health]:
        return detector_health(self._live, self._state, self._failure, self._node_parameters.current)


def main() -> None:
    """`ros2 run monotakd_ros detector_node`."""
    keep_freed_memory()
    main_of(DetectorNode)
