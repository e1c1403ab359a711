"""Tar shards as a source: what is missing or damaged is told."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest

from monotakd_ros.data.image_codec import encode_compressed
from monotakd_ros.data.kitti_text import calibration_text, text_from_labels
from monotakd_ros.data.source import open_source
from monotakd_ros.data.tar_shards import TarShards, kind_of, name_of, shard_members
from monotakd_ros.errors import FrameError, SourceError


def members_of(frame) -> dict[str, bytes]:
    record = {
        "stamp_ns": frame.stamp_ns,
        "points_stamp_ns": frame.points_stamp_ns,
        "camera_frame_id": frame.camera_frame_id,
        "lidar_frame_id": frame.lidar_frame_id,
        "world_T_lidar": " ".join(repr(float(value)) for value in frame.world_T_lidar[:3].ravel()),
    }
    return {
        "png": encode_compressed(frame.image, "png"),
        "calib.txt": calibration_text(frame.camera.img_P_cam, frame.cam_T_lidar).encode(),
        "velodyne.bin": frame.points_lidar.tobytes(),
        "label_2.txt": text_from_labels(frame.labels, frame.cam_T_lidar).encode(),
        "json": json.dumps(record).encode(),
    }


@pytest.fixture
def write_shard(tmp_path):
    def write(*frames: tuple[str, dict[str, bytes]], name: str = "a.tar"):
        with tarfile.open(tmp_path / name, "w") as archive:
            for frame, members in frames:
                for kind, content in members.items():
                    item = tarfile.TarInfo(f"some/folder/{frame}.{kind}")
                    item.size = len(content)
                    archive.addfile(item, io.BytesIO(content))
        return tmp_path / name

    return write


def test_frames_come_back(write_shard, make_frame, tmp_path):
    write_shard(("0", members_of(make_frame(0))), ("1", members_of(make_frame(1))))
    write_shard(("2", members_of(make_frame(2))), name="b.tar")
    source = open_source(tmp_path)
    assert isinstance(source, TarShards) and len(source) == 3
    for _ in range(2):
        for index, frame in enumerate(source.frames()):
            expected = make_frame(index)
            assert (frame.name, frame.stamp_ns) == (str(index), expected.stamp_ns)
            np.testing.assert_array_equal(frame.image, expected.image)
            np.testing.assert_array_equal(frame.points_lidar, expected.points_lidar)
            np.testing.assert_allclose(frame.world_T_lidar, expected.world_T_lidar)
            assert frame.labels.class_names == expected.labels.class_names
    assert len(TarShards(tmp_path / "b.tar")) == 1


@pytest.mark.parametrize("missing", ["png", "calib.txt", "json"])
def test_a_frame_that_lacks_something_is_skipped_and_named(write_shard, make_frame, missing):
    broken = {kind: content for kind, content in members_of(make_frame(1)).items() if kind != missing}
    shard = write_shard(("0", members_of(make_frame(0))), ("1", broken), ("2", members_of(make_frame(2))))
    errors: list[FrameError] = []
    frames = list(TarShards(shard).frames(errors.append)) if missing != "json" else None
    if frames is None:  # it is not even counted
        assert len(TarShards(shard)) == 2
        frames = list(TarShards(shard).frames(errors.append))
    assert [frame.name for frame in frames] == ["0", "2"]
    assert len(errors) == 1 and f"frame 1: expected members {missing}" in str(errors[0])


def test_without_cloud_and_labels(write_shard, make_frame):
    members = members_of(make_frame(0))
    del members["velodyne.bin"], members["label_2.txt"]
    (frame,) = TarShards(write_shard(("0", members))).frames()
    assert frame.points_lidar is None and frame.labels is None and frame.points_stamp_ns is None


def test_damaged_records_and_clouds(write_shard, make_frame):
    for change, words in (
        ({"json": b"{}"}, "record is malformed"),
        ({"json": b"nonsense"}, "record is malformed"),
        ({"velodyne.bin": b"abc"}, "16 bytes a point"),
        ({"png": b"abc"}, "frame 0"),
    ):
        shard = write_shard(("0", members_of(make_frame(0)) | change))
        with pytest.raises(FrameError, match=words):
            list(TarShards(shard).frames())


def test_a_shard_that_ends_early(write_shard, make_frame):
    shard = write_shard(("0", members_of(make_frame(0))), ("1", members_of(make_frame(1))))
    shard.write_bytes(shard.read_bytes()[:15000])
    with pytest.raises(SourceError, match="cannot read the shard"):
        TarShards(shard)


def test_only_the_kinds_asked_for_are_read(write_shard, make_frame):
    shard = write_shard(("0", members_of(make_frame(0))), ("1", {"json": b"1"}))
    assert [(name, sorted(members)) for name, members in shard_members(shard, ("json",))] == [
        ("0", ["json"]),
        ("1", ["json"]),
    ]
    assert list(shard_members(write_shard(name="none.tar"))) == []


def test_names():
    assert (name_of("a/b/12.velodyne.bin"), kind_of("a/b/12.velodyne.bin")) == ("12", "velodyne.bin")


def test_no_shards(tmp_path):
    with pytest.raises(SourceError, match=r"expected a \.tar file"):
        TarShards(tmp_path)
