"""Nearest in time, one to one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.report.stamp_matching import match_stamps

STAMPS = st.lists(st.integers(0, 200), max_size=12, unique=True).map(sorted)


def test_hand_numbers():
    assert match_stamps([0, 100, 200], [4, 90, 180], 10) == [(0, 0), (1, 1)]
    assert match_stamps([0, 100], [90, 104], 50) == [(1, 1)]  # 90 is left over: 104 is nearer
    assert match_stamps([0, 100], [50], 50) == [(0, 0)]  # of equally near ones the earliest
    assert match_stamps([0, 100], [10, 110, 111], 10) == [(0, 0), (1, 1)]


def test_nanoseconds_of_today_lose_no_digit():
    now = 1_700_000_000_000_000_001
    assert match_stamps([now], [now + 1], 0) == []
    assert match_stamps([now], [now + 1], 1) == [(0, 0)]


def test_empty_sides():
    assert match_stamps([], [1], 5) == []
    assert match_stamps([1], [], 5) == []


@given(STAMPS, STAMPS, st.integers(0, 60))
def test_one_to_one_within_the_tolerance_and_nothing_near_left_over(a, b, tolerance):
    pairs = match_stamps(a, b, tolerance)
    left, right = [i for i, _ in pairs], [j for _, j in pairs]
    assert left == sorted(set(left))
    assert len(set(right)) == len(right)
    assert all(abs(a[i] - b[j]) <= tolerance for i, j in pairs)
    rest = [(i, j) for i in range(len(a)) if i not in left for j in range(len(b)) if j not in right]
    assert all(abs(a[i] - b[j]) > tolerance for i, j in rest)


@given(STAMPS)
def test_a_side_matches_itself(a):
    assert match_stamps(a, a, 100) == [(i, i) for i in range(len(a))]
