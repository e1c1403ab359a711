"""A node's settings dataclass as ROS parameters: declared with description and range, checked when set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from monotakd_ros.errors import ConfigError
from monotakd_ros.ros.settings import Setting, Value, changed, settings_of

Settings = TypeVar("Settings")
HUGE = 1e300
"""A range of ROS parameters has two ends; this one means none."""
READ_WHEN_CONFIGURED = "read when the node is configured; deactivate and clean it up first"
READ_AT_START = "read at start; restart the node with the new value"


class NodeParameters(Generic[Settings]):
    """Declares a settings dataclass on a node, and keeps the values that hold.

    Args:
        node: whose parameters they are.
        kind: the dataclass.
        is_fixed: whether the node is past the point where settings that are not live may change.
        why_fixed: what is told then to who changes one, and what to do instead.
        on_change: is given settings before they hold; raises ConfigError to refuse them.

    Attributes:
        current: the values that hold now; another object after every change, so a reference is a snapshot.

    Raises:
        ConfigError: a value given at start is out of its limits or contradicts another one.
    """

    def __init__(
        self,
        node: Node,
        kind: type[Settings],
        is_fixed: Callable[[], bool],
        why_fixed: str = READ_WHEN_CONFIGURED,
        on_change: Callable[[Settings], None] = lambda settings: None,
    ) -> None:
        self._is_fixed, self._why_fixed, self._on_change = is_fixed, why_fixed, on_change
        self._known = settings_of(kind)
        given = {name: _declare(node, name, *known) for name, known in self._known.items()}
        self.current: Settings = changed(kind(), given)
        node.add_on_set_parameters_callback(self._on_set)

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        values = {item.name: _plain(item.value) for item in parameters if item.name in self._known}
        held = {name for name, value in values.items() if value != getattr(self.current, name)}
        refused = sorted(name for name in held if not self._known[name][0].live)
        if refused and self._is_fixed():
            return SetParametersResult(successful=False, reason=f"{', '.join(refused)}: {self._why_fixed}")
        try:
            settings = changed(self.current, values)
            if settings != self.current:
                self._on_change(settings)
            self.current = settings
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


def descriptor(described: Setting, default: Value) -> ParameterDescriptor:
    """What `ros2 param describe` shows."""
    made = ParameterDescriptor(
        description=described.text, additional_constraints=described.limits, read_only=described.once
    )
    if described.low is None or isinstance(default, (str, tuple)):
        return made
    if isinstance(default, int):
        high = 2**31 - 1 if described.high is None else int(described.high)
        made.integer_range = [IntegerRange(from_value=int(described.low), to_value=high, step=0)]
    else:
        high_m = HUGE if described.high is None else float(described.high)
        made.floating_point_range = [FloatingPointRange(from_value=float(described.low), to_value=high_m, step=0.0)]
    return made


def _declare(node: Node, name: str, described: Setting, default: Value) -> Value:
    value = list(default) if isinstance(default, tuple) else default
    try:
        declared = node.declare_parameter(name, value, descriptor(described, default)).value
    except Exception as error:  # rclpy has a class of its own for each way to be wrong, others in every release
        raise ConfigError(f"parameter {name}: {error}") from error
    # An empty list on the command line or in YAML has no type, and rclpy hands out None for it.
    return () if declared is None and isinstance(default, tuple) else _plain(declared)


def _plain(value: Any) -> Value:
    """Arrays as tuples: settings are immutable and compare by value."""
    return value if isinstance(value, (bool, int, float, str)) else tuple(value)
