"""Frames of a set with all their boxes, from folders and from shards."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pytest

from monotakd_ros.data.kitti import KittiFolder
from monotakd_ros.data.kitti_text import format_matrix
from monotakd_ros.errors import FrameError, LabelError, SourceError
from monotakd_ros.generation.frame_store import member_name
from monotakd_ros.generation.set_frames import KittiSet, NewestFrame, TarSet, boxed_frame, is_set, open_set

KINDS = ("labels", "uncertain", "teacher", "assistant", "truth")


def as_shard(root, out):
    """The same set with its frames in one tar shard."""
    (out / "shards").mkdir(parents=True)
    (out / "set.json").write_text("{}")
    folders = ("training/image_2", "training/calib", "training/velodyne", "training/label_2", *KINDS[2:])
    with tarfile.open(out / "shards" / "000-00000.tar", "w") as archive:
        for frame in KittiFolder(root).frames():
            for path in (path for folder in folders for path in (root / folder).glob(f"{frame.name}.*")):
                archive.add(path, member_name(str(path.relative_to(root))))
            facts = {name: getattr(frame, name) for name in ("stamp_ns", "points_stamp_ns")}
            facts |= {name: getattr(frame, name) for name in ("camera_frame_id", "lidar_frame_id", "world_T_lidar")}
            (out / "record.json").write_text(json.dumps(facts))
            archive.add(out / "record.json", f"{frame.name}.json")
    return out


@pytest.mark.parametrize("kind_of_set", [KittiSet, TarSet])
def test_every_kind_of_box_comes_back(write_set, set_boxes, tmp_path, kind_of_set):
    root = write_set(tmp_path / "set")
    opened = open_set(root if kind_of_set is KittiSet else as_shard(root, tmp_path / "tar"))
    assert isinstance(opened, kind_of_set) and len(opened) == 3
    frames = list(opened.frames([0, 2]))
    assert [boxed.frame.name for boxed in frames] == ["000000", "000002"]
    for index, boxed in zip((0, 2), frames):
        assert tuple(boxed.boxes) == KINDS
        assert boxed.frame.labels is None and len(boxed.frame.points_lidar) == 400
        assert boxed.frame.stamp_ns == 1_700_000_000_000_000_000 + index * 500_000_000
        for kind, boxes in boxed.boxes.items():
            expected = set_boxes(kind, index, scored=kind != "truth")
            np.testing.assert_allclose(boxes.boxes_lidar, expected.boxes_lidar, atol=1e-6)
            assert boxes.class_names == expected.class_names
            assert (boxes.scores is None) == (kind == "truth")
            if kind in ("teacher", "assistant"):
                np.testing.assert_allclose(boxes.scores, expected.scores)


def test_kinds_that_nobody_looked_for_are_absent(write_set, tmp_path):
    root = write_set(tmp_path / "set", 1, ("teacher",))
    (root / "teacher" / "000000.txt").write_text("")
    (boxed,) = open_set(root).frames([0])
    assert set(boxed.boxes) == {"labels", "uncertain", "teacher"}
    assert len(boxed.boxes["teacher"]) == 0


def test_recordings_follow_each_other_whatever_their_stamps(write_set, tmp_path):
    root = write_set(tmp_path / "set", 3)
    table = (root / "frames.csv").read_text().splitlines()
    rows = [row.split(",") for row in table[1:]]
    for row in rows:  # as if the first frame had been recorded last
        row[1] = str(2_000_000_000_000_000_000 - int(row[1]))
    (root / "frames.csv").write_text("\n".join([table[0], *(",".join(row) for row in rows)]))
    assert KittiFolder(root).names == ("000002", "000001", "000000")
    assert KittiSet(root).names == ("000000", "000001", "000002")


def test_bad_frames_and_folders(write_set, tmp_path):
    root = write_set(tmp_path / "set", 2)
    (root / "training" / "image_2" / "000000.png").write_bytes(b"no image")
    bad, good = open_set(root).frames([0, 1])
    assert isinstance(bad, FrameError) and good.frame.name == "000001"
    with pytest.raises(FrameError, match="no frame 'other'"):
        KittiSet(root).frame("other")
    (root / "teacher" / "000001.txt").write_text("Car 1 2 3")
    with pytest.raises(LabelError, match=r"teacher/000001\.txt, line 1"):
        list(open_set(root).frames([1]))
    (root / "set.json").unlink()
    assert not is_set(root)
    with pytest.raises(SourceError, match=r"set\.json"):
        open_set(root)


def test_frames_of_other_sources(write_set, tmp_path):
    frame = next(KittiFolder(write_set(tmp_path / "set", 1)).frames())
    boxed = boxed_frame(frame)
    assert {kind: len(boxes) for kind, boxes in boxed.boxes.items()} == {"labels": 2, "uncertain": 1}
    assert boxed_frame(boxed.frame).boxes == {}
    assert format_matrix(boxed.frame.cam_T_lidar) == format_matrix(frame.cam_T_lidar)


def test_the_newest_frame_of_a_set_in_the_making(write_set, tmp_path):
    newest = NewestFrame(tmp_path / "set")
    assert newest.read() is None  # not begun
    root = write_set(tmp_path / "set")
    assert newest.read() is None  # no frame is whole: its record comes last
    records = root / "frames"
    records.mkdir()
    facts = {"points_stamp_ns": 6, "camera_frame_id": "cam", "lidar_frame_id": "top", "world_T_lidar": None}
    for index in (0, 1):
        (records / f"{index:06d}.json").write_text(json.dumps({**facts, "stamp_ns": 7 + index}))
    shown = newest.read()
    assert (shown.frame.name, shown.frame.stamp_ns, shown.frame.points_stamp_ns) == ("000001", 8, 6)
    assert (shown.frame.camera_frame_id, shown.frame.lidar_frame_id) == ("cam", "top")
    assert tuple(shown.boxes) == KINDS
    assert newest.read() is None
    (records / ".000002.json.77").write_text((records / "000001.json").read_text())
    assert newest.read() is None  # being written
    (records / "000002.json").write_text("{")
    assert newest.read() is None  # damaged
    (records / "000009.json").write_text((records / "000001.json").read_text())
    assert newest.read() is None  # its image went away


def test_the_newest_shard_shows_its_first_frame(write_set, tmp_path):
    root = as_shard(write_set(tmp_path / "set"), tmp_path / "tar")
    newest = NewestFrame(root)
    shown = newest.read()
    assert shown.frame.name == "000000" and tuple(shown.boxes) == KINDS
    assert newest.read() is None
