"""`monotakd convert` from the command line."""

from __future__ import annotations

import numpy as np
import pytest

from monotakd_ros.cli.main import main
from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.data.source import open_source
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.camera import CameraModel


@pytest.fixture
def folder(tmp_path):
    """A KITTI folder of 20 frames."""
    camera = CameraModel.from_intrinsics(60, 60, 32, 24, 64, 48)
    with open_writer(tmp_path / "kitti", "kitti") as writer:
        for index in range(20):
            image = np.full((48, 64, 3), index, np.uint8)
            writer.write(Frame(f"{index:06d}", (index + 1) * 10**8, image, camera))
    return tmp_path / "kitti"


def damage(folder):
    (folder / "training" / "image_2" / "000007.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def test_to_bag_and_back(folder, tmp_path, capsys):
    assert main(["convert", str(folder), str(tmp_path / "bag")]) == 0
    assert f"{tmp_path / 'bag'}: 20 frames written, 0 skipped" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "bag"), str(tmp_path / "again"), "--format", "kitti"]) == 0
    for got, expected in zip(open_source(tmp_path / "again").frames(), open_source(folder).frames(), strict=True):
        assert (got.name, got.stamp_ns) == (expected.name, expected.stamp_ns)
        np.testing.assert_array_equal(got.image, expected.image)


def test_bad_frame_is_skipped_and_named(folder, tmp_path, capsys):
    damage(folder)
    assert main(["convert", str(folder), str(tmp_path / "bag")]) == 0
    captured = capsys.readouterr()
    assert "19 frames written, 1 skipped" in captured.out
    assert "image_2/000007.png: corrupt PNG" in captured.err
    assert len(open_source(tmp_path / "bag")) == 19


def test_strict_stops_and_leaves_nothing(folder, tmp_path, capsys):
    damage(folder)
    assert main(["convert", str(folder), str(tmp_path / "bag"), "--strict"]) == 1
    assert "error: " in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["kitti"]


def test_existing_output(folder, tmp_path, capsys):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "x").write_text("")
    assert main(["convert", str(folder), str(tmp_path / "bag")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["convert", str(folder), str(tmp_path / "bag"), "--overwrite"]) == 1
    assert "left alone" in capsys.readouterr().err


def test_in_place(folder):
    assert main(["convert", str(folder), str(folder), "--format", "kitti", "--overwrite"]) == 0
    assert len(open_source(folder)) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "out"], "no such file"),
        (["{folder}", "out", "--format", "kitti", "--image-encoding", "jpeg"], "KITTI folders hold PNG"),
        (["{folder}", "out", "--split", "val"], "val.txt"),
        (["{folder}", "out", "--format", "avi"], "invalid choice"),
    ],
)
def test_clear_errors(folder, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", *(argument.format(folder=folder) for argument in arguments)]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_interrupt_keeps_the_frames_so_far(folder, tmp_path, monkeypatch, capsys):
    from monotakd_ros.data.bag_writer import BagFrameWriter

    write = BagFrameWriter.write

    def interrupted(self, frame):
        if self.count == 5:
            raise KeyboardInterrupt
        write(self, frame)

    monkeypatch.setattr(BagFrameWriter, "write", interrupted)
    assert main(["convert", str(folder), str(tmp_path / "bag")]) == 130
    assert "5 frames written" in capsys.readouterr().out
    assert len(list(open_source(tmp_path / "bag").frames())) == 5


def test_help_teaches(capsys):
    assert main(["convert", "--help"]) == 0
    assert "examples:" in capsys.readouterr().out
