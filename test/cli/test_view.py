"""`monotakd view` from the command line."""

from __future__ import annotations

import json

import cv2
import pytest


@pytest.fixture
def root(write_set, tmp_path):
    return write_set(tmp_path / "set", 4)


def test_pictures(root, monotakd, tmp_path, capsys):
    assert monotakd("view", root, "--out", tmp_path / "out", "--frames", 2) == 0
    assert "2 of 4 frames; frames" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["000000.png", "000003.png", "view.json"]
    assert cv2.imread(str(tmp_path / "out" / "frames" / "000003.png")).shape[1] == pytest.approx(1600, abs=4)
    facts = json.loads((tmp_path / "out" / "view.json").read_text())
    assert facts["frames"][1] == {
        "name": "000003",
        "stamp_ns": 1_700_000_001_500_000_000,
        "boxes": {"labels": 2, "uncertain": 1, "teacher": 4, "assistant": 1, "truth": 1},
    }
    assert monotakd("view", root, "--out", tmp_path / "out", "--pictures", "strip") == 1
    assert "exists already" in capsys.readouterr().err
    assert monotakd("view", root, "--out", tmp_path / "out", "--pictures", "strip", "--overwrite") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["strip.png", "view.json"]


def test_pictures_and_a_bag_of_a_bag(root, monotakd, tmp_path, capsys):
    assert monotakd("convert", root, tmp_path / "drive") == 0
    assert monotakd("view", tmp_path / "drive", "--out", tmp_path / "out", "--bag", tmp_path / "bag.mcap") == 0
    printed = capsys.readouterr().out
    assert "4 of 4 frames" in printed and f"{tmp_path / 'bag'}: 4 frames" in printed
    assert monotakd("view", tmp_path / "bag", "--ground-truth-topic", "/labels", "--out", tmp_path / "again") == 0
    boxes = json.loads((tmp_path / "again" / "view.json").read_text())["frames"][0]["boxes"]
    assert boxes == {"labels": 2}


def test_skipped_frames_are_named(root, monotakd, tmp_path, capsys):
    (root / "training" / "image_2" / "000001.png").write_bytes(b"")
    assert monotakd("view", root, "--out", tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert "3 of 4 frames" in captured.out
    assert captured.err.count("skipped:") == 1 and "000001.png" in captured.err


def test_without_a_screen(root, monotakd, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert monotakd("view", root) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "--out DIR" in captured.err and not captured.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--out", "out"], "no such file"),
        (["set", "--out", "set", "--overwrite"], "read from it"),
        (["set", "--bag", "set"], "exists already"),
        (["set", "--out", "set/pictures"], "apart from"),
        (["set", "--bag", "set/bag.mcap"], "apart from"),
        (["set", "--frames", "0", "--out", "out"], ">= 1"),
        (["set", "--pictures", "strip"], "needs --out"),
        (["set", "--pictures", "film", "--out", "out"], "invalid choice"),
    ],
)
def test_wrong_arguments(root, monotakd, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert monotakd("view", *words) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
