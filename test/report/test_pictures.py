"""Pictures of chosen frames: with an image and without, marks where they belong, sizes that a page can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import Frame, KittiFrame
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.report.frame_choice import choose_frames
from monotakd_ros.report.gathered import no_scenes
from monotakd_ros.report.pictures import MAX_WIDTH_PX, Picture, draw_choice, draw_pictures
from monotakd_ros.visualization.palette import MISSED, WRONG, class_colour

CAR = {"Car": 0.5}


def scene(width: int = 1242, height: int = 375) -> Frame:
    camera = CameraModel.from_intrinsics(700.0, 700.0, width / 2, height / 2, width, height)
    return Frame("a", 0, np.full((height, width, 3), 60, dtype=np.uint8), camera)


def decode(picture: Picture) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def amount(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels of about that colour; JPEG blurs."""
    return int((np.abs(image.astype(int) - colour).max(axis=-1) < 60).sum())


@pytest.fixture
def mixed(make_frame: Callable) -> EvaluationFrame:
    truth = [("Car", -4, 20), ("Car", 4, 20)]
    return make_frame("a", truth, [("Car", -4, 20, 0.9), ("Car", 0, 35, 0.8), ("Car", 9, 35, 0.2)])


def test_wrong_and_missed_boxes_are_marked(mixed: EvaluationFrame, make_frame: Callable) -> None:
    (choice,) = choose_frames([mixed], CAR, 1)
    good = make_frame("b", [("Car", -4, 20)], [("Car", -4, 20, 0.9)])
    (flawless,) = choose_frames([good], CAR, 1)
    for image in (scene(), None):
        bad_picture, good_picture = (
            decode(draw_choice(*pair)) for pair in ((mixed, image, choice), (good, image, flawless))
        )
        assert amount(bad_picture, WRONG) > amount(good_picture, WRONG) + 30
        assert amount(bad_picture, MISSED) > amount(good_picture, MISSED) + 30
        assert amount(good_picture, class_colour("Car")) > 30


def test_boxes_below_the_operating_score_are_drawn_only_if_named(make_frame: Callable) -> None:
    truth = [("Car", -4, 20)]
    right, low, lower = ("Car", -4, 20, 0.9), ("Car", 4, 25, 0.4), ("Car", 0, 35, 0.1)
    frames = [make_frame("a", truth, results) for results in ([right, low, lower], [right, low], [right])]
    pictures = [draw_choice(frame, None, choose_frames([frame], CAR, 1)[0]).jpeg for frame in frames]
    assert pictures[0] == pictures[1]
    assert pictures[1] != pictures[2]


def test_pictures_fit_the_page(mixed: EvaluationFrame) -> None:
    (choice,) = choose_frames([mixed], CAR, 1)
    for image in (scene(), scene(1920, 1080), scene(640, 480), scene(400, 900), scene(3000, 300), None):
        picture = draw_choice(mixed, image, choice)
        assert decode(picture).shape == (picture.height, picture.width, 3)
        assert picture.width <= MAX_WIDTH_PX
        assert len(picture.jpeg) < 200_000
        assert "frame a" in picture.alt
        assert ("Camera image" in picture.alt) == (image is not None)


def test_covariance_is_drawn_where_it_points(mixed: EvaluationFrame) -> None:
    """A doubt along z (ahead) makes another picture than one along x (sideways)."""
    (choice,) = choose_frames([mixed], CAR, 1)
    spread = [np.zeros((3, 3, 3)) for _ in range(2)]
    spread[0][:, 2, 2], spread[1][:, 0, 0] = 9.0, 9.0
    ahead, sideways = (
        decode(draw_choice(replace(mixed, covariance_cam=values), None, choice)).astype(int) for values in spread
    )
    car = np.abs(ahead - class_colour("Car")).max(axis=-1) < 60
    other = np.abs(sideways - class_colour("Car")).max(axis=-1) < 60
    rows, columns = np.nonzero(car & ~other), np.nonzero(other & ~car)
    assert np.ptp(rows[0]) > np.ptp(rows[1]) / 2
    assert np.ptp(columns[1]) > np.ptp(rows[1])


def test_rows_without_a_place_are_left_out(mixed: EvaluationFrame) -> None:
    nowhere = dict(vars(mixed.results)) | {"location_cam": np.full((3, 3), -1000.0), "hwl": np.full((3, 3), -1.0)}
    frame = EvaluationFrame("a", KittiFrame.empty(), KittiFrame(**nowhere))
    (choice,) = choose_frames([frame], CAR, 1)
    assert amount(decode(draw_choice(frame, None, choice))[:600], class_colour("Car")) == 0


def test_scenes_are_asked_once_for_all_chosen_frames(make_frame: Callable) -> None:
    frames = [make_frame(name, [("Car", 0, 20)], [("Car", 0, 40, 0.9)]) for name in "abc"]
    asked = []

    def scenes(names: list[str]) -> dict[str, Frame]:
        asked.append(sorted(names))
        return {"b": scene()}

    pictures = draw_pictures(frames, CAR, scenes, 3)
    assert asked == [["a", "b", "c"]]
    assert {picture.name: picture.width > 800 for picture in pictures} == {"a": False, "b": True, "c": False}
    assert draw_pictures([], CAR, no_scenes) == []
    assert draw_pictures(frames, CAR, no_scenes, 0) == []
