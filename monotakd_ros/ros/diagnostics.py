"""What a node says of itself on `/diagnostics`, as REP-107's tools (rqt_robot_monitor, aggregator) read it.

Published directly: diagnostic_updater adds nothing but a timer to it, and is missing from some installations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE


@dataclass(frozen=True)
class Health:
    """The state of one part of a node.

    Attributes:
        part: its name, e.g. "camera front".
        level: OK, WARN, ERROR or STALE.
        message: the level's reason, in one sentence.
        values: figures, in order.
    """

    part: str
    level: bytes
    message: str
    values: Mapping[str, Any] = field(default_factory=dict)


class Diagnostics:
    """Publishes the health of a node's parts every now and then.

    Args:
        node: theirs.
        period_s: by the wall clock, so that it goes on while simulated time stands still.
        look: asked each time.
        hardware_id: of the status messages.
    """

    def __init__(self, node: Node, period_s: float, look: Callable[[], Sequence[Health]], hardware_id: str) -> None:
        self._node, self._look, self._hardware_id = node, look, hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(period_s, self.publish, clock=steady_clock())

    def publish(self) -> None:
        """Publish now."""
        name = self._node.get_fully_qualified_name().removeprefix("/")
        status = [_status(f"{name}: {health.part}", health, self._hardware_id) for health in self._look()]
        if status:
            message = DiagnosticArray(status=status)
            message.header.stamp = self._node.get_clock().now().to_msg()
            self._publisher.publish(message)

    def close(self) -> None:
        """Stop, and give timer and publisher back."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)


def steady_clock() -> Clock:
    """A clock that runs on whatever simulated time does."""
    return Clock(clock_type=ClockType.STEADY_TIME)


def _status(name: str, health: Health, hardware_id: str) -> DiagnosticStatus:
    values = [KeyValue(key=key, value=_text(value)) for key, value in health.values.items()]
    return DiagnosticStatus(
        name=name, level=health.level, message=health.message, hardware_id=hardware_id, values=values
    )


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
