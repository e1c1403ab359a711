"""A network small enough to train in milliseconds, and made-up labelled frames for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import monotakd_ros.cli.train as train_verb
from monotakd_ros.cli.main import main
from monotakd_ros.config import (
    AnchorConfig,
    AugmentConfig,
    BevConfig,
    Config,
    DepthConfig,
    DistillationConfig,
    EncoderConfig,
    GridConfig,
    HeadConfig,
    InputConfig,
    LidarEncoderConfig,
    ResidualConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
)
from monotakd_ros.config_file import to_dict
from monotakd_ros.errors import FrameError
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.geometry.boxes import corners_from_boxes
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar, transform_points
from monotakd_ros.network.checkpoint import Network, build_network, save_checkpoint
from monotakd_ros.training.frame_cache import FrameCache, TrainingFrame, cached_frames, training_frame
from monotakd_ros.training.guides import Guides, load_guides

ANCHORS = (
    AnchorConfig("Car", (3.9, 1.6, 1.56), -1.73, 0.5, 0.35),
    AnchorConfig("Pedestrian", (0.8, 0.6, 1.73), -1.73, 0.35, 0.2),
)


def _encoder() -> EncoderConfig:
    return EncoderConfig("basic", (1, 1, 1, 1), 8, (8, 8, 8, 8), 4, 8, 8, (1, 2), 0.1)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test of this room."""


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    student = StudentConfig(
        input=InputConfig(128, 64, 70.0, (63.0, 28.0)),
        grid=GridConfig((2.0, -8.0, -3.0, 26.0, 8.0, 1.0), (1.0, 1.0, 2.0)),
        depth=DepthConfig(2.0, 26.0, 8),
        encoder=_encoder(),
        bev=BevConfig(8, (1, 1), (1, 2), (8, 8), (8, 8)),
        head=HeadConfig(ANCHORS, placement="cell_center"),
    )
    training = TrainingConfig(
        steps=8,
        batch_size=2,
        learning_rate=5e-3,
        log_every=2,
        validate_every=4,
        checkpoint_every=3,
        augment=AugmentConfig(),
    )
    teacher = TeacherConfig(
        grid=GridConfig(student.grid.range_m, (0.25, 0.25, 0.25)),
        encoder=LidarEncoderConfig(channels=(4, 6, 8), blocks=1, out_channels=8),
        bev=student.bev,
        head=student.head,
    )
    return Config("tiny", student=student, teacher=teacher, training=training)


def make_frame(index: int) -> Frame:
    """A noisy image with a car (a bright patch) and a walker, and LiDAR points on them."""
    generator = np.random.default_rng(index)
    camera = CameraModel.from_intrinsics(280.0, 280.0, 253.5, 113.5, 512, 256)
    cam_T_lidar = nominal_cam_T_lidar()
    boxes = np.array(
        [
            [8 + generator.uniform(0, 8), generator.uniform(-2, 2), -0.95, 3.9, 1.6, 1.56, generator.uniform(-3, 3)],
            [7.0, 3.0, -0.9, 0.8, 0.6, 1.73, 0.0],
            [20.0, -5.0, -0.7, 5.0, 2.0, 2.2, 0.0],
        ]
    )
    image = generator.integers(0, 60, (256, 512, 3), dtype=np.uint8)
    for box in corners_from_boxes(boxes):
        uv_px, _ = camera.project(transform_points(cam_T_lidar, box))
        left, top = np.clip(uv_px.min(axis=0), 0, [511, 255]).astype(int)
        right, bottom = np.clip(uv_px.max(axis=0), 0, [511, 255]).astype(int)
        image[top : bottom + 1, left : right + 1] += 120
    points = generator.uniform([3, -8, -1.7, 0], [25, 8, 0.5, 1], (400, 4)).astype(np.float32)
    labels = Labels3D(
        boxes, ("Car", "Pedestrian", "Van"), np.zeros(3), np.zeros(3, dtype=np.int64), np.full((3, 4), np.nan)
    )
    return Frame(
        f"{index:06d}", index * 10**8, image, camera, cam_T_lidar=cam_T_lidar, points_lidar=points, labels=labels
    )


@pytest.fixture
def make_frames():
    """Builds raw frames by number."""
    return lambda count: [make_frame(index) for index in range(count)]


@pytest.fixture(scope="session")
def training_frames(tiny_config) -> list[TrainingFrame]:
    settings = tiny_config.student
    return [training_frame(make_frame(index), settings.input, settings.class_names) for index in range(4)]


@pytest.fixture(scope="session")
def sighted() -> Callable[[Network], Network]:
    """Gives a network a class bias that lets it see objects, as an untrained head does not."""

    def see(network: Network) -> Network:
        with torch.no_grad():
            network.head.conv_cls.bias.fill_(-2.0)
        return network

    return see


