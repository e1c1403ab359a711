"""Between callbacks and worker: newest wins, a round waits for the other cameras, closing frees the worker."""

from __future__ import annotations

import threading
import time

from monotakd_ros.ros.newest import NewestItems


def take(items: NewestItems[int], expected: list[str], window_s: float) -> dict[str, int] | None:
    return items.take(lambda: expected, lambda: window_s)


def test_the_newest_replaces_what_waits() -> None:
    items: NewestItems[int] = NewestItems()
    assert not items.put("front", 1)
    assert items.put("front", 2)
    assert not items.put("left", 3)
    assert take(items, ["front", "left"], 0.0) == {"front": 2, "left": 3}


def test_a_round_does_not_wait_longer_than_its_window() -> None:
    items: NewestItems[int] = NewestItems()
    items.put("front", 1)
    started = time.monotonic()
    assert take(items, ["front", "left"], 0.05) == {"front": 1}
    assert 0.04 < time.monotonic() - started < 2.0


def test_a_round_goes_as_soon_as_all_are_there() -> None:
    items: NewestItems[int] = NewestItems()
    items.put("front", 1)
    threading.Timer(0.05, items.put, ("left", 2)).start()
    started = time.monotonic()
    assert take(items, ["front", "left"], 30.0) == {"front": 1, "left": 2}
    assert time.monotonic() - started < 10.0


def test_a_camera_that_nobody_expects_goes_along() -> None:
    items: NewestItems[int] = NewestItems()
    items.put("rear", 1)
    assert take(items, [], 0.0) == {"rear": 1}


def test_closing_frees_a_worker_that_waits() -> None:
    items: NewestItems[int] = NewestItems()
    taken: list[object] = []
    worker = threading.Thread(target=lambda: taken.append(take(items, ["front"], 30.0)))
    worker.start()
    items.close()
    worker.join(timeout=10)
    assert taken == [None]


def test_closing_frees_a_worker_that_waits_for_the_second_camera() -> None:
    items: NewestItems[int] = NewestItems()
    items.put("front", 1)
    threading.Timer(0.05, items.close).start()
    assert take(items, ["front", "left"], 30.0) is None


def test_what_was_cleared_in_the_window_is_not_handed_out() -> None:
    items: NewestItems[int] = NewestItems()
    items.put("front", 1)

    def clear_and_refill() -> None:
        items.clear()
        items.put("front", 2)

    threading.Timer(0.05, clear_and_refill).start()
    assert take(items, ["front", "left"], 2.0) == {"front": 2}


def test_one_camera_can_be_dropped() -> None:
    items: NewestItems[int] = NewestItems()
    items.put("front", 1)
    items.put("left", 2)
    items.drop("front")
    items.drop("rear")
    assert take(items, [], 0.0) == {"left": 2}


def test_who_is_awaited_is_asked_when_the_first_is_there() -> None:
    items: NewestItems[int] = NewestItems()
    awaited = ["front", "left"]
    taken: list[object] = []
    worker = threading.Thread(target=lambda: taken.append(items.take(lambda: awaited, lambda: 30.0)))
    worker.start()
    awaited.remove("left")
    items.put("front", 1)
    worker.join(timeout=10)
    assert taken == [{"front": 1}]
