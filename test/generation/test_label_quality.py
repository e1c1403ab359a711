"""Precision and recall of a set's labels, by hand."""

from __future__ import annotations

import pytest

from monotakd_ros.errors import LabelError
from monotakd_ros.generation.label_quality import FrameTexts, label_quality

TRUE = "Car 0 0 0 {left} 100 {right} 150 1.5 1.6 4.0 {x} 1.7 {z} 0"
FOUND = TRUE.replace("Car", "{kind}") + " {score}"
PLACES = [{"x": -6, "z": 10, "left": 10, "right": 90}, {"x": 0, "z": 20, "left": 100, "right": 150}]
FALSE = {"x": 8, "z": 30, "left": 200, "right": 250}


@pytest.fixture
def frame():
    """Two cars; the teacher sees both and a third, of which cleaning doubts the third and one of the two."""
    boxes = [(PLACES[0], 0.9, "Car"), (PLACES[1], 0.5, "Uncertain_Car"), (FALSE, 0.4, "Uncertain_Car")]
    return FrameTexts(
        "1",
        "\n".join(TRUE.format(**place) for place in PLACES),
        "\n".join(FOUND.format(kind="Car", score=score, **place) for place, score, _ in boxes),
        "\n".join(FOUND.format(kind=kind, score=score, **place) for place, score, kind in boxes),
    )


def test_before_and_after_cleaning(frame):
    quality = label_quality([frame], {"Car": 0.3, "Pedestrian": 0.3})
    assert quality["frames"] == 1
    teacher, labels = quality["classes"]["Car"]["teacher"], quality["classes"]["Car"]["labels"]
    assert (teacher["precision"], teacher["recall"]) == (0.6667, 1.0)
    assert (labels["precision"], labels["recall"]) == (1.0, 0.5)
    assert quality["classes"]["Pedestrian"]["labels"]["precision"] is None


def test_the_threshold_holds_for_the_teacher_too(frame):
    teacher = label_quality([frame], {"Car": 0.6})["classes"]["Car"]["teacher"]
    assert (teacher["correct"], teacher["wrong"], teacher["missed"]) == (1, 0, 1)


def test_no_truth():
    assert label_quality([], {"Car": 0.3}) == {}


def test_frames_without_boxes():
    point = label_quality([FrameTexts("1", "", "", "")], {"Car": 0.3})["classes"]["Car"]["labels"]
    assert (point["precision"], point["recall"]) == (None, None)


def test_damaged_texts(frame):
    with pytest.raises(LabelError, match="teacher of frame 1, line 1"):
        label_quality([frame._replace(teacher="Car 1 2")], {"Car": 0.3})