@pytest.fixture
def guided_config(tiny_config) -> Config:
    """The tiny student with a residual branch and every distillation term."""
    student = replace(
        tiny_config.student,
        residual=ResidualConfig("adapted"),
        bev=replace(tiny_config.student.bev, adaptation_blocks=1),
    )
    terms = DistillationConfig(
        imd_weight=1.0,
        cmrd_weight=1.0,
        direct_weight=0.5,
        logit_cls_weight=2.0,
        logit_box_weight=2.0,
        logit_direction_weight=0.4,
    )
    return replace(tiny_config, student=student, training=replace(tiny_config.training, distillation=terms))


@pytest.fixture
def guide_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("guides")


@pytest.fixture
def save_guide(guide_folder, tiny_config, sighted):
    """Writes a random guide of a config; returns its path."""

    def save(kind: str, config: Config = tiny_config, seed: int = 7, name: str = "") -> Path:
        torch.manual_seed(seed)
        path = guide_folder / f"{name or kind}.pt"
        save_checkpoint(path, sighted(build_network(kind, config)).state_dict(), config, {}, kind)
        return path

    return save


@pytest.fixture
def guides(guided_config, save_guide) -> Guides:
    return load_guides("student", guided_config, save_guide("teacher"), save_guide("assistant"))


@pytest.fixture
def curve_of():
    """Reads what a run logged, without what the clock has a say in."""
    timed = {"seconds", "seconds_per_step", "waiting_share"}

    def read(folder: Path) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (folder / "log.jsonl").open()]
        return [{key: value for key, value in line.items() if key not in timed} for line in lines]

    return read


@dataclass
class FakeSource:
    """Frames from memory that claim to lie in a file; `bad` names the numbers of frames that cannot be read."""

    path: Path
    items: list[Frame]
    bad: tuple[int, ...] = ()
    reads: int = 0
    name: str = "fake"

    def __len__(self) -> int:
        return len(self.items)

    def frames(self, on_error=None):
        self.reads += 1
        for index, frame in enumerate(self.items):
            if index not in self.bad:
                yield frame
                continue
            error = FrameError(f"frame {index}: corrupt image")
            if on_error is None:
                raise error
            on_error(error)

    def close(self) -> None:
        pass


@pytest.fixture
def fake_source(tmp_path):
    """Builds a source of `count` frames; `labelled=False` takes the labels away, another `first` is another drive."""

    def make(
        count: int = 4, bad: tuple[int, ...] = (), labelled: bool = True, name: str = "drive.mcap", first: int = 0
    ) -> FakeSource:
        path = tmp_path / name
        path.write_bytes(b"content")
        items = [make_frame(index) for index in range(first, first + count)]
        if not labelled:
            items = [replace(item, labels=None) for item in items]
        return FakeSource(path, items, bad)

    return make


@pytest.fixture
def command(monkeypatch, tmp_path, fake_source, tiny_config):
    """Runs `monotakd train NETWORK` on a made-up source, or none, with `more` ones to name; returns the exit code."""
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(to_dict(tiny_config)))
    sources = {}

    def run(*arguments: str, source=None, data: str | None = "drive.mcap", network: str = "student", more=()) -> int:
        if data is not None:
            sources[data] = source or sources.get(data) or fake_source(name=data)
        sources.update({item.path.name: item for item in more})
        monkeypatch.setattr(train_verb, "open_source", lambda path, options: sources[path.name])
        paths = ["--config", str(config), "--out", str(tmp_path / "run")]
        labelled = [] if data is None else ["--data", str(tmp_path / data)]
        return main(["train", network, *paths, *labelled, *arguments])

    return run


@pytest.fixture
def save_teacher(tmp_path):
    """Writes a random teacher that sees objects, with scores of 0.05 to 0.15; returns its path."""

    def save(config: Config, seed: int = 7, name: str = "labelling") -> Path:
        torch.manual_seed(seed)
        teacher = build_network("teacher", config)
        with torch.no_grad():
            teacher.head.conv_cls.bias.fill_(-3.0)
            teacher.head.conv_cls.weight.mul_(2000.0)
        path = tmp_path / f"{name}.pt"
        save_checkpoint(path, teacher.state_dict(), config, {}, "teacher")
        return path

    return save


@pytest.fixture
def cached_unlabelled(fake_source, tiny_config, tmp_path):
    """Builds the frame cache of a source that is read as unlabelled."""

    def make(count: int = 4, **source) -> FrameCache:
        settings = tiny_config.student
        read = fake_source(count, **source)
        return cached_frames(read, tmp_path / "cache", settings.input, settings.class_names, unlabelled=True)

    return make


@pytest.fixture(scope="session")
def in_two_processes():
    """Runs Python with some arguments as torchrun would, in two processes of this machine; how they ended, by rank."""

    def run(arguments: list[str]) -> list[subprocess.CompletedProcess]:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
        common = os.environ | {
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        command = [sys.executable, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started = [
            subprocess.Popen(command, env=common | {"RANK": rank, "LOCAL_RANK": rank}, **pipes) for rank in ("0", "1")
        ]
        try:
            said = [process.communicate(timeout=240) for process in started]
        finally:
            for process in started:
                process.kill()
        return [subprocess.CompletedProcess(command, process.returncode, *text) for process, text in zip(started, said)]

    return run
