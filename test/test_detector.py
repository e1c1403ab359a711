"""The door between frames and boxes, with tiny untrained networks."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch

from monotakd_ros.config import (
    BevConfig,
    Config,
    EncoderConfig,
    GridConfig,
    HeadConfig,
    InputConfig,
    LidarEncoderConfig,
    PostprocessConfig,
    StudentConfig,
    TeacherConfig,
)
from monotakd_ros.detector import Detector, StageTimer, resolve_device
from monotakd_ros.errors import CheckpointError, ConfigError, FrameError
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import LIDAR_HEIGHT_M, nominal_cam_T_lidar, rotation_about_z, transform_points
from monotakd_ros.network.checkpoint import build_network, save_checkpoint
from monotakd_ros.network.student import build_student
from monotakd_ros.shipped import default_checkpoint

CONFIG = Config(
    name="tiny",
    student=StudentConfig(
        input=InputConfig(width=128, height=64, focal_px=70.0, center_px=(63.0, 30.0), trained_scale=(0.5, 0.5)),
        grid=GridConfig((2.0, -8.0, -3.0, 18.0, 8.0, 1.0), (1.0, 1.0, 1.0)),
        encoder=EncoderConfig("basic", (1, 1, 1, 1), 8, (8, 8, 8, 8), 4, 4, 8, (2,), 0.0),
        bev=BevConfig(8, (1,), (1,), (8,), (8,)),
        head=HeadConfig(placement="cell_center"),
        postprocess=PostprocessConfig(score_threshold=0.0099, max_boxes=20),
    ),
    teacher=TeacherConfig(
        grid=GridConfig((2.0, -8.0, -3.0, 18.0, 8.0, 1.0), (0.25, 0.25, 0.25)),
        encoder=LidarEncoderConfig(channels=(4, 6, 8), blocks=1, out_channels=8),
        bev=BevConfig(8, (1,), (1,), (8,), (8,)),
        head=HeadConfig(placement="cell_center"),
        postprocess=PostprocessConfig(score_threshold=0.0099, max_boxes=20),
    ),
)


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    student = build_student(CONFIG.student)
    torch.nn.init.normal_(student.head.conv_cls.weight, std=0.5)
    return Detector(student, CONFIG)


def frame(name: str = "000000", focal: float = 140.0, seed: int = 0, **fields) -> Frame:
    image = np.random.default_rng(seed).integers(0, 255, (128, 256, 3), dtype=np.uint8)
    camera = CameraModel.from_intrinsics(focal, focal, 127.0, 60.0, 256, 128)
    return Frame(name, 0, image, camera, cam_T_lidar=nominal_cam_T_lidar(), **fields)


def test_detections_are_sorted_finite_and_complete(detector):
    found = detector.detect(frame())
    assert 0 < len(found) <= 20
    assert np.all(np.diff(found.scores) <= 0) and np.all((found.scores > 0) & (found.scores < 1))
    assert found.boxes_lidar.shape == (len(found), 7) and np.isfinite(found.boxes_lidar).all()
    assert found.class_names == ("Car", "Pedestrian", "Cyclist") and set(found.names) <= set(found.class_names)
    assert np.linalg.eigvalsh(found.covariance_lidar).min() > 0
    np.testing.assert_array_equal(found.cam_T_lidar, nominal_cam_T_lidar())


def test_same_frame_same_boxes(detector):
    first, second = detector.detect(frame()), detector.detect(frame())
    np.testing.assert_array_equal(first.boxes_lidar, second.boxes_lidar)
    np.testing.assert_array_equal(first.covariance_lidar, second.covariance_lidar)


def test_a_batch_gives_what_single_frames_give(detector):
    frames = [frame("a", seed=1), frame("b", seed=2, focal=150.0)]
    for together, alone in zip(detector.detect_batch(frames), map(detector.detect, frames)):
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(together.boxes_lidar, alone.boxes_lidar, atol=1e-3)


def test_cloud_and_labels_are_not_looked_at(detector):
    with_cloud = frame(points_lidar=np.full((5, 4), np.nan, dtype=np.float32))
    np.testing.assert_array_equal(detector.detect(with_cloud).scores, detector.detect(frame()).scores)


def test_nothing_in_nothing_out(detector):
    assert detector.detect_batch([]) == []


def test_stages_are_timed(detector):
    timer = StageTimer()
    detector.detect(frame(), timer)
    assert set(timer.seconds) == {"prepare", "network", "decode"}
    assert all(len(values) == 1 and values[0] > 0 for values in timer.seconds.values())


def test_what_training_did_not_cover_is_said_once(detector, caplog):
    far_off = dataclasses.replace(frame(focal=40.0), name="first")
    with caplog.at_level(logging.WARNING):
        detector.detect(far_off)
        detector.detect(far_off)
    messages = [record.getMessage() for record in caplog.records if "scaled by 1.75" in record.getMessage()]
    assert len(messages) == 1 and "first" in messages[0]
    assert any("scaled by 1.75" in note for note in detector.notes(far_off))


def test_a_frame_that_contradicts_its_camera(detector):
    broken = dataclasses.replace(frame(), image=np.zeros((10, 10, 3), dtype=np.uint8))
    with pytest.raises(FrameError, match="000000"):
        detector.detect(broken)


def test_from_checkpoint_needs_nothing_else(detector, tmp_path):
    path = tmp_path / "tiny.pt"
    save_checkpoint(path, detector._network.state_dict(), CONFIG, {})
    loaded = Detector.from_checkpoint(path)
    assert loaded.config == CONFIG
    np.testing.assert_array_equal(loaded.detect(frame()).boxes_lidar, detector.detect(frame()).boxes_lidar)
    with pytest.raises(CheckpointError, match="missing"):
        Detector.from_checkpoint(tmp_path / "missing.pt")


def test_half_precision_finds_the_same_boxes(monkeypatch):
    """The tolerance that docs/results.md states, with the shipped weights on simulated frames."""
    pytest.importorskip("open3d")
    monkeypatch.setattr("monotakd_ros.network.precision.cpu_computes_bf16", lambda: True)  # emulated, where it must be
    from monotakd_ros.simulation.drive import DriveSettings, SimulatedDrive

    full, half = (Detector.from_checkpoint(default_checkpoint(), amp=amp) for amp in ("off", "bf16"))
    for item in SimulatedDrive(DriveSettings(frames=2, seed=9000011, rate_hz=1.0)).frames():
        expected, found = full.detect(item), half.detect(item)
        sure = expected.select(expected.scores >= 0.35)
        assert len(sure) >= 2
        for box, score, label in zip(sure.boxes_lidar, sure.scores, sure.labels):
            same = found.select(found.labels == label)
            distance = np.linalg.norm(same.boxes_lidar[:, :3] - box[:3], axis=1)
            assert distance.min() < 0.05 and abs(same.scores[distance.argmin()] - score) < 0.02


def test_precisions_that_do_not_exist(detector):
    with pytest.raises(ConfigError, match="amp: fp16 needs a CUDA device"):
        Detector(detector._network, CONFIG, amp="fp16")
    with pytest.raises(ConfigError, match="expected one of off, bf16, fp16, got 'int8'"):
        Detector(detector._network, CONFIG, amp="int8")


class TestWithCloud:
    """Assistant and teacher come through the same door; they need the cloud."""

    @pytest.fixture(params=["assistant", "teacher"])
    def kind(self, request) -> str:
        return request.param

    @pytest.fixture
    def with_cloud(self, kind) -> Detector:
        torch.manual_seed(0)
        network = build_network(kind, CONFIG)
        torch.nn.init.normal_(network.head.conv_cls.weight, std=0.5)
        return Detector(network, CONFIG)

    @staticmethod
    def cloud(count: int = 300) -> np.ndarray:
        generator = np.random.default_rng(3)
        return generator.uniform([3, -5, -2, 0], [17, 5, 0.5, 1], (count, 4)).astype(np.float32)

    def test_boxes(self, with_cloud, kind):
        found = with_cloud.detect(frame(points_lidar=self.cloud()))
        assert with_cloud.needs_cloud and 0 < len(found) <= 20 and np.isfinite(found.boxes_lidar).all()
        eigenvalues = np.linalg.eigvalsh(found.covariance_lidar)
        assert eigenvalues.min() > 0 if kind == "assistant" else not eigenvalues.any()

    def test_from_checkpoint(self, with_cloud, kind, tmp_path):
        save_checkpoint(tmp_path / "it.pt", with_cloud._network.state_dict(), CONFIG, {}, kind)
        loaded = Detector.from_checkpoint(tmp_path / "it.pt")
        given = frame(points_lidar=self.cloud())
        np.testing.assert_array_equal(loaded.detect(given).scores, with_cloud.detect(given).scores)

    def test_points_behind_the_camera_and_broken_ones_do_not_count(self, with_cloud):
        behind = self.cloud() * np.float32([-1, 1, 1, 1])
        broken = np.full((4, 4), np.nan, dtype=np.float32)
        everything = np.concatenate([broken, self.cloud(), behind])
        clean, spoiled = (with_cloud.detect(frame(points_lidar=points)) for points in (self.cloud(), everything))
        np.testing.assert_array_equal(clean.boxes_lidar, spoiled.boxes_lidar)

    @pytest.mark.parametrize("points", [np.zeros((0, 4)), np.full((7, 4), np.nan), np.full((7, 4), 500.0)])
    def test_nothing_measured_is_a_defined_input(self, with_cloud, points):
        found = with_cloud.detect(frame(points_lidar=points.astype(np.float32)))
        assert np.isfinite(found.boxes_lidar).all() and np.isfinite(found.covariance_lidar).all()

    def test_without_a_cloud(self, with_cloud, kind):
        with pytest.raises(FrameError, match=f"frame 000000: no LiDAR cloud, which the {kind} detects with"):
            with_cloud.detect(frame())
        blind = dataclasses.replace(frame(points_lidar=self.cloud()), cam_T_lidar=None)
        with pytest.raises(FrameError, match="no LiDAR extrinsic"):
            with_cloud.detect(blind)

    def test_a_mounted_lidar_with_other_axes_gives_the_same_boxes_in_the_virtual_frame(self, with_cloud):
        """A cloud recorded in axes turned by 90 degrees is brought to the lidar frame that is detected in."""
        straight = frame(points_lidar=self.cloud())
        virtual = nominal_cam_T_lidar(CONFIG.student.input.camera_height_m - LIDAR_HEIGHT_M)
        turn = np.eye(4)
        turn[:3, :3] = rotation_about_z(np.pi / 2)
        points = self.cloud()
        points[:, :3] = transform_points(turn, points[:, :3])
        turned = dataclasses.replace(straight, points_lidar=points, cam_T_lidar=virtual @ np.linalg.inv(turn))
        expected = with_cloud.detect(dataclasses.replace(straight, cam_T_lidar=virtual))
        found = with_cloud.detect(turned)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
        np.testing.assert_allclose(found.cam_T_lidar, virtual)


def test_devices_that_are_not_there():
    for name in ("tpu9", "meta"):
        with pytest.raises(ConfigError, match=name):
            resolve_device(name)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="0 CUDA devices"):
            resolve_device("cuda")
