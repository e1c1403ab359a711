"""Association along the viewing ray: each rule by hand, what holds for any scene, and the operating point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.evaluation.association import (
    Association,
    Links,
    OperatingPoint,
    associate,
    operating_point,
)
from monotakd_ros.evaluation.kitti_pairs import pairs_within_frames
from monotakd_ros.evaluation.pairing import take_while_free
from monotakd_ros.frame import KittiFrame


def car(x: float, z: float, score: float = 0.0, **other) -> dict:
    return {"name": "Car", "x": x, "z": z, "score": score, **other}


def fates(frame, class_name: str = "Car") -> dict[str, list[tuple[int, int]]]:
    """Truth and result index of every link of one frame."""
    found = associate([frame], class_name)
    return {name: list(zip(links.truth.tolist(), links.result.tolist())) for name, links in vars(found).items()}


NOTHING = {"pairs": [], "wrong": [], "excused": [], "missed": []}


@pytest.mark.parametrize(
    ("x", "z", "together"),
    [
        (0.0, 40.0 + 11.9, True),  # 2 m + a quarter of 40 m
        (0.0, 40.0 + 12.1, False),
        (0.0, 40.0 - 11.9, True),
        (2.1, 40.0, True),  # half the diagonal of 1.6 m x 4 m is 2.15 m
        (2.2, 40.0, False),
    ],
)
def test_depth_may_be_far_off_but_not_direction(make_frame, x: float, z: float, together: bool) -> None:
    assert bool(fates(make_frame([car(0, 40)], [car(x, z)]))["pairs"]) == together


def test_the_ray_of_an_object_at_the_side_is_oblique(make_frame) -> None:
    """Ten metres further along the ray are ten metres in no single axis."""
    along, sideways = car(20 + 6, 20 + 6), car(20 + 6, 20 - 6)
    assert fates(make_frame([car(20, 20)], [along]))["pairs"] == [(0, 0)]
    assert fates(make_frame([car(20, 20)], [sideways]))["wrong"] == [(-1, 0)]


def test_the_better_score_chooses_first_and_takes_the_nearest(make_frame) -> None:
    frame = make_frame([car(0, 30), car(0, 38)], [car(0, 33.9, 0.5), car(0, 33.8, 0.9)])
    assert fates(frame)["pairs"] == [(0, 0), (1, 1)]


def test_of_equal_scores_the_first_in_the_file_chooses(make_frame) -> None:
    frame = make_frame([car(0, 30)], [car(0, 33, 0.5), car(0, 32.9, 0.5)])
    assert fates(frame) == NOTHING | {"pairs": [(0, 0)], "wrong": [(-1, 1)]}


def test_a_second_result_on_a_car_is_no_error_of_the_car_behind(make_frame) -> None:
    frame = make_frame([car(0, 30), car(0, 37)], [car(0, 30, 0.9), car(0, 30.5, 0.8)])
    assert fates(frame) == NOTHING | {"pairs": [(0, 0)], "wrong": [(-1, 1)], "missed": [(1, -1)]}


def test_a_result_on_a_van_is_no_error_of_the_car_behind(make_frame) -> None:
    van = {"name": "Van", "x": 0, "z": 30}
    assert fates(make_frame([van, car(0, 37)], [car(0, 30.5)])) == NOTHING | {"excused": [(0, 0)], "missed": [(1, -1)]}


def test_between_a_car_and_a_van_the_car_goes_first(make_frame) -> None:
    van = {"name": "Van", "x": 0, "z": 30}
    assert fates(make_frame([van, car(0, 40)], [car(0, 33)]))["pairs"] == [(1, 0)]
    assert fates(make_frame([van], [car(0, 33)]))["excused"] == [(0, 0)]


@pytest.mark.parametrize(
    ("class_name", "neighbour", "excused"),
    [("Car", "Van", True), ("Pedestrian", "Person_sitting", True), ("Cyclist", "Pedestrian", False)],
)
def test_neighbouring_classes_excuse_one_result_each(make_frame, class_name, neighbour, excused) -> None:
    result = {"name": class_name, "x": 0.1, "z": 20}
    got = fates(make_frame([{"name": neighbour, "x": 0, "z": 20}], [result, result]), class_name)
    assert got == NOTHING | ({"excused": [(0, 0)], "wrong": [(-1, 1)]} if excused else {"wrong": [(-1, 0), (-1, 1)]})


def test_what_the_image_does_not_show_is_neither_missed_nor_wrong(make_frame) -> None:
    hidden = car(0, -20, bbox=(0, 0, 0, 0))
    assert fates(make_frame([hidden], [])) == NOTHING
    assert fates(make_frame([hidden], [car(0, -21)])) == NOTHING | {"excused": [(0, 0)]}


@pytest.mark.parametrize(("right_px", "excused"), [(151, True), (149, False)])
def test_a_region_over_more_than_half_of_a_result_excuses_it(make_frame, right_px: float, excused: bool) -> None:
    region = {
        "name": "DontCare",
        "x": -1000,
        "y": -1000,
        "z": -1000,
        "hwl": (-1, -1, -1),
        "bbox": (0, 0, right_px, 300),
    }
    got = fates(make_frame([region], [car(0, 20, bbox=(100, 100, 200, 200))]))
    assert got == NOTHING | {"excused" if excused else "wrong": [(-1, 0)]}


@pytest.mark.parametrize("lacking", [{"x": -1000, "y": -1000, "z": -1000}, {"hwl": (-1, -1, -1)}, {"hwl": (1.5, 0, 4)}])
def test_boxes_without_a_place_in_3d_take_no_part(make_frame, lacking: dict) -> None:
    assert fates(make_frame([], [car(0, 20) | lacking])) == NOTHING
    assert fates(make_frame([car(0, 20) | lacking], [])) == NOTHING


def test_case_of_class_names_does_not_matter(make_frame) -> None:
    frame = make_frame([{"name": "CAR", "x": 0, "z": 20}], [{"name": "car", "x": 0, "z": 20}])
    assert fates(frame, "cAr")["pairs"] == [(0, 0)]


def test_an_object_right_at_the_camera(make_frame) -> None:
    assert fates(make_frame([car(0, 0)], [car(0, 1)]))["pairs"] == [(0, 0)]


def test_nothing_anywhere(make_frame) -> None:
    for frames in ([], [make_frame([], [])]):
        found = associate(frames, "Car")
        assert all(len(links) == 0 for links in vars(found).values())
        assert operating_point(found) == OperatingPoint(None, None, None, None, 0, 0, 0)


def test_indices_are_those_of_the_frame(make_frame) -> None:
    other = {"name": "Pedestrian", "x": 5, "z": 5}
    first = make_frame([other, car(0, 20)], [other, other, car(0, 20, 0.3)])
    second = make_frame([other], [other])
    found = associate([second, first, second, first], "Car").pairs
    assert (found.frame.tolist(), found.truth.tolist(), found.result.tolist()) == ([1, 3], [1, 1], [2, 2])
    assert found.score.tolist() == [0.3, 0.3]


def of(links: Links, side: str) -> list[tuple[int, int]]:
    return list(zip(links.frame.tolist(), getattr(links, side).tolist()))


def boxes(side: list[KittiFrame], class_name: str) -> list[tuple[int, int]]:
    """Frame and row of every box of a class."""
    return [(f, row) for f, frame in enumerate(side) for row, name in enumerate(frame.names) if name == class_name]


@pytest.mark.parametrize("seed", range(5))
def test_every_box_has_one_fate(random_frames, seed: int) -> None:
    frames = random_frames(seed, 40)
    for class_name in ("Car", "Pedestrian", "Cyclist"):
        found = associate(frames, class_name)
        fates_of_results = [pair for links in (found.pairs, found.wrong, found.excused) for pair in of(links, "result")]
        assert sorted(fates_of_results) == boxes([frame.results for frame in frames], class_name)
        fates_of_truth = [pair for links in (found.pairs, found.missed) for pair in of(links, "truth")]
        assert sorted(fates_of_truth) == boxes([frame.truth for frame in frames], class_name)


@pytest.mark.parametrize("seed", range(3))
def test_dropping_low_scores_before_or_after_is_the_same(random_frames, make_frame, seed: int) -> None:
    frames = random_frames(seed, 40)
    kept = [type(f)(f.name, f.truth, f.results.select(f.results.score >= 0.5)) for f in frames]
    before, after = associate(kept, "Car"), associate(frames, "Car")
    for name in ("pairs", "wrong", "excused"):
        fewer, all_of_them = getattr(before, name), getattr(after, name).at_least(0.5)
        assert (fewer.frame.tolist(), fewer.truth.tolist()) == (all_of_them.frame.tolist(), all_of_them.truth.tolist())
    assert len(after.pairs), "scenes without any pair would show nothing"


def test_operating_point_by_hand(make_frame) -> None:
    """F1 falls from 2/3 (0.9) to 1/2 (0.8: one wrong) and rises to 4/5 (0.7)."""
    frame = make_frame([car(0, 20), car(9, 20)], [car(0, 20, 0.9), car(-9, 20, 0.8), car(9, 20, 0.7), car(-9, 9, 0.1)])
    found = associate([frame], "Car")
    assert operating_point(found) == OperatingPoint(0.7, 2 / 3, 1.0, 0.8, 2, 1, 0)
    assert operating_point(found, 0.85) == OperatingPoint(0.85, 1.0, 0.5, 2 / 3, 1, 0, 1)
    assert operating_point(found, 2.0) == OperatingPoint(2.0, None, 0.0, 0.0, 0, 0, 2)


def test_operating_point_where_no_result_is_right(make_frame) -> None:
    found = associate([make_frame([car(0, 20)], [car(15, 20, 0.4)])], "Car")
    assert operating_point(found) == OperatingPoint(None, 0.0, 0.0, 0.0, 0, 1, 1)


@settings(max_examples=50)
@given(scale=st.floats(0.01, 1000), shift=st.floats(-1000, 1000))
def test_scores_may_have_any_range(scale: float, shift: float) -> None:
    def links(score: np.ndarray) -> Links:
        return Links(*np.zeros((3, len(score)), dtype=np.int64), score * scale + shift)

    right, wrong = np.array([0.75, 0.5, 0.25]), np.array([0.625, 0.125, 0.0625, 0.03125])
    point = operating_point(Association(links(right), links(wrong), links(np.zeros(0)), links(np.zeros(1))))
    assert (point.correct, point.wrong, point.missed) == (3, 1, 1)


def test_pairs_and_taking() -> None:
    a, b = pairs_within_frames(np.array([0, 2, 2, 5]), np.array([0, 0, 1, 2, 5]))
    assert list(zip(a, b)) == [(0, 0), (0, 1), (1, 3), (2, 3), (3, 4)]
    assert take_while_free(a, b).tolist() == [True, False, True, False, True]
    assert take_while_free(*np.zeros((2, 0), dtype=np.int64)).shape == (0,)
