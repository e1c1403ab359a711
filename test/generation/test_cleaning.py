"""Every rule by hand numbers: what makes a box a label, uncertain, or nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.config import ClassThreshold
from monotakd_ros.errors import ConfigError
from monotakd_ros.generation.cleaning import Evidence, Neighbour, SeenBoxes, judge
from monotakd_ros.generation.settings import CleaningSettings

SETTINGS = CleaningSettings(
    threshold=0.3,
    thresholds=(ClassThreshold("Cyclist", 0.5),),
    ignore_threshold=0.1,
    min_points=5,
    agreement_below=0.6,
    neighbours_below=0.6,
    neighbours_m=1.0,
    max_speed_mps=10.0,
)


def seen(*boxes: tuple[str, float, float, float]) -> SeenBoxes:
    """Boxes of (class, score, x, y)."""
    table = [[x, y, -1.0, 4.0, 1.7, 1.5, 0.0] for _, _, x, y in boxes]
    return SeenBoxes(
        np.array(table).reshape(-1, 7), np.array([box[1] for box in boxes]), tuple(box[0] for box in boxes)
    )


def evidence_for(boxes: SeenBoxes, **changes) -> Evidence:
    usual = Evidence(np.full(len(boxes), 50), np.ones(len(boxes)), None, ())
    return replace(usual, **changes)


def verdict(box, **changes) -> tuple[str, tuple[str, ...]]:
    boxes = seen(box)
    (found,) = judge(boxes, evidence_for(boxes, **changes), SETTINGS)
    return found.status, found.reasons


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (("Car", 0.3, 10, 0), ("label", ())),
        (("Car", 0.29, 10, 0), ("uncertain", ("score",))),
        (("Cyclist", 0.49, 10, 0), ("uncertain", ("score",))),
        (("Cyclist", 0.5, 10, 0), ("label", ())),
        (("Car", 0.1, 10, 0), ("uncertain", ("score",))),
        (("Car", 0.09, 10, 0), ("dropped", ("score",))),
    ],
)
def test_scores(box, expected):
    assert verdict(box) == expected


def test_points_and_image():
    assert verdict(("Car", 0.9, 10, 0), num_points=np.array([4])) == ("uncertain", ("points",))
    assert verdict(("Car", 0.9, 10, 0), num_points=np.array([5])) == ("label", ())
    assert verdict(("Car", 0.9, 10, 0), in_image=np.array([0.09])) == ("dropped", ("outside",))
    assert verdict(("Car", 0.9, 10, 0), in_image=np.array([np.nan])) == ("dropped", ("outside",))


def test_a_second_opinion_counts_where_the_teacher_is_not_sure():
    box = ("Car", 0.5, 20.0, 0.0)
    near, far, other = seen(("Car", 0.4, 22.9, 0)), seen(("Car", 0.9, 23.1, 0)), seen(("Cyclist", 0.9, 20, 0))
    assert verdict(box, assistant=near) == ("label", ())  # 2 m and 5 % of 20 m
    for opinion in (far, other, SeenBoxes.empty()):
        assert verdict(box, assistant=opinion) == ("uncertain", ("assistant",))
        assert verdict(("Car", 0.6, 20, 0), assistant=opinion) == ("label", ())
    assert verdict(box, assistant=None) == ("label", ())


def test_a_box_that_appears_once_is_suspect():
    box = ("Car", 0.5, 20.0, 0.0)
    here, gone = Neighbour(seen(("Car", 0.2, 22.0, 0)), 0.1), Neighbour(seen(("Car", 0.9, 22.1, 0)), 0.1)
    assert verdict(box, neighbours=(here,)) == ("label", ())  # 1 m and 10 m/s times 0.1 s
    assert verdict(box, neighbours=(gone,)) == ("uncertain", ("neighbours",))
    assert verdict(box, neighbours=(gone, here)) == ("label", ())
    assert verdict(box, neighbours=(Neighbour(SeenBoxes.empty(), 0.1),)) == ("uncertain", ("neighbours",))
    assert verdict(box, neighbours=()) == ("label", ())
    assert verdict(("Car", 0.6, 20, 0), neighbours=(gone,)) == ("label", ())


def test_nothing_seen():
    assert judge(SeenBoxes.empty(), evidence_for(SeenBoxes.empty()), SETTINGS) == []
    with_all = evidence_for(SeenBoxes.empty(), assistant=seen(("Car", 1, 1, 1)), neighbours=(Neighbour(seen(), 1.0),))
    assert judge(SeenBoxes.empty(), with_all, SETTINGS) == []


@given(
    scores=st.lists(st.floats(0, 1), max_size=6),
    points=st.integers(0, 10),
    in_image=st.floats(0, 1),
    stricter=st.floats(0, 0.5),
)
def test_stricter_rules_never_make_more_labels(scores, points, in_image, stricter):
    boxes = seen(*[("Car", score, 10.0 * index, 0.0) for index, score in enumerate(scores)])
    evidence = evidence_for(
        boxes,
        num_points=np.full(len(scores), points),
        in_image=np.full(len(scores), in_image),
        assistant=seen(("Car", 0.5, 0, 0)),
        neighbours=(Neighbour(seen(("Car", 0.5, 10, 0)), 0.1),),
    )
    before = judge(boxes, evidence, SETTINGS)
    harder = replace(SETTINGS, threshold=0.3 + stricter, min_points=7, agreement_below=0.9, neighbours_below=0.9)
    for old, new in zip(before, judge(boxes, evidence, harder)):
        assert (new.status == "dropped") == (old.status == "dropped")
        assert new.status != "label" or old.status == "label"


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 0.05}, {"ignore_threshold": 0.0}, {"threshold": 1.5}, {"min_points": -1}, {"max_speed_mps": -1.0}],
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match="cleaning"):
        CleaningSettings(**wrong)
