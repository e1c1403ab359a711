"""`monotakd inspect`: text, JSON and pictures of one bag and of several, and the exit codes."""

from __future__ import annotations

import json

import cv2
import pytest


@pytest.fixture(scope="module")
def bag(record, tmp_path_factory):
    return record(tmp_path_factory.mktemp("inspect") / "drive", "bag", 4)


def test_one_bag(monotakd, bag, capsys):
    assert monotakd("inspect", bag) == 0
    text = capsys.readouterr().out
    assert f"{bag}: " in text
    assert "* /camera/image_rect/compressed" in text
    assert "focal length 180.0, 180.0 px" in text
    assert "verdict     usable, with warnings\n  warning: there is no cloud" in text


def test_several_bags_of_which_one_is_none(monotakd, bag, tmp_path, capsys):
    out = tmp_path / "all.json"
    assert monotakd("inspect", bag, tmp_path / "missing", bag, "--json", out) == 1
    assert "missing: no such file or folder" in capsys.readouterr().err
    first, error, last = json.loads(out.read_text())
    assert first == last
    assert first["verdict"] == "usable, with warnings"
    assert "no such file" in error["error"]
    assert {topic["name"] for topic in first["topics"]} >= {"/camera/camera_info", "/tf_static"}


def test_pictures(monotakd, bag, tmp_path, capsys, data_dir):
    clip = data_dir / "bags" / "kitti_0005_clip_sqlite3"
    assert monotakd("inspect", clip, bag, "--png", tmp_path / "view.png") == 0
    (path,) = tmp_path.iterdir()
    assert path.name == "kitti_0005_clip_sqlite3.view.png"
    assert cv2.imread(str(path)).shape[1] == 1242
    assert "picture: none" in capsys.readouterr().out


def test_existing_files_are_kept(monotakd, bag, tmp_path, capsys):
    path = tmp_path / "out.json"
    path.write_text("mine")
    assert monotakd("inspect", bag, "--json", path) == 1
    assert "pass --overwrite" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert monotakd("inspect", bag, "--json", path, "--overwrite") == 0
    assert len(json.loads(path.read_text())) == 1


def test_wrong_options(monotakd, bag, tmp_path, capsys):
    assert monotakd("inspect", bag, "--json", tmp_path) == 1
    assert "found a folder" in capsys.readouterr().err
    assert monotakd("inspect", bag, "--image-topic", "/other") == 0
    assert "no image topic '/other'" in capsys.readouterr().out
    assert monotakd("inspect") == 1
