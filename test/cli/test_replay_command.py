"""`monotakd replay` and `monotakd demo` from the command line: exit codes, messages, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

Record = Callable[[Path, str, int], Path]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory, record: Record) -> Path:
    return record(tmp_path_factory.mktemp("recording") / "drive", "bag", 4)


def test_replay_tells_what_it_found_and_where_it_is(
    bag: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monotakd: Callable[..., int]
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
    bag: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monotakd: Callable[..., int]
) -> None:
    words = ("replay", bag, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--pictures", "none")
    assert monotakd(*words) == 0
    assert monotakd(*words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert monotakd(*words, "--overwrite") == 0


def test_the_source_is_never_replaced_by_what_was_made_of_it(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], record: Record, monotakd: Callable[..., int]
) -> None:
    folder = record(tmp_path / "kitti", "kitti", 1)
    assert monotakd("replay", folder, "--checkpoint", checkpoint, "--out", folder, "--overwrite") == 1
    assert "would delete what is read" in capsys.readouterr().err
    assert (folder / "training" / "image_2" / "000000.png").exists()


def test_corrupt_image_in_a_folder_is_skipped_or_stops(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], record: Record, monotakd: Callable[..., int]
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
    monotakd: Callable[..., int],
) -> None:
    words = {"BAG": bag, "--checkpoint": checkpoint, "--out": tmp_path / "out", **change}
    source = words.pop("BAG")
    assert monotakd("replay", source, *[item for pair in words.items() for item in pair]) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error:") or "error:" in error
    assert message in error
    assert not (tmp_path / "out").exists()


def test_weights_that_are_none_are_refused(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monotakd: Callable[..., int]
) -> None:
    (tmp_path / "weights.pt").write_bytes(b"no weights at all")
    assert monotakd("replay", bag, "--checkpoint", tmp_path / "weights.pt", "--out", tmp_path / "out") == 1
    assert "weights.pt" in capsys.readouterr().err


def test_interrupt_keeps_what_is_done(
    checkpoint: Path, tmp_path: Path, record: Record, interrupted: Callable[..., int]
) -> None:
    long = record(tmp_path / "long", "bag", 300)
    words = ["replay", long, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--pictures", "none"]
    assert interrupted(*words) == 130
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["interrupted"] is True
    with AnyReader([tmp_path / "out" / "detections"]) as reader:
        arrays = [connection.topic for connection, _, _ in reader.messages()].count("/detections")
    assert 0 < arrays == summary["frames"]["written"] < 300


def test_real_bag_replays(data_dir: Path, checkpoint: Path, tmp_path: Path, monotakd: Callable[..., int]) -> None:
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
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monotakd: Callable[..., int]
) -> None:
    pytest.importorskip("open3d", reason="simulating needs Open3D")
    assert monotakd("demo", "--out", tmp_path / "demo", "--frames", 2, "--checkpoint", checkpoint) == 0
    printed = capsys.readouterr().out
    for expected in ("drive", "replay", "KITTI AP", "strip.png", "report.html"):
        assert expected in printed
