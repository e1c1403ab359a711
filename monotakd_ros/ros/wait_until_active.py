"""Ends when a lifecycle node is active: lets launch files and scripts begin what needs it, such as playing a bag."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.node import Node

from monotakd_ros.ros.diagnostics import steady_clock
from monotakd_ros.ros.parameters import READ_AT_START, NodeParameters
from monotakd_ros.ros.run_node import main_of
from monotakd_ros.ros.settings import setting

ASK_S = 0.2


@dataclass(frozen=True)
class WaitSettings:
    """Parameters of `wait_until_active`."""

    node: str = setting("detector", "Name of the node to wait for; relative to the namespace of this one.")
    timeout_s: float = setting(120.0, "How long to wait; then the exit code is 1. 0: for ever.", low=0)


class WaitUntilActive(Node):
    """Asks a node for its state until that is active.

    Attributes:
        is_done: whether it is, or the time is over.
        exit_code: 0 when it is active.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("wait_until_active", **options)
        self._settings = NodeParameters(self, WaitSettings, is_fixed=lambda: True, why_fixed=READ_AT_START).current
        self.is_done, self.exit_code = False, 1
        self._client = self.create_client(GetState, f"{self._settings.node}/get_state")
        self._answer: Any = None
        self._asked_s = self._begun_s = time.monotonic()
        self.create_timer(ASK_S, self._look, clock=steady_clock())

    def start(self) -> bool:
        """Nothing to do before it spins."""
        return True

    def close(self) -> None:
        """Nothing to give back but what `destroy_node` does."""

    def _look(self) -> None:
        answer = self._answer
        if answer is not None and answer.done():
            self._answer = None
            if answer.result().current_state.id == State.PRIMARY_STATE_ACTIVE:
                self.is_done, self.exit_code = True, 0
                return
        now = time.monotonic()
        if 0 < self._settings.timeout_s < now - self._begun_s:
            self.get_logger().fatal(f"{self._client.srv_name}: not active after {self._settings.timeout_s:g} s")
            self.is_done = True
        elif self._client.service_is_ready() and (self._answer is None or now - self._asked_s > 1.0):
            # A node that died meanwhile never answers: ask anew.
            self._answer, self._asked_s = self._client.call_async(GetState.Request()), now


def main() -> None:
    """`ros2 run monotakd_ros wait_until_active`."""
    main_of(WaitUntilActive)
