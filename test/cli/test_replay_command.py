"""`monotakd replay` and `monotakd demo` from the command line: exit codes, messages, files."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rosbags.highlevel import AnyReader

from monotakd_ros.cli.main import main
from monotakd_ros.config import Config
from monotakd_ros.config_file import from_dict
from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.network.checkpoint import save_checkpoint
from monotakd_ros.network.student import build_student

TINY = {
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


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    config = from_dict(Config, TINY)
    save_checkpoint(path, build_student(config.student).state_dict(), config, {})
    return path


def make_frame(index: int) -> Frame:
    boxes = np.array([[8.0, 1.0, -0.9, 4.0, 1.7, 1.6, 0.2]])
    return Frame(
        name=f"{index:06d}",
        stamp_ns=1_000_000_000 + index * 100_000_000,
        image=np.random.default_rng(index).integers(0, 255, (96, 320, 3)).astype(np.uint8),
        camera=CameraModel.from_intrinsics(180.0, 180.0, 159.0, 42.0, 320, 96),
        cam_T_lidar=nominal_cam_T_lidar(),
        labels=Labels3D(boxes, ("Car",), np.zeros(1), np.zeros(1, np.int64), np.full((1, 4), np.nan)),
    )


def record(path: Path, kind: str, count: int) -> Path:
    with open_writer(path, kind) as writer:
        for index in range(count):
            writer.write(make_frame(index))
    return path


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recording") / "drive", "bag", 4)


def monotakd(*words: object) -> int:
    return main([str(word) for word in words])


def test_replay_tells_what_it_found_and_where_it_is(
    bag: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert monotakd("replay", bag, "--checkpoint", checkpoint, "--out", out) == 0
    printed = capsys.readouterr().out
    for expected in ("4 frames", "network", "Car", str(out / "detections"), str(out / "strip.png")):
        assert expected in printed
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frames"] == {"written": 4, "skipped": 0, "labelled": 4}
    assert summary["checkpoint"]["config"] == "tiny"


def test_existing_output_is_an_error_without_overwrite(
    bag: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("replay", bag, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--pictures", "none")
    assert monotakd(*words) == 0
    assert monotakd(*words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert monotakd(*words, "--overwrite") == 0


def test_corrupt_image_in_a_folder_is_skipped_or_stops(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record(tmp_path / "kitti", "kitti", 4)
    image = sorted(folder.rglob("image_2/*.png"))[2]
    image.write_bytes(image.read_bytes()[:500])
    words = ("replay", folder, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--pictures", "none")
    assert monotakd(*words) == 0
    assert f"skipped 1:\n  {image}" in capsys.readouterr().out
    assert monotakd(*words, "--overwrite", "--strict") == 1
    assert str(image) in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["frames"]["skipped"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"BAG": "nowhere"}, "nowhere: no such file"),
        ({"--checkpoint": "nowhere.pt"}, r"nowhere.pt"),
        ({"--device": "tpu9000"}, "device"),
        ({"--frames": "0"}, "expected a number >= 1"),
        ({"--image-topic": "/no/such"}, "/no/such"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    bag: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    message: str,
) -> None:
    words = {"BAG": bag, "--checkpoint": checkpoint, "--out": tmp_path / "out", **change}
    source = words.pop("BAG")
    assert monotakd("replay", source, *[item for pair in words.items() for item in pair]) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error:") or "error:" in error
    assert message in error
    assert not (tmp_path / "out").exists()


def test_weights_that_are_none_are_refused(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "weights.pt").write_bytes(b"no weights at all")
    assert monotakd("replay", bag, "--checkpoint", tmp_path / "weights.pt", "--out", tmp_path / "out") == 1
    assert "weights.pt" in capsys.readouterr().err


def test_interrupt_keeps_what_is_done(checkpoint: Path, tmp_path: Path) -> None:
    long = record(tmp_path / "long", "bag", 300)
    words = ["replay", long, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--pictures", "none"]
    process = subprocess.Popen(
        [sys.executable, "-m", "monotakd_ros.cli.main", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    progress = ""
    while not re.search(r"\| [1-9]\d*/300", progress):
        character = process.stderr.read(1)
        assert character, f"the replay ended before it was interrupted: {progress}"
        progress += character
    process.send_signal(signal.SIGINT)
    process.stderr.read()
    assert process.wait(timeout=60) == 130
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["interrupted"] is True
    with AnyReader([tmp_path / "out" / "detections"]) as reader:
        arrays = [connection.topic for connection, _, _ in reader.messages()].count("/detections")
    assert 0 < arrays == summary["frames"]["written"] < 300


def test_real_bag_replays(data_dir: Path, checkpoint: Path, tmp_path: Path) -> None:
    clip = data_dir / "bags" / "kitti_0005_clip_sqlite3"
    if not clip.is_dir():
        pytest.skip(f"no recording at {clip}")
    out = tmp_path / "out"
    assert monotakd("replay", clip, "--checkpoint", checkpoint, "--out", out, "--with-images", "--with-points") == 0
    with AnyReader([out / "detections"]) as reader:
        topics = [connection.topic for connection, _, _ in reader.messages()]
        frames = {
            message.header.frame_id
            for message in (
                reader.deserialize(data, connection.msgtype)
                for connection, _, data in reader.messages()
                if connection.topic in ("/detections", "/camera/camera_info")
            )
        }
    assert topics.count("/detections") == topics.count("/camera/image_rect/compressed") == 2
    assert frames == {"camera_rect0"}


def test_demo_simulates_replays_and_compares(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("open3d", reason="simulating needs Open3D")
    assert monotakd("demo", "--out", tmp_path / "demo", "--frames", 2, "--checkpoint", checkpoint) == 0
    printed = capsys.readouterr().out
    for expected in ("drive", "replay", "KITTI AP", "strip.png"):
        assert expected in printed
