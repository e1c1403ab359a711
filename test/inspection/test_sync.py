"""Nearest stamps, and what they say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.inspection.sync import nearest, sync

MS = 1_000_000


@given(st.lists(st.integers(0, 50), min_size=1), st.lists(st.integers(0, 50), min_size=1))
def test_nearest_as_a_plain_loop(stamps, others):
    others = np.sort(np.array(others))
    found = nearest(np.array(stamps), others)
    for stamp, index in zip(stamps, found):
        assert abs(others[index] - stamp) == min(abs(others - stamp))


def test_differences_by_hand():
    images = np.array([0, 100, 200, 300, 400]) * MS
    clouds = np.array([390, 190, 10, 110]) * MS  # in any order
    report = sync(images, clouds, 0.06)
    assert (report.median_ms, report.max_ms) == (10, 90)
    assert report.share_within == 0.8
    assert report.offset_ms == 10
    assert report.scatter_ms == 20
    assert report.images == 5


def test_a_constant_offset_stands_out_and_scatter_does_not():
    images = np.arange(50) * 100 * MS
    assert sync(images, images + 20 * MS, 0.06).has_constant_offset
    assert not sync(images, images + 3 * MS, 0.06).has_constant_offset
    scattered = images + np.random.default_rng(0).integers(0, 40, 50) * MS
    assert not sync(images, scattered, 0.06).has_constant_offset


def test_nothing_to_compare():
    none = np.zeros(0, dtype=np.int64)
    assert sync(none, np.array([1]), 0.06) is None
    assert sync(np.array([1]), none, 0.06) is None
