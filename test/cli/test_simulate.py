from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from monotakd_ros.cli.main import main
from monotakd_ros.data.source import open_source
from monotakd_ros.simulation.drive import SimulatedDrive

SMALL = ["--frames", "2", "--seed", "3", "--width", "160", "--height", "64", "--focal-px", "120", "--rate-hz", "1"]


@pytest.fixture(autouse=True)
def _open3d():
    pytest.importorskip("open3d", reason="Open3D casts the simulator's rays")


@pytest.mark.parametrize("form", ["bag", "kitti"])
def test_simulate_writes_what_sources_read(tmp_path: Path, form: str, capsys: pytest.CaptureFixture):
    out = tmp_path / "drive"
    assert main(["simulate", str(out), *SMALL, "--format", form]) == 0
    assert "2 of 2 frames written" in capsys.readouterr().out
    source = open_source(out)
    frames = list(source.frames())
    source.close()
    assert len(frames) == 2
    assert frames[0].image.shape == (64, 160, 3)
    assert frames[0].labels is not None and frames[0].points_lidar is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--frames", "0"], "frames: expected at least 1"),
        (["--rate-hz", "-2"], "rate_hz"),
        (["--focal-px", "0"], "focal_px"),
        (["--format", "kitti", "--image-encoding", "jpeg"], "PNG"),
        (["--frames", "many"], "invalid int value"),
    ],
)
def test_bad_options_are_named_and_leave_nothing(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture
):
    assert main(["simulate", str(tmp_path / "drive"), *SMALL, *options]) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_existing_output_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "drive").mkdir()
    (tmp_path / "drive" / "mine.txt").write_text("precious")
    assert main(["simulate", str(tmp_path / "drive"), *SMALL]) == 1
    assert "drive" in capsys.readouterr().err
    assert (tmp_path / "drive" / "mine.txt").read_text() == "precious"


def test_interrupt_keeps_the_frames_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = SimulatedDrive.frame

    def interrupted(self: SimulatedDrive, index: int):
        if index == 1:
            raise KeyboardInterrupt
        return whole(self, index)

    monkeypatch.setattr(SimulatedDrive, "frame", interrupted)
    out = tmp_path / "drive"
    assert main(["simulate", str(out), *SMALL]) == 130
    source = open_source(out)
    assert len(list(source.frames())) == 1
    source.close()


def test_ros2_executables_may_start_processes(tmp_path: Path, repository: Path):
    """A process that renders imports the main script again, which must not run it again."""
    command = [sys.executable, str(repository / "scripts" / "simulate"), str(tmp_path / "drive")]
    options = ["--frames", "3", "--seed", "1", "--jobs", "2", "--width", "64", "--height", "32", "--no-lidar"]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 frames written" in done.stdout
