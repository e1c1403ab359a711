"""Score limits by the devkit's walk, precision of hand-made events, and weightings in chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.evaluation import precision_events
from monotakd_ros.evaluation.precision_events import PrecisionEvents, limit_positions, running_maximum


def walk(num_counted: int, num_hits: int) -> list[int]:
    """The devkit's rule, hit by hit."""
    kept, due = [], 0.0
    for position in range(num_hits):
        here, following = (position + 1) / num_counted, (position + 2) / num_counted
        if position < num_hits - 1 and following - due < due - here:
            continue
        kept.append(position)
        due += 1.0 / 40
    return kept


@given(st.integers(1, 3000), st.floats(0, 1))
def test_limits_are_those_of_the_walk(num_counted: int, share: float) -> None:
    num_hits = round(share * num_counted)
    (positions,) = limit_positions(np.array([num_counted]), np.array([num_hits]))
    assert positions[positions >= 0].tolist() == walk(num_counted, num_hits)


def test_limits_of_every_small_number() -> None:
    pairs = [(counted, hits) for counted in range(1, 130) for hits in range(counted + 1)]
    counted, hits = np.array(pairs).T
    for pair, positions in zip(pairs, limit_positions(counted, hits)):
        assert positions[positions >= 0].tolist() == walk(*pair), pair


def test_running_maximum_looks_to_the_right() -> None:
    curve = np.zeros((1, 46))
    curve[0, :3] = [0.5, 1.0, 0.75]
    assert running_maximum(curve)[0, :4].tolist() == [1.0, 1.0, 0.75, 0.0]
    assert running_maximum(curve).shape == (1, 41)


def made_up(frames: int = 30) -> PrecisionEvents:
    """One object a frame, found at a falling score; every third frame also holds a wrong result above it."""
    frame = np.arange(frames)
    score = 1 - frame / frames
    wrong = frame[::3]
    events = (
        np.concatenate([frame, wrong]),
        np.concatenate([score, score[wrong] + 1e-3]),
        np.concatenate([np.ones(frames, np.int64), np.zeros(len(wrong), np.int64)]),
        np.concatenate([np.zeros(frames, np.int64), np.ones(len(wrong), np.int64)]),
        np.concatenate([np.full(frames, 0.5), np.zeros(len(wrong))]),
    )
    return PrecisionEvents.build(np.ones(frames, np.int64), (frame, score), events)


def test_precision_by_hand() -> None:
    """Of the first k found, every third came with a wrong result: k / (k + ceil(k / 3))."""
    best = max(k / (k + -(-k // 3)) for k in range(1, 31))
    curve = made_up().precision()[0]
    assert curve[0] == pytest.approx(best)
    assert curve[29] == pytest.approx(30 / 40)
    assert curve[30:].tolist() == [0.0] * 11, "thirty objects have thirty limits: KITTI's rule for fewer than forty"
    assert made_up().precision(oriented=True)[0] == pytest.approx(0.5 * curve)
    assert made_up().precision_at_recalls()[40] == pytest.approx(30 / 40)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.random.default_rng(0).integers(0, 4, (17, 30)).astype(np.float32)
    whole = made_up().precision(weights)
    monkeypatch.setattr(precision_events, "CHUNK_VALUES", 100)
    assert np.array_equal(made_up().precision(weights), whole)
    assert made_up().precision(weights[:0]).shape == (0, 41)


def test_nothing_found_is_zero() -> None:
    none = np.zeros(0, np.int64)
    nothing = PrecisionEvents.build(np.ones(5, np.int64), (none, np.zeros(0)), (none, np.zeros(0), none, none, none))
    assert not nothing.precision().any()
    assert not nothing.precision_at_recalls().any()
    assert nothing.num_counted() == 5
