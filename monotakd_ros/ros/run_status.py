"""What a run of `generate_node` says of itself, and what the node may ask of it. No ROS here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from monotakd_ros.frame import BoxedFrame

Level = Literal["ok", "warn", "error"]


@dataclass(frozen=True)
class RunStatus:
    """How it goes.

    Attributes:
        level: of the diagnostics.
        message: the state, and its reason.
        share_done: 0 to 1; None where there is no end.
        values: figures, in order.
        exit_code: of a run that is over; None while it is not.
    """

    level: Level
    message: str
    share_done: float | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


class Run(Protocol):
    """A mode of the node at work.

    Attributes:
        cancelled: whether it was told to end, after which it neither pauses nor goes on.
    """

    @property
    def cancelled(self) -> bool: ...

    def start(self) -> None:
        """Begin, in threads of its own."""
        ...

    def pause(self) -> str:
        """Hold up; says what that does."""
        ...

    def resume(self) -> str:
        """Go on."""
        ...

    def cancel(self) -> str:
        """Begin to end, keeping what is done; waits for nothing."""
        ...

    def status(self) -> RunStatus:
        """How it goes."""
        ...

    def preview(self) -> BoxedFrame | None:
        """The newest frame that was made since the last call; None without one."""
        ...

    def close(self) -> None:
        """End, and wait for it."""
        ...
