"""How a node's parameters are described: one frozen dataclass per node, one `setting` per parameter. No ROS here.

The dataclass is the only place: declarations, checks, the commented YAML of `config/` and the reference in
`docs/ros.md` are all made from it. `parameters.py` takes it to rclpy.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from monotakd_ros.errors import ConfigError

Value = bool | int | float | str | tuple[str, ...] | tuple[float, ...]
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Setting:
    """What is known of a parameter besides its name and default.

    Attributes:
        text: one or two sentences for `ros2 param describe` and the docs.
        low: lowest value; None: no limit.
        high: highest value; None: no limit.
        choices: allowed words; empty: any.
        live: whether it may change while the node is configured or active.
        once: whether it is read when the process starts, and never again.
    """

    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    once: bool = False

    @property
    def limits(self) -> str:
        """The allowed values in words; empty where there is no limit."""
        if self.choices:
            return " | ".join(self.choices)
        if self.low is None:
            return ""
        return f">= {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"


def setting(
    default: Value,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
    once: bool = False,
) -> Any:
    """A field of a settings dataclass; arguments as in `Setting`."""
    return field(default=default, metadata={"setting": Setting(text, low, high, choices, live, once)})


def settings_of(kind: type) -> dict[str, tuple[Setting, Value]]:
    """Name -> description and default of every parameter of a settings dataclass, in its order."""
    return {item.name: (item.metadata["setting"], item.default) for item in fields(kind)}


def changed(current: Settings, values: Mapping[str, Value]) -> Settings:
    """`current` with other values, checked one by one and, by the class's own `__post_init__`, together.

    Raises:
        ConfigError: a value is of another type, out of its limits, or contradicts another one.
    """
    known = settings_of(type(current))
    for name, value in values.items():
        described, default = known[name]
        _check(name, described, default, value)
    return replace(current, **values)  # type: ignore[type-var]


def _check(name: str, described: Setting, default: Value, value: Value) -> None:
    if type(value) is not type(default):
        raise ConfigError(f"{name}: expected {type_name(default)}, got {value!r}")
    expected = f"{name}: expected {described.limits}, got {value!r}"
    if described.choices and value not in described.choices:
        raise ConfigError(expected)
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if isinstance(number, str):
            continue
        if not (described.low is None or number >= described.low):
            raise ConfigError(expected)
        if not (described.high is None or number <= described.high):
            raise ConfigError(expected)


def type_name(value: Value) -> str:
    """ROS's name of a parameter's type."""
    if isinstance(value, tuple):
        return "string_array" if value and isinstance(value[0], str) else "double_array"
    return {bool: "bool", int: "integer", float: "double", str: "string"}[type(value)]


def shown(value: Value) -> str:
    """A value as YAML writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def reference_table(kind: type) -> str:
    """The parameters of a settings dataclass as a Markdown table."""
    rows = ["| parameter | type | default | allowed | live | what it does |", "|---|---|---|---|---|---|"]
    for name, (described, default) in settings_of(kind).items():
        allowed = described.limits.replace("|", "\\|")
        live, text = "yes" if described.live else "", described.text.replace("<", "\\<")  # no HTML tag
        rows.append(f"| `{name}` | {type_name(default)} | `{shown(default)}` | {allowed} | {live} | {text} |")
    return "\n".join(rows) + "\n"


def commented_yaml(kind: type, node_name: str) -> str:
    """The parameters of a settings dataclass as a ROS parameter file, all at their defaults, each with its comment."""
    lines = [f"# Parameters of {node_name}, whatever name and namespace it is given.", "/**:", "  ros__parameters:"]
    for name, (described, default) in settings_of(kind).items():
        notes = [described.text, *([f"Allowed: {described.limits}."] if described.limits else [])]
        notes += ["May change while the node runs."] if described.live else []
        lines += [f"    # {line}" for line in textwrap.wrap(" ".join(notes), 110)]
        lines.append(f"    {name}: {shown(default)}")
    return "\n".join(lines) + "\n"
