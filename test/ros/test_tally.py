"""Counts, rates and latencies of a live camera."""

from __future__ import annotations

import pytest

from monotakd_ros.ros import tally as tally_module
from monotakd_ros.ros.tally import STAGES, CameraTally, Timing, outcome_names
from monotakd_ros.ros.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tally_module.time, "monotonic", clock.monotonic)
    return clock


def timing(scale: float = 1.0) -> Timing:
    return Timing(*(scale * part for part in (0.001, 0.002, 0.004, 0.1, 0.003)))


def test_nothing_yet() -> None:
    tally = CameraTally()
    assert tally.latency_ms() == {}
    assert tally.rate_hz("received") == 0.0
    assert tally.seconds_since("published") is None
    assert tally.interval_s() is None
    assert set(outcome_names(tally.counts()).values()) == {0}


def test_rates_and_intervals_by_hand(clock: Clock) -> None:
    tally = CameraTally()
    for _ in range(11):
        tally.count("received")
        clock.now += 0.1
    tally.published(timing())
    clock.now += 0.5
    tally.published(timing())
    assert tally.rate_hz("received") == pytest.approx(10.0)
    assert tally.interval_s() == pytest.approx(0.5)
    assert tally.counts() == {"received": 11, "published": 2}
    clock.now += 60.0
    assert tally.rate_hz("received") == 0.0
    assert tally.seconds_since("published") == pytest.approx(60.0)


def test_latency_by_stage() -> None:
    tally = CameraTally()
    for scale in (1, 2, 3):
        tally.published(timing(scale))
    figures = tally.latency_ms()
    assert figures["infer p50"] == pytest.approx(200.0)
    assert figures["total p50"] == pytest.approx(220.0)
    assert figures["total p99"] == pytest.approx(0.02 * 220 + 0.98 * 330)
    assert len(figures) == 3 * len(STAGES)


def test_a_problem_fades(clock: Clock) -> None:
    tally = CameraTally()
    tally.count("bad", "damaged")
    assert tally.problem(10.0) == "damaged"
    clock.now += 11.0
    assert tally.problem(10.0) is None
    tally.count("stale")
    assert tally.problem(10.0) is None


def test_images_without_an_answer_are_timed_from_the_first(clock: Clock) -> None:
    tally = CameraTally()
    assert tally.unanswered_s() == 0.0
    for _ in range(3):
        tally.count("received")
        clock.now += 2.0
    assert tally.unanswered_s() == pytest.approx(6.0)
    tally.published(timing())
    clock.now += 5.0
    assert tally.unanswered_s() == 0.0


def test_counting_is_safe_from_several_threads() -> None:
    import threading

    tally = CameraTally()
    threads = [threading.Thread(target=lambda: [tally.count("received") for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.counts() == {"received": 8000}


def test_each_kind_of_message_is_throttled_by_itself(clock: Clock) -> None:
    throttle = Throttle(period_s=0.05)
    assert [throttle.lets_through(kind) for kind in ("a", "a", "b")] == [True, False, True]
    clock.now += 0.06
    assert throttle.lets_through("a")
