"""Back and forth over frames that only come forwards: the last ones are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from monotakd_ros.frame import BoxedFrame

KEPT = 50


class FrameWalk:
    """Where a viewer stands among frames.

    Args:
        frames: in order; read as they are asked for.
        kept: how many can be gone back over.
    """

    def __init__(self, frames: Iterator[BoxedFrame], kept: int = KEPT) -> None:
        self._frames = frames
        self._seen: deque[BoxedFrame] = deque(maxlen=kept)
        self._back = 0

    @property
    def current(self) -> BoxedFrame | None:
        """The frame where it stands; None before the first step."""
        return self._seen[-1 - self._back] if self._seen else None

    def forward(self) -> BoxedFrame | None:
        """Go on by a frame; None when it was the last one."""
        if self._back:
            self._back -= 1
            return self.current
        following = next(self._frames, None)
        if following is not None:
            self._seen.append(following)
        return following

    def backward(self) -> BoxedFrame | None:
        """Go back by a frame; None when no earlier one is kept."""
        if self._back + 1 >= len(self._seen):
            return None
        self._back += 1
        return self.current
