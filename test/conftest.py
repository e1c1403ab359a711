"""What tests of several rooms share."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from monotakd_ros.config import ClassThreshold, Config
from monotakd_ros.config_file import from_dict
from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.data.kitti_text import text_from_labels
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.generation.generate import GenerationRequest
from monotakd_ros.generation.settings import CleaningSettings, GenerationSettings, SelectionSettings
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import make_transform, nominal_cam_T_lidar
from monotakd_ros.network.checkpoint import build_network, save_checkpoint

REPOSITORY = Path(__file__).resolve().parents[1]

settings.register_profile("no_deadline", deadline=None)  # a loaded machine is no failure
settings.load_profile("no_deadline")


@pytest.fixture(scope="session", autouse=True)
def heed_ctrl_c() -> None:
    """Tests of Ctrl-C hold also where SIGINT was ignored at the start, as in a shell's background jobs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def plain_loggers() -> None:
    """ROS's launch, whose pytest plugin is there where ROS is sourced, makes all new loggers keep to themselves."""
    logging.setLoggerClass(logging.Logger)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("monotakd_ros") and isinstance(logger, logging.Logger):
            logger.propagate = True


@pytest.fixture(scope="session", autouse=True)
def share_the_cores() -> None:
    """Tests on several cores (pytest-xdist) take one each, with the processes they start: torch's threads would get in
    each other's way."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def leave_other_files_alone() -> Iterator[None]:
    """`os.sync` waits for all that the machine has to write, an installation's gigabytes too; no test needs that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sync", lambda: None)
        yield


@pytest.fixture
def one_thread():
    """Small operations, which several threads on a busy machine slow down; and spconv's kernels race with them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with real recordings (see docs/conventions.md); tests that need it skip visibly where it is absent."""
    folder = Path(os.environ.get("MONOTAKD_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder} (set MONOTAKD_DATA to its folder)")
    return folder


SET_BOXES = {
    "labels": ([[12.0, 2.0, -0.9, 4.0, 1.7, 1.6, 0.2], [9.0, -3.0, -0.8, 0.8, 0.6, 1.7, 0.0]], ("Car", "Pedestrian")),
    "uncertain": ([[20.0, 0.0, -0.9, 4.2, 1.7, 1.5, 0.1]], ("Uncertain_Car",)),
    "teacher": (
        [
            [12.0, 2.0, -0.9, 4.0, 1.7, 1.6, 0.2],
            [9.0, -3.0, -0.8, 0.8, 0.6, 1.7, 0.0],
            [20.0, 0.0, -0.9, 4.2, 1.7, 1.5, 0.1],
            [24.0, 5.0, -0.9, 4.2, 1.7, 1.5, 0.1],
        ],
        ("Car", "Pedestrian", "Car", "Car"),
    ),
    "assistant": ([[12.4, 2.2, -0.9, 4.1, 1.6, 1.6, 0.1]], ("Car",)),
    "truth": ([[12.1, 2.1, -0.9, 4.3, 1.8, 1.6, 0.2]], ("Car",)),
}
"""Boxes of every frame of `write_set`, one metre nearer in each."""


def _boxes(kind: str, index: int, scored: bool = True) -> Labels3D:
    rows, names = SET_BOXES[kind]
    count = len(names)
    return Labels3D(
        np.array(rows) - index * np.eye(7)[0],
        names,
        np.zeros(count),
        np.zeros(count, dtype=np.int64),
        np.tile([10.0, 10.0, 20.0, 20.0], (count, 1)),
        scores=np.linspace(0.9, 0.4, count) if scored else None,
    )


def _set_frame(index: int, labels: Labels3D | None) -> Frame:
    generator = np.random.default_rng(index)
    stamp_ns = 1_700_000_000_000_000_000 + index * 500_000_000
    return Frame(
        name=f"{index:06d}",
        stamp_ns=stamp_ns,
        image=np.full((96, 320, 3), 60 + 10 * index, dtype=np.uint8),
        camera=CameraModel.from_intrinsics(180.0, 180.0, 159.0, 42.0, 320, 96),
        camera_frame_id="camera",
        cam_T_lidar=nominal_cam_T_lidar(),
        points_lidar=generator.uniform([3, -8, -1.7, 0], [40, 8, 0.5, 1], (400, 4)).astype(np.float32),
        points_stamp_ns=stamp_ns - 10_000_000,
        labels=labels,
    )


@pytest.fixture(scope="session")
def set_boxes() -> Callable[..., Labels3D]:
    """Boxes of a kind in frame `index` of what `write_set` writes."""
    return _boxes


@pytest.fixture(scope="session")
def write_set() -> Callable[..., Path]:
    """Writes a generated set of `count` frames as `generate` lays it out, by hand; `kinds` are those besides labels."""

    def write(root: Path, count: int = 3, kinds: tuple[str, ...] = ("teacher", "assistant", "truth")) -> Path:
        with open_writer(root, "kitti") as writer:
            for index in range(count):
                sure, open_ = _boxes("labels", index), _boxes("uncertain", index)
                both = Labels3D(
                    **{
                        name: np.concatenate([getattr(sure, name), getattr(open_, name)])
                        for name in ("boxes_lidar", "truncation", "occlusion", "boxes_img_px", "scores")
                    },
                    class_names=sure.class_names + open_.class_names,
                )
                writer.write(_set_frame(index, both))
        for kind in kinds:
            (root / kind).mkdir()
            for index in range(count):
                text = text_from_labels(_boxes(kind, index, scored=kind != "truth"), nominal_cam_T_lidar())
                (root / kind / f"{index:06d}.txt").write_text(text)
        (root / "set.json").write_text("{}")
        return root

    return write


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
DRIVE_START_NS = 1_700_000_000_000_000_000
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
    stamp_ns = DRIVE_START_NS + index * PERIOD_NS
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
