"""A tiny teacher and assistant that see objects everywhere, and a short drive to label."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from monotakd_ros.config import ClassThreshold, Config
from monotakd_ros.config_file import from_dict
from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.generation.generate import GenerationRequest
from monotakd_ros.generation.settings import CleaningSettings, GenerationSettings, SelectionSettings
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import make_transform, nominal_cam_T_lidar
from monotakd_ros.network.checkpoint import build_network, save_checkpoint

BEV = {
    "collapse_channels": 8,
    "stage_layers": [1, 1],
    "stage_strides": [1, 2],
    "stage_channels": [8, 8],
    "upsample_channels": [8, 8],
}
RANGE_M = [2.0, -8.0, -3.0, 26.0, 8.0, 1.0]
TINY_CONFIG = {
    "name": "tiny",
    "student": {
        "input": {"width": 128, "height": 64, "focal_px": 70.0, "center_px": [63.0, 28.0]},
        "grid": {"range_m": RANGE_M, "voxel_size_m": [1.0, 1.0, 2.0]},
        "depth": {"min_m": 2.0, "max_m": 26.0, "num_bins": 8},
        "encoder": {
            "block": "basic",
            "layers": [1, 1, 1, 1],
            "stem_channels": 8,
            "channels": [8, 8, 8, 8],
            "feature_stage": 4,
            "feature_channels": 8,
            "aspp_channels": 8,
            "aspp_rates": [1, 2],
        },
        "bev": BEV,
    },
    "teacher": {
        "grid": {"range_m": RANGE_M, "voxel_size_m": [0.25, 0.25, 0.25]},
        "encoder": {"channels": [4, 6, 8], "blocks": 1, "out_channels": 8},
        "bev": BEV,
    },
}
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
SETTINGS = GenerationSettings(
    selection=SelectionSettings(max_rate_hz=0, min_motion_m=0, min_novelty=0, min_points=1),
    cleaning=CleaningSettings(
        threshold=0.12,
        thresholds=(ClassThreshold("Pedestrian", 0.115),),
        ignore_threshold=0.1,
        min_points=1,
        agreement_below=0.0,
        neighbours_below=0.0,
    ),
    segment_s=0.3,
)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test of this room."""


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of every kind."""
    folder = tmp_path_factory.mktemp("networks")
    config = from_dict(Config, TINY_CONFIG)
    for kind in ("teacher", "assistant", "student"):
        torch.manual_seed(7)
        network = build_network(kind, config)
        with torch.no_grad():
            network.head.conv_cls.bias.fill_(-2.0)
        save_checkpoint(folder / f"{kind}.pt", network.state_dict(), config, {}, kind)
    return {kind: folder / f"{kind}.pt" for kind in ("teacher", "assistant", "student")}


def _make_frame(index: int, **changes) -> Frame:
    """Frame `index` of a straight drive of 2 m a frame, with a car that stands at x = 12 m of the first."""
    generator = np.random.default_rng(index)
    stamp_ns = START_NS + index * PERIOD_NS
    fields = {
        "name": f"{index:06d}",
        "stamp_ns": stamp_ns,
        "image": generator.integers(0, 255, (128, 256, 3), dtype=np.uint8),
        "camera": CameraModel.from_intrinsics(140.0, 140.0, 126.5, 56.5, 256, 128),
        "cam_T_lidar": nominal_cam_T_lidar(),
        "points_lidar": generator.uniform([3, -8, -1.7, 0], [25, 8, 0.5, 1], (400, 4)).astype(np.float32),
        "points_stamp_ns": stamp_ns - 10_000_000,
        "labels": Labels3D(
            np.array([[12.0 - 2 * index, 1.0, -0.9, 4.0, 1.7, 1.6, 0.2]]),
            ("Car",),
            np.zeros(1),
            np.zeros(1, dtype=np.int64),
            np.array([[100.0, 40.0, 175.0, 82.0]]),
        ),
        "world_T_lidar": make_transform(np.eye(3), [2.0 * index, 0, 0]),
    }
    return Frame(**{**fields, **changes})


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of ten frames: four segments of at most three."""
    return _write_drive(tmp_path_factory.mktemp("drive") / "drive", [_make_frame(index) for index in range(10)])


def _write_drive(path: Path, frames: list[Frame]) -> Path:
    with open_writer(path, "bag") as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., Frame]:
    return _make_frame


@pytest.fixture(scope="session")
def write_drive() -> Callable[[Path, list[Frame]], Path]:
    """Writes frames as a bag."""
    return _write_drive


@pytest.fixture(scope="session")
def all_frames() -> GenerationSettings:
    """Settings that keep every frame, in segments of 0.3 s."""
    return SETTINGS


@pytest.fixture
def request_for(networks: dict[str, Path], tmp_path: Path) -> Callable[..., GenerationRequest]:
    """What to generate from some recordings, into `tmp_path / name`."""

    def make(
        *sources: Path, name: str = "set", settings: GenerationSettings = SETTINGS, **changes
    ) -> GenerationRequest:
        usual = GenerationRequest(
            sources, tmp_path / name, networks["teacher"], networks["assistant"], settings=settings
        )
        return replace(usual, **changes)

    return make


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """SHA-256 of every file of a folder."""

    def of(root: Path) -> dict[str, str]:
        files = sorted(item for item in root.rglob("*") if item.is_file())
        return {str(item.relative_to(root)): hashlib.sha256(item.read_bytes()).hexdigest() for item in files}

    return of


class Silent:
    """A watcher that only counts."""

    def __init__(self) -> None:
        self.total = self.seen = 0

    def planning(self, source: Path) -> None:
        pass

    def planned(self, images_to_do: int) -> None:
        self.total = images_to_do

    def images(self, count: int) -> None:
        self.seen += count


@pytest.fixture
def watcher() -> Silent:
    return Silent()
