"""What stamps say: hand-made recordings with one thing wrong each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.inspection.stamps import StampLog, timing

MS = 1_000_000


def log_of(header_ms, delay_ms=5.0, breaks=()) -> StampLog:
    log = StampLog()
    for index, stamp in enumerate(header_ms):
        if index in breaks:
            log.begin_span()
        log.add(round((stamp + delay_ms) * MS), round(stamp * MS), 100)
    return log


def test_a_regular_topic():
    result = timing(log_of([100 * i for i in range(1, 11)]), True, 0)
    assert (result.read, result.mean_bytes) == (10, 100)
    assert result.median_period_ms == 100
    assert result.rate_hz == pytest.approx(10)
    assert (result.gaps, result.duplicates, result.backward, result.clock_jumps) == (0, 0, 0, ())
    assert result.delay_ms == (5, 5)


def test_gaps_are_listed_longest_first():
    result = timing(log_of([1000, 1100, 1200, 1500, 1600, 2600, 2700, 2800]), True, 0)
    assert result.gaps == 2
    assert [(gap.at_s, gap.length_s) for gap in result.longest_gaps] == [(1.605, 1.0), (1.205, 0.3)]


def test_a_missing_message_is_a_gap_and_jitter_is_none():
    assert timing(log_of([100, 200, 300, 500, 600]), True, 0).gaps == 1
    assert timing(log_of([100, 230, 300, 380, 500, 600]), True, 0).gaps == 0


def test_what_was_not_read_is_no_gap():
    stamps = [100, 200, 300, 9000, 9100]
    assert timing(log_of(stamps), True, 0).gaps == 1
    assert timing(log_of(stamps, breaks=(0, 3)), True, 0).gaps == 0


def test_duplicates_and_backward_stamps():
    result = timing(log_of([100, 200, 200, 300, 250, 400]), True, 0)
    assert (result.duplicates, result.backward) == (1, 1)


def test_without_header_the_bags_time_counts():
    log = StampLog()
    for stamp in (1, 2, 3):
        log.add(stamp * 100 * MS, None, 10)
    result = timing(log, False, 0)
    assert result.rate_hz == pytest.approx(10)
    assert result.delay_ms is None
    assert result.without_stamp == 0


def test_empty_header_stamps_are_counted():
    log = StampLog()
    for stamp in (1, 2, 3):
        log.add(stamp * 100 * MS, 0, 10)
    result = timing(log, True, 0)
    assert result.without_stamp == 3
    assert result.median_period_ms == 100


def test_a_clock_that_was_set():
    log = StampLog()
    for index in range(6):
        log.add(index * 100 * MS, (1000 + index * 100 + (3600_000 if index >= 4 else 0)) * MS, 10)
    assert timing(log, True, 0).clock_jumps == (0.4,)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_for_a_rate(count):
    result = timing(log_of([100 * i for i in range(count)]), True, 0)
    assert result.rate_hz is None
    assert result.read == count


@given(st.integers(10, 10**9), st.lists(st.floats(-0.15, 0.15), min_size=3, max_size=40))
def test_jitter_of_a_seventh_of_a_period_makes_no_gaps(period_ns, jitter):
    log = StampLog()
    for index, share in enumerate(jitter):
        stamp = 10**12 + round((index + share) * period_ns)
        log.add(stamp, stamp, 1)
    result = timing(log, True, 0)
    assert (result.backward, result.gaps, result.duplicates) == (0, 0, 0)
