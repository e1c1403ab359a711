"""What tests of several verbs share: a tiny untrained student, a short recording, and the command itself."""

from __future__ import annotations

import copy
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from monotakd_ros.cli.main import main
from monotakd_ros.config import Config
from monotakd_ros.config_file import from_dict
from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.network.checkpoint import save_checkpoint
from monotakd_ros.network.student import build_student

TINY_CONFIG = {
    "name": "tiny",
    "student": {
        "input": {"width": 160, "height": 64, "focal_px": 90.0, "center_px": [79.0, 28.0]},
        "grid": {"range_m": [2.0, -10.24, -3.0, 22.48, 10.24, 1.0], "voxel_size_m": [1.28, 1.28, 1.0]},
        "depth": {"min_m": 2.0, "max_m": 24.0, "num_bins": 8},
        "encoder": {
            "block": "basic",
            "layers": [1, 1, 1, 1],
            "stem_channels": 8,
            "channels": [8, 8, 8, 8],
            "feature_stage": 4,
            "feature_channels": 8,
            "aspp_channels": 8,
            "aspp_rates": [2, 4],
        },
        "bev": {
            "collapse_channels": 8,
            "stage_layers": [1, 1],
            "stage_strides": [1, 2],
            "stage_channels": [8, 8],
            "upsample_channels": [8, 8],
        },
        "postprocess": {"score_threshold": 0.0, "pre_nms_max": 64, "max_boxes": 5},
    },
}


@pytest.fixture
def tiny_config() -> dict[str, Any]:
    """Settings of a student that computes in no time; a copy of one's own."""
    return copy.deepcopy(TINY_CONFIG)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    config = from_dict(Config, TINY_CONFIG)
    save_checkpoint(path, build_student(config.student).state_dict(), config, {})
    return path


@pytest.fixture
def monotakd() -> Callable[..., int]:
    """The command line with words of any type; returns the exit code."""
    return lambda *words: main([str(word) for word in words])


@pytest.fixture
def interrupted() -> Callable[..., int]:
    """Runs a command over 300 frames, presses Ctrl-C when its bar shows the first; returns the exit code."""
    return _interrupted


def _interrupted(*words: object) -> int:
    command = [sys.executable, "-m", "monotakd_ros.cli.main", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    progress = ""
    while not re.search(r"\| [1-9]\d*/300", progress):
        character = process.stderr.read(1)
        assert character, f"it ended before it was interrupted: {progress}"
        progress += character
    process.send_signal(signal.SIGINT)
    process.stderr.read()
    return process.wait(timeout=60)


@pytest.fixture(scope="session")
def record() -> Callable[[Path, str, int], Path]:
    """Writes a recording of `count` labelled frames as a "bag" or "kitti" folder."""
    return _record


def _record(path: Path, kind: str, count: int) -> Path:
    with open_writer(path, kind) as writer:
        for index in range(count):
            writer.write(_make_frame(index))
    return path


def _make_frame(index: int) -> Frame:
    boxes = np.array([[8.0, 1.0, -0.9, 4.0, 1.7, 1.6, 0.2]])
    return Frame(
        name=f"{index:06d}",
        stamp_ns=1_000_000_000 + index * 100_000_000,
        image=np.random.default_rng(index).integers(0, 255, (96, 320, 3)).astype(np.uint8),
        camera=CameraModel.from_intrinsics(180.0, 180.0, 159.0, 42.0, 320, 96),
        cam_T_lidar=nominal_cam_T_lidar(),
        labels=Labels3D(boxes, ("Car",), np.zeros(1), np.zeros(1, np.int64), np.array([[100.0, 40.0, 175.0, 82.0]])),
    )
