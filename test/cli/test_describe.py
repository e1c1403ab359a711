"""`monotakd describe`: configs, weights files, JSON, and files that are neither."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from monotakd_ros.cli.describe_report import WIDTH
from monotakd_ros.cli.main import main
from monotakd_ros.config import Config
from monotakd_ros.config_file import from_dict
from monotakd_ros.network.checkpoint import KINDS, build_network, save_checkpoint

WriteWeights = Callable[[Path, str], Path]


@pytest.fixture
def settings(tiny_config: dict[str, Any]) -> dict[str, Any]:
    """Of a student with a residual branch that is not fused, and a teacher."""
    student = tiny_config["student"] | {"residual": {"fusion": "off"}}
    teacher = {
        "grid": student["grid"] | {"voxel_size_m": [0.32, 0.32, 0.25]},
        "encoder": {"channels": [4, 4, 4], "blocks": 1, "out_channels": 8},
        "bev": student["bev"],
    }
    return tiny_config | {"student": student, "teacher": teacher}


@pytest.fixture
def config_of_three(settings: dict[str, Any], tmp_path: Path) -> Path:
    return write_yaml(tmp_path / "three.yaml", settings)


@pytest.fixture
def config_of_two(settings: dict[str, Any], tmp_path: Path) -> Path:
    return write_yaml(tmp_path / "two.yaml", {key: value for key, value in settings.items() if key != "teacher"})


def write_yaml(path: Path, settings: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def write_weights(settings: dict[str, Any]) -> WriteWeights:
    def write(path: Path, kind: str) -> Path:
        config = from_dict(Config, settings)
        metadata = {"step": 12, "validation": {"loss": 1.23456789}, "sources": ["a\nb"] * 40, "seen": torch.zeros(3)}
        save_checkpoint(path, build_network(kind, config).state_dict(), config, metadata, kind)
        return path

    return write


def described(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["describe", *map(str, arguments), "--repeats", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_a_config_of_three_networks(config_of_three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = described(capsys, config_of_three)
    assert [line.split(":")[0] for line in text.splitlines() if ", torch " in line] == list(KINDS)
    for module in ("normalization", "backbone", "view_transform", "alignment", "lidar_encoder", "conv_out", "whole"):
        assert f" {module} " in text
    assert "not used for boxes" in next(line for line in text.splitlines() if "residual" in line)
    assert "160 x 64 px, focal length 90 px" in text
    assert "16 x 16 cells" in text and "64 x 64 x 16 voxels" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_config_without_teacher_says_so(capsys: pytest.CaptureFixture[str], config_of_two: Path) -> None:
    text = described(capsys, config_of_two)
    assert "none: the config has no `teacher` section" in text
    assert "lidar_encoder" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_weights_file(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], write_weights: WriteWeights
) -> None:
    path = write_weights(tmp_path / "weights.pt", kind)
    text = described(capsys, path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in text
    assert [line.split(":")[0] for line in text.splitlines() if ", torch " in line] == [kind]
    assert "metadata  validation.loss: 1.23457" in text and "metadata  seen: tensor (3,)" in text
    assert "Car, Pedestrian, Cyclist" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_json_has_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str], write_weights: WriteWeights) -> None:
    path = write_weights(tmp_path / "weights.pt", "student")
    found = json.loads(described(capsys, path, "--json"))
    assert found["weights"]["size_bytes"] == path.stat().st_size
    assert found["weights"]["metadata"]["step"] == 12
    assert found["config"]["name"] == "tiny"
    student = found["networks"]["student"]
    modules = {row["name"]: row for row in student["modules"]}
    assert modules["encoder.backbone"]["macs"] > 0 and modules["encoder.backbone"]["output"][-1] == "8x8x20"
    assert student["whole"]["parameters"] == sum(row["parameters"] for name, row in modules.items() if "." not in name)


def test_one_kind_of_several(config_of_three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(described(capsys, config_of_three, "--kind", "teacher", "--json"))
    assert list(found["networks"]) == ["teacher"]


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["describe", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and "Traceback" not in captured.err
    return captured.err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in failure(capsys, tmp_path / "none.yaml")
    assert "Is a directory" in failure(capsys, tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected a mapping"),
        (b"\xff\xfe\x00\x01", "cannot read the config"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "expected a mapping"),
        (b"name: x\nstudnet: {}\n", "did you mean 'student'"),
        (b"a: [1", "not valid YAML"),
        (b"PK\x03\x04 cut off", "not a checkpoint, or a damaged one"),
        (b"\x80\x02garbage", "not a checkpoint, or a damaged one"),
    ],
)
def test_a_file_that_is_neither(
    content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    message = failure(capsys, path)
    assert reason in message and str(path) in message


def test_weights_of_another_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model_state": {}, "epoch": 3}, tmp_path / "official.pth")
    assert "it holds 'model_state', 'epoch'" in failure(capsys, tmp_path / "official.pth")


def test_a_kind_that_the_file_does_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config_of_two: Path, write_weights: WriteWeights
) -> None:
    assert "no `teacher` section" in failure(capsys, config_of_two, "--kind", "teacher")
    path = write_weights(tmp_path / "weights.pt", "student")
    assert "expected teacher weights" in failure(capsys, path, "--kind", "teacher")


def test_a_device_that_is_not_there(config_of_three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "device" in failure(capsys, config_of_three, "--device", "cuda:99")
