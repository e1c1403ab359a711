"""Between the callbacks and the worker: one place per camera, where the newest item waits. Threads, no ROS."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestItems(Generic[Item]):
    """Keeps the newest item of each camera until a worker takes them.

    What arrives while the worker is busy replaces what waits: latency stays that of one round, whatever the rate.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: dict[str, Item] = {}
        self._closed = False

    def put(self, camera: str, item: Item) -> bool:
        """Leave an item; returns whether an older one was still waiting, and is gone now."""
        with self._changed:
            replaced = camera in self._items
            self._items[camera] = item
            self._changed.notify_all()
            return replaced

    def take(self, expected: Collection[str], window_s: float) -> dict[str, Item] | None:
        """Wait for an item, then at most `window_s` for those of the other `expected` cameras, and take them all.

        Returns: items by camera; None once closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items))
            deadline = time.monotonic() + window_s
            while not self._closed and self._items and not set(expected) <= set(self._items):
                if not self._changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    break
            if self._closed:
                return None
            taken, self._items = self._items, {}
            return taken

    def clear(self) -> None:
        """Forget what waits."""
        with self._changed:
            self._items.clear()

    def close(self) -> None:
        """Let the worker go: `take` returns None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
