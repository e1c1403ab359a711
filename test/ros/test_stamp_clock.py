"""Jumps of time, by hand. Needs no ROS."""

from __future__ import annotations

import pytest

from monotakd_ros.ros.stamp_clock import StampClock

START_NS = 1_700_000_000_000_000_000
S = 1_000_000_000


def jumps(*stamps_s: float) -> list[float]:
    clock = StampClock()
    return [clock.jump_back_s(START_NS + int(stamp_s * S)) for stamp_s in stamps_s]


def test_time_that_goes_on_does_not_jump() -> None:
    assert jumps(0, 0, 0.1, 100, 99.1, 100.1) == [0.0] * 6


def test_a_bag_that_begins_anew_is_a_jump_each_time() -> None:
    assert jumps(10, 0, 10, 9, 10) == pytest.approx([0, 10, 0, 1, 0])


def test_small_steps_back_add_up() -> None:
    assert jumps(10, 9.4, 8.8, 8.2) == pytest.approx([0, 0, 1.2, 0])


def test_the_first_stamp_may_be_anything() -> None:
    assert StampClock().jump_back_s(-5 * S) == 0.0
