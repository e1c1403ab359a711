"""Labelled and unlabelled frames in one order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.training.batches import index_of_sample
from monotakd_ros.training.mixed_frames import MixedFrames


def kinds(frames: MixedFrames, samples: range, seed: int = 0) -> list[bool]:
    return [index_of_sample(frames, sample, seed) >= frames.num_labelled for sample in samples]


@given(
    fraction=st.floats(0.01, 0.99),
    sizes=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    start=st.integers(0, 1000),
    batch=st.integers(1, 16),
)
def test_every_batch_holds_the_share_to_within_one_frame(fraction, sizes, start, batch):
    frames = MixedFrames(list(range(sizes[0])), list(range(sizes[1])), fraction)
    unlabelled = sum(kinds(frames, range(start, start + batch)))
    assert abs(unlabelled - batch * fraction) <= 1 + 1e-3


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, 2), (0.25, 1), (0.75, 3)])
def test_every_batch_of_four_is_alike_where_the_share_allows_it(fraction, expected):
    frames = MixedFrames([0], [0], fraction)
    assert {sum(kinds(frames, range(step * 4, step * 4 + 4))) for step in range(50)} == {expected}


def test_without_labelled_frames_all_are_unlabelled():
    frames = MixedFrames([], ["x", "y", "z"], 1.0)
    assert sorted(frames[index_of_sample(frames, sample, 5)] for sample in range(6)) == ["x", "x", "y", "y", "z", "z"]
    assert frames.kinds() == {"human": 0, "pseudo": 3}


def test_a_decimal_share_is_exact():
    """0.29 is no binary number: 100 times it is just below 29, and the hundredth sample would come late."""
    assert np.flatnonzero(kinds(MixedFrames([0], [0], 0.1), range(40))).tolist() == [9, 19, 29, 39]
    assert sum(kinds(MixedFrames([0], [0], 0.29), range(100))) == 29


def test_each_kind_goes_through_all_its_frames_before_one_comes_again():
    frames = MixedFrames(["a", "b", "c"], ["x", "y"], 0.4)
    names = [frames[index_of_sample(frames, sample, 3)] for sample in range(10)]
    labelled = [name for name in names if name in "abc"]
    unlabelled = [name for name in names if name in "xy"]
    assert sorted(labelled[:3]) == sorted(labelled[3:]) == ["a", "b", "c"]
    assert sorted(unlabelled[:2]) == sorted(unlabelled[2:]) == ["x", "y"]


def test_the_order_follows_from_the_seed_alone():
    frames = MixedFrames(list(range(20)), list(range(20)), 0.5)
    orders = [[index_of_sample(frames, sample, seed) for sample in range(40)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    labelled, unlabelled = ([i for i in orders[0] if (i >= 20) == kind] for kind in (False, True))
    assert labelled != [index - 20 for index in unlabelled]
