"""What tests of several rooms share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.data.kitti_text import text_from_labels
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar

REPOSITORY = Path(__file__).resolve().parents[1]

settings.register_profile("no_deadline", deadline=None)  # a loaded machine is no failure
settings.load_profile("no_deadline")


@pytest.fixture(scope="session", autouse=True)
def heed_ctrl_c() -> None:
    """Tests of Ctrl-C hold also where SIGINT was ignored at the start, as in a shell's background jobs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def share_the_cores() -> None:
    """Tests on several cores (pytest-xdist) take one each: torch's threads would get in each other's way."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


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
