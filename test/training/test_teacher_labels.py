"""Running the teacher over a recording: once, resumably, and never mixed with another's labels."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monotakd_ros.config import BevConfig, HeadConfig, SemiSupervisedConfig
from monotakd_ros.errors import CheckpointError, SourceError
from monotakd_ros.geometry.grid import VoxelGrid
from monotakd_ros.training.pseudo_label_quality import pseudo_label_quality
from monotakd_ros.training.pseudo_labels import FrameBoxes, PseudoLabelledFrames, PseudoLabels
from monotakd_ros.training.teacher_labels import PARTIAL_SUFFIX, LabellingTeacher, teacher_labels


@pytest.fixture
def config(tiny_config):
    settings = SemiSupervisedConfig(threshold=0.075, ignore_threshold=0.065)
    return replace(tiny_config, training=replace(tiny_config.training, semi_supervised=settings))


@pytest.fixture
def teacher(config, save_teacher) -> LabellingTeacher:
    return LabellingTeacher(save_teacher(config), config)


@pytest.fixture
def seen(teacher, monkeypatch) -> list[str]:
    """Names of the frames that the teacher looks at."""
    names = []
    look = teacher.boxes

    def boxes(frame):
        names.append(frame.prepared.name)
        return look(frame)

    monkeypatch.setattr(teacher, "boxes", boxes)
    return names


def partial_of(path: Path) -> Path:
    return path.with_suffix(PARTIAL_SUFFIX)


class TestTeacherLabels:
    def test_are_the_boxes_that_the_teacher_gives_and_are_made_once(self, teacher, seen, cached_unlabelled, tmp_path):
        cache = cached_unlabelled()
        labels, path = teacher_labels(cache, teacher, tmp_path)
        again, _ = teacher_labels(cache, teacher, tmp_path)
        assert seen == ["000000", "000001", "000002", "000003"]
        assert labels.digest() == again.digest() and not partial_of(path).exists()
        counts = labels.counts()
        assert sum(count["labels"] for count in counts.values()) > 0
        assert sum(count["uncertain"] for count in counts.values()) > 0
        assert min(frame.scores.min() for frame in labels.frames) >= 0.065
        assert np.array_equal(labels.frames[2].boxes_lidar, teacher.boxes(cache[2]).boxes_lidar)

    def test_say_who_made_them(self, teacher, config, cached_unlabelled, tmp_path):
        cache = cached_unlabelled()
        provenance = teacher_labels(cache, teacher, tmp_path)[0].provenance
        assert provenance.teacher.file == "labelling.pt" and len(provenance.teacher.sha256) == 64
        assert provenance.teacher_config == config.name and provenance.frames == cache.folder.name
        assert provenance.thresholds == {"Car": 0.075, "Pedestrian": 0.075} and "torch" in provenance.versions

    def test_another_teacher_or_threshold_has_its_own_file(
        self, teacher, config, save_teacher, cached_unlabelled, tmp_path
    ):
        cache = cached_unlabelled(2)
        other = LabellingTeacher(save_teacher(config, seed=8, name="other"), config)
        settings = replace(config.training.semi_supervised, threshold=0.07)
        looser = replace(config, training=replace(config.training, semi_supervised=settings))
        third = LabellingTeacher(save_teacher(config), looser)
        made = [teacher_labels(cache, item, tmp_path) for item in (teacher, other, third)]
        assert len({path for _, path in made}) == 3
        assert len({labels.digest() for labels, _ in made}) == 3

    def test_other_code_makes_them_anew(self, teacher, seen, cached_unlabelled, tmp_path):
        cache = cached_unlabelled(1)
        _, path = teacher_labels(cache, teacher, tmp_path)
        content = json.loads(path.read_text())
        content["provenance"]["code"] = "an earlier one"
        path.write_text(json.dumps(content))
        teacher_labels(cache, teacher, tmp_path)
        assert seen == ["000000"] * 2
        assert json.loads(path.read_text())["provenance"]["code"] != "an earlier one"

    def test_damage_is_named(self, teacher, cached_unlabelled, tmp_path):
        cache = cached_unlabelled(1)
        _, path = teacher_labels(cache, teacher, tmp_path)
        path.write_text(path.read_text()[:-9])
        with pytest.raises(SourceError, match="the pseudo labels are damaged"):
            teacher_labels(cache, teacher, tmp_path)

    def test_two_at_once_wait_for_each_other(self, teacher, seen, cached_unlabelled, tmp_path):
        cache = cached_unlabelled(2)
        digests = []
        threads = [
            threading.Thread(target=lambda: digests.append(teacher_labels(cache, teacher, tmp_path)[0].digest()))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == ["000000", "000001"] and len(digests) == 2 and len(set(digests)) == 1


class TestInterruption:
    @pytest.fixture
    def interrupted(self, teacher, cached_unlabelled, tmp_path):
        """A cache, and the file of lines that Ctrl-C left after two of its four frames."""
        cache = cached_unlabelled()

        def stop(number: int) -> None:
            if number == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            teacher_labels(cache, teacher, tmp_path / "cut", stop)
        (left,) = (tmp_path / "cut").rglob("*.*")
        return cache, left

    def test_the_next_run_goes_on_there(self, interrupted, teacher, seen, tmp_path):
        cache, left = interrupted
        assert left.name.endswith(PARTIAL_SUFFIX)
        resumed, _ = teacher_labels(cache, teacher, tmp_path / "cut")
        assert seen == ["000002", "000003"] and not left.exists()
        whole, _ = teacher_labels(cache, teacher, tmp_path / "whole")
        assert resumed.digest() == whole.digest()

    @pytest.mark.parametrize(
        "damage", [lambda text: text[:-1], lambda text: text[:-10], lambda text: text[:-10] + "\n"]
    )
    def test_a_broken_last_line_is_made_again(self, interrupted, teacher, seen, tmp_path, damage):
        cache, left = interrupted
        left.write_text(damage(left.read_text()))
        assert len(teacher_labels(cache, teacher, tmp_path / "cut")[0].frames) == 4
        assert seen == ["000001", "000002", "000003"]

    def test_lines_of_something_else_are_dropped(self, interrupted, teacher, seen, tmp_path):
        cache, left = interrupted
        left.write_text(left.read_text().replace('"teacher_config": "tiny"', '"teacher_config": "huge"'))
        teacher_labels(cache, teacher, tmp_path / "cut")
        assert len(seen) == 4


class TestRefusedTeachers:
    def test_other_classes(self, config, save_teacher):
        head = HeadConfig(config.student.head.anchors[:1], placement="cell_center")
        only_cars = replace(
            config, student=replace(config.student, head=head), teacher=replace(config.teacher, head=head)
        )
        with pytest.raises(CheckpointError, match="expected the classes Car, Pedestrian, got Car"):
            LabellingTeacher(save_teacher(only_cars), config)

    def test_another_network_size_may_label(self, config, save_teacher, cached_unlabelled, tmp_path):
        bev = BevConfig(8, (1,), (1,), (4,), (4,))
        smaller = replace(config, teacher=replace(config.teacher, bev=bev))
        teacher = LabellingTeacher(save_teacher(smaller), config)
        assert len(teacher_labels(cached_unlabelled(1), teacher, tmp_path)[0].frames) == 1


class TestQuality:
    def test_against_the_labels_that_the_recording_has(self, teacher, cached_unlabelled, tmp_path):
        """Of two frames with a car and a walker each: both cars, one more car in the void, a walker too faint."""
        cache = cached_unlabelled(2)
        provenance = teacher_labels(cache, teacher, tmp_path)[0].provenance
        thresholds = {"Car": 0.3, "Pedestrian": 0.3}
        frames = []
        for frame in cache:
            truth = frame.ground_truth.boxes_lidar
            ghost = [[20.0, 4.0, -0.95, 3.9, 1.6, 1.5, 0.0]] if not frames else np.zeros((0, 7))
            boxes = np.concatenate([truth[:2], ghost])
            scores, labels = np.array([0.3, 0.29, 0.8])[: len(boxes)], np.array([0, 1, 0])[: len(boxes)]
            frames.append(FrameBoxes.rounded(frame.prepared.name, boxes, scores, labels))
        labels = PseudoLabels(replace(provenance, thresholds=thresholds), tuple(frames))

        def within(x0=-100.0, x1=100.0):
            return VoxelGrid((x0, -100.0, -5.0, x1, 100.0, 5.0), (1.0, 1.0, 1.0))

        recordings = [PseudoLabelledFrames(cache, labels)]
        quality = pseudo_label_quality(recordings, within())
        car, walker = quality["Car"], quality["Pedestrian"]
        assert (car.correct, car.wrong, car.missed) == (2, 1, 0)
        assert car.precision == pytest.approx(2 / 3) and car.recall == 1.0
        assert (walker.correct, walker.wrong, walker.missed) == (0, 0, 2)
        x_car = {frame.ground_truth.boxes_lidar[0, 0] for frame in cache}
        assert max(x_car) < 19.0, "the ghost is farther away than the cars"
        without_ghost = pseudo_label_quality(recordings, within(x1=19.0))["Car"]
        assert (without_ghost.correct, without_ghost.wrong, without_ghost.missed) == (2, 0, 0)
        nothing = pseudo_label_quality(recordings, within(x0=90.0))["Car"]
        assert (nothing.correct, nothing.wrong, nothing.missed) == (0, 0, 0)

    def test_nothing_to_compare_with(self, teacher, cached_unlabelled, tmp_path):
        cache = cached_unlabelled(2, labelled=False)
        frames = PseudoLabelledFrames(cache, teacher_labels(cache, teacher, tmp_path)[0])
        grid = VoxelGrid((0.0, 0.0, 0.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
        assert pseudo_label_quality([frames], grid) == {} == pseudo_label_quality([], grid)
