"""Precision and recall of a set's labels, by hand."""

from __future__ import annotations

import pytest

from monotakd_ros.errors import LabelError
from monotakd_ros.generation.label_quality import label_quality

TRUE = "Car 0 0 0 {left} 100 {right} 150 1.5 1.6 4.0 {x} 1.7 {z} 0"
FOUND = TRUE.replace("Car", "{kind}") + " {score}"
PLACES = [{"x": -6, "z": 10, "left": 10, "right": 90}, {"x": 0, "z": 20, "left": 100, "right": 150}]
FALSE = {"x": 8, "z": 30, "left": 200, "right": 250}


@pytest.fixture
def a_set(tmp_path):
    """Two cars; the teacher sees both and a third, of which cleaning doubts the third and one of the two."""
    for folder in ("truth", "teacher", "training/label_2"):
        (tmp_path / folder).mkdir(parents=True)
    boxes = [(PLACES[0], 0.9, "Car"), (PLACES[1], 0.5, "Uncertain_Car"), (FALSE, 0.4, "Uncertain_Car")]
    (tmp_path / "truth" / "1.txt").write_text("\n".join(TRUE.format(**place) for place in PLACES))
    teacher = [FOUND.format(kind="Car", score=score, **place) for place, score, _ in boxes]
    labels = [FOUND.format(kind=kind, score=score, **place) for place, score, kind in boxes]
    (tmp_path / "teacher" / "1.txt").write_text("\n".join(teacher))
    (tmp_path / "training" / "label_2" / "1.txt").write_text("\n".join(labels))
    return tmp_path


def test_before_and_after_cleaning(a_set):
    quality = label_quality(a_set, ["1", "without truth"], {"Car": 0.3, "Pedestrian": 0.3})
    assert quality["frames"] == 1
    teacher, labels = quality["classes"]["Car"]["teacher"], quality["classes"]["Car"]["labels"]
    assert (teacher["precision"], teacher["recall"]) == (0.6667, 1.0)
    assert (labels["precision"], labels["recall"]) == (1.0, 0.5)
    assert quality["classes"]["Pedestrian"]["labels"]["precision"] is None


def test_the_threshold_holds_for_the_teacher_too(a_set):
    teacher = label_quality(a_set, ["1"], {"Car": 0.6})["classes"]["Car"]["teacher"]
    assert (teacher["correct"], teacher["wrong"], teacher["missed"]) == (1, 0, 1)


def test_no_truth(a_set):
    assert label_quality(a_set, ["2"], {"Car": 0.3}) == {}
    assert label_quality(a_set, [], {"Car": 0.3}) == {}


def test_damaged_files(a_set):
    (a_set / "teacher" / "1.txt").write_text("Car 1 2")
    with pytest.raises(LabelError, match=r"teacher/1\.txt"):
        label_quality(a_set, ["1"], {"Car": 0.3})
