"""The teacher's boxes as labels, and the file that keeps them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monotakd_ros.config import ClassThreshold, SemiSupervisedConfig
from monotakd_ros.errors import ConfigError, SourceError
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.training.pseudo_labels import (
    FrameBoxes,
    Provenance,
    PseudoLabelledFrames,
    PseudoLabels,
    class_thresholds,
    labelled_by,
    load_pseudo_labels,
    save_pseudo_labels,
    sum_counts,
)

CLASSES = ("Car", "Pedestrian")
PROVENANCE = Provenance(
    teacher=CheckpointName("teacher.pt", "ab" * 32),
    teacher_config="tiny",
    class_names=CLASSES,
    thresholds={"Car": 0.5, "Pedestrian": 0.3},
    ignore_threshold=0.1,
    recording="drive",
    frames="drive-0123",
    versions={"torch": "2"},
    code="0123",
    code_commit=None,
)


def boxes_of(name: str, *scored: tuple[int, float]) -> FrameBoxes:
    boxes = [[8.0 + index, 0.0, -1.0, 3.9, 1.6, 1.5, 0.1] for index in range(len(scored))]
    labels, scores = zip(*scored) if scored else ((), ())
    return FrameBoxes.rounded(name, np.array(boxes), np.array(scores), np.array(labels, dtype=np.int64))


TWO_FRAMES = PseudoLabels(
    PROVENANCE, (boxes_of("000000", (0, 0.9), (0, 0.5), (0, 0.4999), (1, 0.2)), boxes_of("000001", (0, 0.2)))
)


class TestLabels:
    def test_a_score_at_the_threshold_is_a_label_and_one_below_is_uncertain(self):
        assert TWO_FRAMES.frames[0].certain(TWO_FRAMES.thresholds).tolist() == [True, True, False, False]
        assert TWO_FRAMES.counts() == {
            "Car": {"labels": 2, "uncertain": 2, "highest_score": 0.9},
            "Pedestrian": {"labels": 0, "uncertain": 1, "highest_score": 0.2},
        }
        assert TWO_FRAMES.frames_without_label() == 1

    def test_counts_of_recordings_add_up_and_the_highest_score_stays_the_highest(self):
        other = PseudoLabels(PROVENANCE, (boxes_of("0", (1, 0.31)),))
        assert sum_counts([TWO_FRAMES, other])["Pedestrian"] == {"labels": 1, "uncertain": 1, "highest_score": 0.31}
        assert sum_counts([]) == {}

    def test_a_frame_takes_them_and_keeps_what_is_not_a_label(self, training_frames):
        frame = training_frames[0]
        labelled = labelled_by(frame, TWO_FRAMES.frames[0], TWO_FRAMES.thresholds).prepared
        assert labelled.labels.tolist() == [0, 0, -1, -1]
        assert np.array_equal(labelled.label_scores, np.float32([0.9, 0.5, 0.4999, 0.2]))
        assert labelled.boxes_lidar.shape == (4, 7) and labelled.boxes_lidar.dtype == np.float32
        assert labelled.image is frame.prepared.image and frame.prepared.label_scores is None

    def test_a_frame_in_which_nothing_is_seen_is_labelled_empty(self, training_frames):
        labelled = labelled_by(training_frames[0], boxes_of("000000"), TWO_FRAMES.thresholds).prepared
        assert labelled.boxes_lidar.shape == (0, 7) and labelled.labels.shape == labelled.label_scores.shape == (0,)

    def test_boxes_of_another_frame_are_refused(self, training_frames):
        with pytest.raises(SourceError, match="expected those of frame 000001, got those of 000000"):
            labelled_by(training_frames[1], TWO_FRAMES.frames[0], TWO_FRAMES.thresholds)

    def test_labels_of_fewer_frames_are_refused(self, cached_unlabelled):
        with pytest.raises(SourceError, match="expected labels of 4 frames, got 2"):
            PseudoLabelledFrames(cached_unlabelled(), TWO_FRAMES)


@st.composite
def frame_boxes(draw) -> FrameBoxes:
    count = draw(st.integers(0, 4))
    number = st.floats(-100, 100, allow_nan=False)
    boxes = draw(st.lists(st.lists(number, min_size=7, max_size=7), min_size=count, max_size=count))
    scores = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    return FrameBoxes.rounded(draw(st.text(max_size=5)), np.array(boxes), np.array(scores), np.array(labels))


class TestFile:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])  # as `no_deadline`
    @given(frames=st.lists(frame_boxes(), max_size=3))
    def test_gives_back_bit_for_bit_what_was_written(self, frames, tmp_path_factory):
        path = tmp_path_factory.mktemp("labels") / "drive.json"
        written = PseudoLabels(PROVENANCE, tuple(frames))
        save_pseudo_labels(path, written)
        read = load_pseudo_labels(path, PROVENANCE)
        assert read.digest() == written.digest() and len(read.frames) == len(frames)
        for got, expected in zip(read.frames, frames):
            assert got.name == expected.name
            for array in ("boxes_lidar", "scores", "labels"):
                assert np.array_equal(getattr(got, array), getattr(expected, array))

    def test_reads_well(self, tmp_path):
        save_pseudo_labels(tmp_path / "drive.json", TWO_FRAMES)
        content = json.loads((tmp_path / "drive.json").read_text())
        assert content["provenance"]["teacher"] == {"file": "teacher.pt", "sha256": "ab" * 32}
        assert content["counts"]["Car"]["labels"] == 2
        assert content["frames"][1] == {
            "name": "000001",
            "boxes": [{"class": "Car", "score": 0.2, "box_lidar": [8.0, 0.0, -1.0, 3.9, 1.6, 1.5, 0.1]}],
        }

    @pytest.mark.parametrize(
        "other",
        [
            {"teacher": CheckpointName("teacher.pt", "cd" * 32)},
            {"thresholds": {"Car": 0.5, "Pedestrian": 0.31}},
            {"ignore_threshold": 0.2},
            {"versions": {"torch": "3"}},
            {"code": "4567"},
            {"frames": "drive-4567"},
            {"class_names": ("Car", "Cyclist")},
        ],
    )
    def test_labels_that_something_else_made_are_not_taken(self, tmp_path, other):
        save_pseudo_labels(tmp_path / "drive.json", TWO_FRAMES)
        assert load_pseudo_labels(tmp_path / "drive.json", replace(PROVENANCE, **other)) is None

    def test_a_commit_that_left_the_networks_alone_keeps_them(self, tmp_path):
        save_pseudo_labels(tmp_path / "drive.json", TWO_FRAMES)
        labels = load_pseudo_labels(tmp_path / "drive.json", replace(PROVENANCE, code_commit="1234"))
        assert labels is not None and labels.digest() == TWO_FRAMES.digest()

    def test_no_file(self, tmp_path):
        assert load_pseudo_labels(tmp_path / "drive.json", PROVENANCE) is None

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: text[:-20],
            lambda text: text.replace('"score": 0.9', '"score": 1.9'),
            lambda text: text.replace('"score": 0.9', '"score": 0.4'),
            lambda text: text.replace("3.9, ", ""),
            lambda text: text.replace("3.9", "NaN"),
            lambda text: text.replace('"class": "Car"', '"class": "Tram"'),
            lambda text: "[]",
        ],
    )
    def test_a_damaged_file_is_named(self, tmp_path, damage):
        path = tmp_path / "drive.json"
        save_pseudo_labels(path, TWO_FRAMES)
        path.write_text(damage(path.read_text()))
        with pytest.raises(SourceError, match=r"drive\.json: the pseudo labels are damaged"):
            load_pseudo_labels(path, PROVENANCE)

    def test_the_digest_tells_labels_and_thresholds_apart(self):
        higher = replace(TWO_FRAMES, provenance=replace(PROVENANCE, thresholds={"Car": 0.6, "Pedestrian": 0.3}))
        fewer = replace(TWO_FRAMES, frames=TWO_FRAMES.frames[:1])
        commit = replace(TWO_FRAMES, provenance=replace(PROVENANCE, code_commit="1234"))
        assert len({item.digest() for item in (TWO_FRAMES, higher, fewer)}) == 3
        assert commit.digest() == TWO_FRAMES.digest()


class TestSettings:
    def test_a_class_that_is_not_named_has_the_common_threshold(self):
        section = SemiSupervisedConfig(threshold=0.4, thresholds=(ClassThreshold("Pedestrian", 0.2),))
        assert class_thresholds(section, CLASSES) == {"Car": 0.4, "Pedestrian": 0.2}

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"unlabelled_fraction": 1.1}, r"unlabelled_fraction must be in \[0, 1\]"),
            ({"threshold": 0.0}, "threshold must be in"),
            ({"detection_weight": -1.0}, "detection_weight must be >= 0"),
            ({"ignore_threshold": 0.6}, r"at most the lowest threshold \(0.3\), got 0.6"),
            ({"thresholds": (ClassThreshold("Car", 0.05),)}, r"at most the lowest threshold \(0.05\), got 0.1"),
            ({"thresholds": (ClassThreshold("Car", 0.5),) * 2}, "names a class twice"),
        ],
    )
    def test_out_of_range(self, values, message):
        with pytest.raises(ConfigError, match=message):
            SemiSupervisedConfig(**values)

    def test_a_class_that_the_student_lacks(self, tiny_config):
        section = SemiSupervisedConfig(thresholds=(ClassThreshold("Tram", 0.5),))
        with pytest.raises(ConfigError, match="the student has no class 'Tram'; it has Car, Pedestrian"):
            replace(tiny_config, training=replace(tiny_config.training, semi_supervised=section))
