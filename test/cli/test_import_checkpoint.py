"""`monotakd import-checkpoint` from the command line, with networks small enough for a test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import yaml

from monotakd_ros.cli import import_checkpoint
from monotakd_ros.cli.main import main
from monotakd_ros.config import (
    BevConfig,
    Config,
    DepthConfig,
    EncoderConfig,
    GridConfig,
    LidarEncoderConfig,
    ResidualConfig,
    StudentConfig,
    TeacherConfig,
)
from monotakd_ros.config_file import to_dict
from monotakd_ros.network.checkpoint import build_network, load_checkpoint, load_weights
from monotakd_ros.network.official_keys import RENAMES, official_name

RANGE = (2.0, -8.0, -3.0, 18.0, 8.0, 1.0)
BEV = BevConfig(8, (1, 0), (1, 2), (6, 6), (4, 4))


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    """The command's own settings, made small."""
    encoder = EncoderConfig(
        "basic", (1, 1, 1, 1), 4, (4, 4, 6, 6), feature_channels=4, aspp_channels=4, aspp_rates=(2,)
    )
    student = StudentConfig(
        grid=GridConfig(RANGE, (1.0, 1.0, 1.0)),
        depth=DepthConfig(2.0, 18.0, 6),
        encoder=encoder,
        bev=dataclasses.replace(BEV, adaptation_blocks=1),
        residual=ResidualConfig("collapsed", assistant_branch=True),
    )
    lidar = LidarEncoderConfig((4, 6, 6), 1, 8)
    teacher = TeacherConfig(GridConfig(RANGE, (0.25, 0.25, 0.25)), encoder=lidar, bev=BEV)
    config = Config("official_tiny", student=student, teacher=teacher)
    path = tmp_path / "official.yaml"
    path.write_text(yaml.safe_dump(to_dict(config)))
    monkeypatch.setattr(import_checkpoint, "shipped_path", lambda kind, name: path)
    return config


@pytest.fixture
def published(config, tmp_path):
    """Writes what the official code would have saved of a network."""

    def write(kind: str, **changes) -> Path:
        torch.manual_seed(0)
        state = build_network(kind, config).state_dict()
        state = {official_name(key, RENAMES[kind]): tensor for key, tensor in state.items()}
        state["global_step"] = torch.zeros(1)
        path = tmp_path / f"{kind}.pth"
        torch.save({"epoch": 10, "model_state": {**state, **changes}, "version": "pcdet+0.5.2"}, path)
        return path

    return write


def run(*arguments: Path | str) -> int:
    return main(["import-checkpoint", *map(str, arguments)])


def test_a_student_by_default_without_fusion(published, tmp_path, capsys):
    out = tmp_path / "made" / "student.pt"
    assert run(published("student"), out, "--kind", "student") == 0
    text = capsys.readouterr().out
    assert "residual branch, fusion off" in text and "fusion module, unused while fusion is off" in text
    assert f"monotakd replay SOURCE --checkpoint {out}" in text
    checkpoint = load_checkpoint(out, "student")
    assert checkpoint.config.student.residual.fusion == "off"
    assert checkpoint.metadata["imported_from"]["file"] == "student.pth"
    assert checkpoint.metadata["imported_from"]["epoch"] == 10
    assert len(checkpoint.metadata["imported_from"]["sha256"]) == 64
    load_weights(build_network("student", checkpoint.config), checkpoint.state_dict, "here")


def test_a_student_with_fusion(published, tmp_path, capsys):
    assert run(published("student"), tmp_path / "a.pt", "--kind", "student", "--fusion", "on") == 0
    assert "fusion on" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "a.pt").metadata["fusion"] == "collapsed"


def test_a_teacher_and_its_layout(published, tmp_path, capsys):
    assert run(published("teacher"), tmp_path / "a.pt", "--kind", "teacher") == 0
    assert "layout      sparse convolutions as spconv 2.x" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "a.pt", "teacher").metadata["fusion"] is None


def test_keys_that_do_not_fit(published, tmp_path, capsys):
    path = published("teacher", **{"dense_head.new.weight": torch.zeros(1)})
    assert run(path, tmp_path / "a.pt", "--kind", "teacher") == 1
    assert f"{path}: " in (error := capsys.readouterr().err) and "1 unexpected: dense_head.new.weight" in error
    assert not (tmp_path / "a.pt").exists()


def test_fusion_is_the_students(published, tmp_path, capsys):
    assert run(published("teacher"), tmp_path / "a.pt", "--kind", "teacher", "--fusion", "off") == 1
    assert "--fusion is a setting of the student" in capsys.readouterr().err


def test_what_is_there_is_kept(published, tmp_path, capsys):
    path, out = published("teacher"), tmp_path / "a.pt"
    out.write_text("precious")
    assert run(path, out, "--kind", "teacher") == 1
    assert "exists already" in capsys.readouterr().err and out.read_text() == "precious"
    assert run(path, out, "--kind", "teacher", "--overwrite") == 0
    assert load_checkpoint(out).kind == "teacher"
    assert run(path, path, "--kind", "teacher", "--overwrite") == 1
    assert "is the official file itself" in capsys.readouterr().err
    assert run(path, tmp_path, "--kind", "teacher") == 1
    assert "found a folder" in capsys.readouterr().err


def test_not_a_file(tmp_path, capsys):
    assert run(tmp_path / "none.pth", tmp_path / "a.pt", "--kind", "student") == 1
    assert "none.pth: expected a checkpoint file, found nothing" in capsys.readouterr().err
