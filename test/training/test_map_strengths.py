"""The maps that distillation compares, to look at: which frame, which maps, hand numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from monotakd_ros.network.checkpoint import build_network
from monotakd_ros.training.guides import NO_GUIDES, Guides
from monotakd_ros.training.map_strengths import map_strengths, telling_frame

CPU = torch.device("cpu")


@pytest.fixture
def student(guided_config):
    torch.manual_seed(0)
    return build_network("student", guided_config).eval()


def with_boxes(frame, count: int):
    boxes = np.zeros((count, 7), np.float32)
    return replace(frame, prepared=replace(frame.prepared, boxes_lidar=boxes, labels=np.zeros(count, np.int64)))


class TestTellingFrame:
    def test_most_boxes_win(self, training_frames):
        frames = [with_boxes(frame, count) for frame, count in zip(training_frames, (1, 4, 0, 4))]
        assert telling_frame(frames) is frames[1]

    def test_a_frame_without_a_cloud_tells_nothing(self, training_frames):
        first, second = (with_boxes(frame, count) for frame, count in zip(training_frames, (5, 1)))
        first = replace(first, prepared=replace(first.prepared, points_lidar=first.prepared.points_lidar[:0]))
        assert telling_frame([first, second]) is second
        assert telling_frame([first]) is None and telling_frame([]) is None

    def test_an_unlabelled_frame_will_do(self, training_frames):
        bare = replace(training_frames[0].prepared, boxes_lidar=None, labels=None)
        frame = replace(training_frames[0], prepared=bare, ground_truth=None)
        assert telling_frame([frame]) is frame

    def test_of_many_frames_some_are_looked_at(self, training_frames):
        looked = []

        class Many(list):
            def __getitem__(self, index):
                looked.append(index)
                return training_frames[0]

        telling_frame(Many(range(1001)))
        assert looked == list(range(0, 1001, 6))


class TestMapStrengths:
    def test_every_map_in_the_students_cells(self, student, guides, guided_config, training_frames):
        seen = map_strengths(student, guides, training_frames[0], guided_config.training.distillation, CPU)
        assert [name.split(" ")[0] for name in seen.maps] == ["teacher", "assistant", "student", "residual", "its"]
        cells = guided_config.student.grid.build().shape_xyz[1::-1]
        assert all(values.shape == cells and (values >= 0).all() for values in seen.maps.values())
        assert seen.name == training_frames[0].prepared.name
        assert np.array_equal(seen.boxes_lidar, training_frames[0].prepared.boxes_lidar)

    def test_strength_is_the_root_mean_square_of_the_channels(self, student, guides, guided_config, training_frames):
        seen = map_strengths(student, guides, training_frames[0], guided_config.training.distillation, CPU)
        scaled = Guides(teacher=guides.teacher, assistant=guides.assistant)
        scaled.teacher.lidar_encoder.register_forward_hook(lambda module, given, bev: torch.full_like(bev, -3.0))
        again = map_strengths(student, scaled, training_frames[0], guided_config.training.distillation, CPU)
        assert np.allclose(again.maps["teacher $F^T$"], 3.0)
        assert np.array_equal(again.maps["assistant $F^A$"], seen.maps["assistant $F^A$"])

    def test_without_guides_and_without_labels(self, student, guided_config, training_frames):
        frame = training_frames[0]
        frame = replace(frame, prepared=replace(frame.prepared, boxes_lidar=None, labels=None))
        seen = map_strengths(student, NO_GUIDES, frame, guided_config.training.distillation, CPU)
        assert list(seen.maps) == ["student $F^S_{vis}$", "its residual branch"] and seen.boxes_lidar.shape == (0, 7)
