"""Pictures of frames go into their folder whole, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monotakd_ros.data.rosbag import BagSource
from monotakd_ros.errors import OutputError
from monotakd_ros.preview.bag import write_bag
from monotakd_ros.preview.pictures import VIEW_KINDS, caption, write_pictures
from monotakd_ros.preview.source import BoxedSource


@pytest.fixture
def source(write_set, tmp_path):
    return BoxedSource(write_set(tmp_path / "set"))


def interrupt_at(count):
    """A progress callback during whose `count`-th call the user presses Ctrl-C."""
    calls = []

    def on_frame():
        calls.append(None)
        if len(calls) == count:
            raise KeyboardInterrupt

    return on_frame


def test_all_kinds(source, tmp_path):
    counted = []
    facts = write_pictures(source, tmp_path / "out", VIEW_KINDS["all"], on_frame=lambda: counted.append(None))
    assert len(counted) == len(facts["frames"]) == 3 and facts["skipped"] == []
    assert set(facts["files"]) >= {"frames", "strip"}  # video where this OpenCV can
    assert all((tmp_path / "out" / name).exists() for name in facts["files"].values())
    assert json.loads((tmp_path / "out" / "view.json").read_text()) == facts


def test_the_caption_counts(source):
    boxed = list(source.frames(None, pytest.fail))[2]
    expected = "000002    1.0 s    2 labels, 1 uncertain, 4 teacher, 1 assistant, 1 truth"
    assert caption(boxed, boxed.frame.stamp_ns - 1_000_000_000) == expected


def test_ctrl_c_leaves_no_pictures_and_the_whole_frames_of_a_bag(source, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_pictures(source, tmp_path / "out", VIEW_KINDS["frames"], on_frame=interrupt_at(2))
    with pytest.raises(KeyboardInterrupt):
        write_bag(source, tmp_path / "bag", on_frame=interrupt_at(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "set"]
    assert len(list(BagSource(tmp_path / "bag").frames())) == 2


def test_a_full_disk_leaves_nothing(source, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        write_pictures(source, tmp_path / "out", VIEW_KINDS["frames"])
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
