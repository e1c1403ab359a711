"""Between the callbacks and the worker: one place per camera, where the newest item waits. Threads, no ROS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestItems(Generic[Item]):
    """Keeps the newest item of each camera until a worker takes them.

    What arrives while the worker is busy replaces what waits: latency stays that of one round, whatever the rate.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: dict[str, Item] = {}
        self.is_closed = False

    def put(self, camera: str, item: Item) -> bool:
        """Leave an item; returns whether an older one was still waiting, and is gone now."""
        with self._changed:
            replaced = camera in self._items
            self._items[camera] = item
            self._changed.notify_all()
            return replaced

    def take(
        self,
        expected: Callable[[], Collection[str]] = lambda: (),
        window_s: Callable[[], float] = lambda: 0.0,
    ) -> dict[str, Item] | None:
        """Wait for an item, then at most `window_s()` for those of the other `expected()` cameras, and take them all.

        Both are asked when the first item is there. Returns: items by camera; None once closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.is_closed or bool(self._items))
            awaited, deadline = set(expected()), time.monotonic() + window_s()
            while not self.is_closed and self._items and not awaited <= set(self._items):
                if not self._changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    break
            if self.is_closed:
                return None
            taken, self._items = self._items, {}
            return taken

    def drop(self, camera: str) -> None:
        """Forget what waits of one camera."""
        with self._changed:
            self._items.pop(camera, None)

    def clear(self) -> None:
        """Forget what waits."""
        with self._changed:
            self._items.clear()

    def close(self) -> None:
        """Let the worker go: `take` returns None from now on."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
