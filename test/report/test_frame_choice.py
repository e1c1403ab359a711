"""Which boxes are right, wrong or missed, and which frames are shown: cases by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame
from monotakd_ros.report.frame_choice import choose_frames, describe_wrong
from monotakd_ros.report.frame_verdict import judge

CAR = {"Car": 0.5}


def test_right_wrong_and_missed(make_frame: Callable) -> None:
    frame = make_frame(
        "a",
        truth=[("Car", 0, 10), ("Car", 0, 20), ("Pedestrian", 9, 20)],
        results=[("Car", 0.1, 10.1, 0.9), ("Car", 0, 40, 0.8), ("Car", 0, 20, 0.4), ("Pedestrian", 9, 20, 0.9)],
    )
    (verdict,) = judge([frame], CAR)
    assert verdict.right.tolist() == [True, False, True, False]
    assert verdict.wrong.tolist() == [False, True, False, False]
    assert verdict.shown.tolist() == [True, True, False, False]
    assert verdict.counted.tolist() == [True, True, False]
    assert verdict.missed.tolist() == [False, True, False]
    assert (verdict.num_right, verdict.num_wrong, verdict.num_missed) == (1, 1, 1)


def test_a_second_box_on_an_object_is_wrong_and_the_better_score_wins(make_frame: Callable) -> None:
    frame = make_frame("a", [("Car", 0, 10)], [("Car", 0, 10, 0.6), ("Car", 0.2, 10, 0.9)])
    (verdict,) = judge([frame], CAR)
    assert verdict.right.tolist() == [False, True]
    assert verdict.wrong.tolist() == [True, False]
    assert describe_wrong(frame, 0) == "Car of score 0.60 at 10 m on a Car that another box has found"


def test_neighbours_dont_care_and_hidden_objects_are_neither(make_frame: Callable) -> None:
    frame = make_frame(
        "a",
        truth=[("Van", 0, 10), ("Car", 0, 30)],
        results=[("Car", 0, 10, 0.9), ("Car", 0, 30, 0.8), ("Car", 5, 50, 0.7), ("Car", 7, 50, 0.6)],
        dont_care=[[490, 90, 560, 170]],
        hidden=[1],
    )
    (verdict,) = judge([frame], CAR)
    assert not verdict.right.any()
    assert verdict.wrong.tolist() == [False, False, False, True]
    assert not verdict.counted.any()


def test_a_verdict_does_not_depend_on_lower_scores(make_frame: Callable) -> None:
    truth = [("Car", 0, 10), ("Car", 1.5, 10.5)]
    results = [("Car", 0.7, 10.2, 0.9), ("Car", 0.1, 10, 0.8), ("Car", 1.4, 10.5, 0.7)]
    whole = judge([make_frame("a", truth, results)], CAR)[0]
    for kept in range(len(results)):
        part = judge([make_frame("a", truth, results[:kept])], CAR)[0]
        assert part.right.tolist() == whole.right[:kept].tolist()
        assert part.wrong.tolist() == whole.wrong[:kept].tolist()


def test_frames_do_not_mix_and_empty_sides_are_fine(make_frame: Callable) -> None:
    frames = [
        make_frame("a", [("Car", 0, 10)], []),
        make_frame("b", [], [("Car", 0, 10, 0.9)]),
        make_frame("c"),
    ]
    a, b, c = judge(frames, CAR)
    assert a.missed.tolist() == [True]
    assert b.wrong.tolist() == [True]
    assert len(c.wrong) == len(c.missed) == 0
    assert judge([], CAR) == []
    assert judge([frames[0]], CAR)[0].missed.tolist() == [True]


def test_without_an_operating_score_nothing_is_shown(make_frame: Callable) -> None:
    frame = make_frame("a", [("Car", 0, 10)], [("Car", 0, 10, 0.9)])
    (verdict,) = judge([frame], {"Car": None})
    assert verdict.right.tolist() == [True]
    assert not verdict.shown.any()
    assert verdict.missed.tolist() == [True]


def test_each_kind_finds_its_frame(make_frame: Callable) -> None:
    cars = [("Car", 4 * i, 20) for i in range(5)]
    all_right = [(*car, 0.8) for car in cars]
    frames = [
        make_frame("lonely", cars[:1], all_right[:1]),
        make_frame("street", cars, all_right),
        make_frame("blind", cars, [("Car", 0, 60, 0.55), ("Car", 9, 60, 0.6)]),
        make_frame("ghost", cars[:2], [*all_right[:2], ("Car", 0, 31, 0.93)]),
    ]
    best, worst, ghost = choose_frames(frames, CAR, 1)
    assert (best.kind, best.name, best.text) == ("best", "street", "5 of 5 found, none wrong")
    assert (worst.kind, worst.name, worst.named) == ("worst", "blind", 1)
    assert worst.text == "0 of 5 found, 2 wrong; the surest: Car of score 0.60 at 61 m where nothing is labelled"
    assert (ghost.kind, ghost.name, ghost.named) == ("confident_wrong", "ghost", 2)
    assert ghost.text == "Car of score 0.93 at 31 m where nothing is labelled; 2 of 2 found, 1 wrong"


def test_the_text_tells_what_is_near(make_frame: Callable) -> None:
    frame = make_frame("a", [("Car", 0, 30), ("Van", 20, 30)], [("Car", 0, 32, 0.9), ("Car", 20, 33, 0.8)])
    assert (
        describe_wrong(frame, 0)
        == "Car of score 0.90 at 32 m, 2.0 m off the labelled Car (3D overlap 0.00, 0.50 asked)"
    )
    assert describe_wrong(frame, 1) == "Car of score 0.80 at 39 m, 3.0 m from a labelled Van"


def test_a_wrong_box_below_the_operating_score_is_named_but_not_counted(make_frame: Callable) -> None:
    frame = make_frame("a", [("Car", 0, 10)], [("Car", 0, 10, 0.9), ("Car", 0, 40, 0.3)])
    assert [(choice.kind, choice.named) for choice in choose_frames([frame], CAR, 1)] == [("confident_wrong", 1)]
    text = choose_frames([frame], CAR, 1)[0].text
    assert text.endswith("where nothing is labelled, under the operating score; 1 of 1 found, none wrong")


def test_scores_below_zero_have_a_most_confident_mistake_too(make_frame: Callable) -> None:
    frames = [make_frame(str(score), [("Car", 0, 10)], [("Car", 0, 40, score)]) for score in (-3.0, -0.5, -7.0)]
    chosen = [item for item in choose_frames(frames, {"Car": -5.0}, 1) if item.kind == "confident_wrong"]
    assert [(item.name, item.named) for item in chosen] == [("-0.5", 0)]


def test_few_frames_are_each_shown_once_and_flawless_ones_are_only_best(make_frame: Callable) -> None:
    good = make_frame("good", [("Car", 0, 10)], [("Car", 0, 10, 0.9)])
    missed = make_frame("missed", [("Car", 0, 10)], [])
    assert choose_frames([], CAR, 3) == []
    assert choose_frames([good], CAR, 0) == []
    assert choose_frames([make_frame("empty")], CAR, 3) == []
    assert [(choice.kind, choice.name) for choice in choose_frames([good, missed], CAR, 3)] == [
        ("best", "good"),
        ("worst", "missed"),
    ]


def test_neighbours_in_a_long_drive_are_not_shown_twice(make_frame: Callable) -> None:
    frames = [make_frame(f"{i:03d}", [("Car", 0, 10)], [("Car", 0, 50, i / 300)]) for i in range(300)]
    chosen = [int(choice.name) for choice in choose_frames(frames, CAR, 3) if choice.kind == "confident_wrong"]
    assert chosen[0] == 299
    assert min(abs(a - b) for a in chosen for b in chosen if a != b) > 10


boxes = st.lists(st.tuples(st.just("Car"), st.floats(0, 3), st.floats(5, 12), st.floats(0, 1)), max_size=5)


@settings(max_examples=60)
@given(st.lists(st.tuples(boxes, boxes), max_size=4), st.integers(0, 3))
def test_verdicts_add_up(make_frame: Callable, sides: list, count: int) -> None:
    frames = [make_frame(str(i), [row[:3] for row in truth], found) for i, (truth, found) in enumerate(sides)]
    for verdict in judge(frames, CAR):
        assert not (verdict.right & verdict.wrong).any()
        assert (verdict.right | verdict.wrong).all()
        assert verdict.num_right + verdict.num_missed == verdict.counted.sum()
    names = [choice.name for choice in choose_frames(frames, CAR, count)]
    assert len(names) == len(set(names)) <= min(len(frames), 3 * count)


def test_a_result_without_a_place_in_3d_is_wrong_where_it_counts(make_frame: Callable) -> None:
    frame = make_frame("a", [("Car", 0, 10)], [("Car", 0, 10, 0.9)])
    values = dict(vars(frame.results)) | {"location_cam": np.full((1, 3), -1000.0), "hwl": np.full((1, 3), -1.0)}
    frame = EvaluationFrame("a", frame.truth, KittiFrame(**values))
    (verdict,) = judge([frame], CAR)
    assert describe_wrong(frame, 0) == "Car of score 0.90 without a place in 3D"
    assert verdict.missed.tolist() == [True]
    assert verdict.wrong.tolist() == [True]


@pytest.mark.parametrize("name", ["car", "CAR"])
def test_case_of_class_names_does_not_matter(make_frame: Callable, name: str) -> None:
    (verdict,) = judge([make_frame("a", [(name, 0, 10)], [("Car", 0, 10, 0.9)])], CAR)
    assert verdict.right.tolist() == [True]
