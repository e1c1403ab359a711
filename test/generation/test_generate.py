"""Whole sets: what they hold, and that neither interruption, nor workers, nor order change a byte."""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace

import cv2
import numpy as np
import pytest

from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.data.kitti import KittiFolder
from monotakd_ros.data.kitti_text import labels_from_text
from monotakd_ros.data.source import SourceOptions, open_source
from monotakd_ros.data.tar_shards import TarShards, shard_members
from monotakd_ros.detector import Detector
from monotakd_ros.errors import BagError, CheckpointError, OutputError, SourceError
from monotakd_ros.generation.generate import GenerationResult, bound_by, generate
from monotakd_ros.generation.local_engine import run_here, run_in_processes
from monotakd_ros.generation.runner import Busy, with_surroundings
from monotakd_ros.generation.segments import REACH, plan_source, source_digests
from monotakd_ros.generation.verify import verify_set


class Stop(Exception):
    """Stands for whatever ends a run."""


def stopping_after(count: int):
    """An engine that ends in the middle of the segment after `count` done ones."""

    def engine(settings, segments, on_image):
        for number, outcome in enumerate(run_here(settings, segments, on_image)):
            yield outcome
            if number + 1 == count:
                raise Stop

    return engine


def in_two_processes(settings, segments, on_image):
    return run_in_processes(settings, segments, 2, on_image)


@pytest.fixture
def whole(request_for, drive, watcher):
    """The set of the drive."""
    request = request_for(drive, name="whole")
    return request.out, generate(request, run_here, watcher)


def test_what_a_set_holds(whole, make_frame, watcher):
    root, result = whole
    assert result.manifest["frames"] == 10 and result.manifest["skipped"] == {}
    assert (watcher.total, watcher.seen, result.segments_done) == (10, 10, 4)
    assert not result.failed and not result.broken
    assert verify_set(root).problems == []
    source = open_source(root)
    assert isinstance(source, KittiFolder) and len(source) == 10
    for index, frame in enumerate(source.frames()):
        expected = make_frame(index)
        assert frame.name == f"000{index:07d}"
        assert (frame.stamp_ns, frame.points_stamp_ns) == (expected.stamp_ns, expected.points_stamp_ns)
        np.testing.assert_array_equal(frame.image, expected.image)
        np.testing.assert_allclose(frame.world_T_lidar, expected.world_T_lidar, atol=1e-9)
        np.testing.assert_allclose(frame.cam_T_lidar, expected.cam_T_lidar, atol=1e-9)
        assert 0 < len(frame.points_lidar) < 400  # those that the camera sees
        rows = {row.tobytes() for row in expected.points_lidar}
        assert all(row.tobytes() in rows for row in frame.points_lidar)
        assert frame.labels.scores is not None and len(frame.labels) == len(frame.labels.scores)


def test_labels_are_what_the_records_say(whole):
    root, _ = whole
    statuses = set()
    for path in sorted((root / "frames").glob("*.json")):
        record = json.loads(path.read_text())
        labels = (root / "training" / "label_2" / f"{record['name']}.txt").read_text().splitlines()
        expected = [
            ("" if box["status"] == "label" else "Uncertain_") + box["class"]
            for box in record["boxes"]
            if box["status"] != "dropped"
        ]
        assert [line.split()[0] for line in labels] == expected
        assert record["origin"]["image"] == int(record["name"])
        statuses |= {box["status"] for box in record["boxes"]}
        for kind in ("teacher", "assistant", "truth"):
            assert (root / kind / f"{record['name']}.txt").is_file()
    assert statuses >= {"label", "uncertain"}


def test_truth_is_kept_beside_and_not_learned_from(whole, make_frame):
    root, _ = whole
    frame = make_frame(3)
    truth = labels_from_text((root / "truth" / "0000000003.txt").read_text(), frame.cam_T_lidar, "truth")
    np.testing.assert_allclose(truth.boxes_lidar, frame.labels.boxes_lidar, atol=1e-6)
    assert truth.scores is None


def test_depth_maps(whole, make_frame):
    """In both resolutions: the nearest of the points of a cell, metres times 256."""
    root, _ = whole
    frame = make_frame(0)
    points_cam = frame.points_lidar[:, :3] @ frame.cam_T_lidar[:3, :3].T + frame.cam_T_lidar[:3, 3]
    uv_px, depth = frame.camera.project(points_cam.astype(np.float64))
    for folder, stride, shape in (("depth_2", 1, (128, 256)), ("depth_2_features", 8, (16, 32))):
        found = cv2.imread(str(root / "training" / folder / "0000000000.png"), cv2.IMREAD_UNCHANGED)
        assert found.dtype == np.uint16 and found.shape == shape
        expected = np.full(shape, np.inf)
        cells = np.floor((uv_px + 0.5) / stride).astype(int)
        for (column, row), metres in zip(cells, depth):
            if metres > 0 and 0 <= column < shape[1] and 0 <= row < shape[0]:
                expected[row, column] = min(expected[row, column], metres)
        np.testing.assert_allclose(found, np.where(np.isfinite(expected), np.round(expected * 256), 0), atol=1)
        assert (found > 0).sum() > 10


@pytest.mark.parametrize("stops", [(1,), (2, 1)])
def test_an_interrupted_run_goes_on_to_the_same_bytes(whole, request_for, drive, watcher, digests, stops):
    request = request_for(drive, name="stopped")
    for count in stops:
        with pytest.raises(Stop):
            generate(request, stopping_after(count), watcher)
        problems = verify_set(request.out).problems
        assert len(problems) > 0 and "not finished" in problems[0]
    stray = request.out / "training" / "label_2" / "0000000009.txt"  # as if a frame had been begun and half-written
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("Car 0")
    result = generate(request, run_here, watcher)
    assert (result.segments_kept, result.segments_done) == (sum(stops), 4 - sum(stops))
    assert digests(request.out) == digests(whole[0])
    again = generate(request, run_here, watcher)
    assert (again.segments_kept, again.segments_done) == (4, 0)
    assert digests(request.out) == digests(whole[0])


def test_processes_make_the_same_bytes(whole, request_for, drive, watcher, digests):
    request = request_for(drive, name="parallel")
    result = generate(request, in_two_processes, watcher)
    assert result.segments_done == 4 and watcher.seen == 20
    assert digests(request.out) == digests(whole[0])


def test_segments_do_not_change_what_neighbours_show(whole, request_for, drive, watcher, all_frames):
    """With every frame kept, one long segment sees what many short ones see."""
    request = request_for(drive, name="long", settings=replace(all_frames, segment_s=100.0))
    assert generate(request, run_here, watcher).segments_done == 1
    for path in sorted((whole[0] / "frames").glob("*.json")):
        assert path.read_bytes() == (request.out / "frames" / path.name).read_bytes()


def test_a_second_recording_is_added(whole, request_for, drive, watcher, write_drive, make_frame, tmp_path):
    more = write_drive(tmp_path / "more", [make_frame(index) for index in range(20, 23)])
    root = whole[0]
    before = {path: path.read_bytes() for path in sorted((root / "frames").glob("*.json"))}
    result = generate(request_for(more, name="whole"), run_here, watcher)
    assert result.manifest["frames"] == 13 and result.segments_kept == 4
    assert all(path.read_bytes() == content for path, content in before.items())
    assert (root / "frames" / "0010000002.json").is_file()
    assert verify_set(root).problems == []


def test_missing_recordings_leave_a_set_unfinished(request_for, drive, watcher, write_drive, make_frame, tmp_path):
    with pytest.raises(Stop):
        generate(request_for(drive), stopping_after(1), watcher)
    other = write_drive(tmp_path / "other", [make_frame(30)])
    assert generate(request_for(other), run_here, watcher).manifest is None
    assert generate(request_for(drive), run_here, watcher).manifest["frames"] == 11


def test_frames_left_out_are_named(request_for, watcher, write_drive, make_frame, tmp_path, all_frames):
    frames = [make_frame(index) for index in range(6)]
    frames[2] = make_frame(2, points_lidar=None, points_stamp_ns=None)
    bag = write_drive(tmp_path / "drive", frames)
    selection = replace(all_frames.selection, max_rate_hz=5.0)
    settings = replace(all_frames, selection=selection, segment_s=100.0)
    result = generate(request_for(bag, settings=settings), run_here, watcher)
    assert result.manifest["frames"] == 3
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "set" / "segments").glob("*.json"))
    left_out = {item["image"]: item["reason"] for item in record["skipped"]}
    assert left_out == {
        1: "too soon after the frame before",
        2: "no cloud near enough in time",
        4: "too soon after the frame before",
    }
    assert result.manifest["skipped"] == {"no cloud near enough in time": 1, "too soon after the frame before": 2}


def test_a_kitti_folder_is_a_recording_too(request_for, watcher, tmp_path, whole):
    copied = request_for(whole[0], name="copied")
    result = generate(copied, run_here, watcher)
    assert result.manifest["frames"] == 10


def test_other_settings_weights_or_folders_are_refused(whole, request_for, drive, watcher, all_frames, tmp_path):
    other = replace(all_frames, cleaning=replace(all_frames.cleaning, min_points=3))
    with pytest.raises(OutputError, match=r"settings\.cleaning\.min_points: 1, now 3"):
        generate(request_for(drive, name="whole", settings=other), run_here, watcher)
    with pytest.raises(OutputError, match="assistant"):
        generate(request_for(drive, name="whole", assistant=None), run_here, watcher)
    with pytest.raises(OutputError, match="apart from the recording"):
        generate(request_for(drive, out=drive / "set"), run_here, watcher)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose")
    with pytest.raises(OutputError, match="no generated set"):
        generate(request_for(drive, name="mine"), run_here, watcher)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "do not lose"


def test_bad_requests(request_for, drive, watcher, networks, tmp_path):
    with pytest.raises(CheckpointError, match="got a student"):
        generate(request_for(drive, teacher=networks["student"]), run_here, watcher)
    with pytest.raises(SourceError, match="no such file"):
        generate(request_for(tmp_path / "nowhere"), run_here, watcher)
    with pytest.raises(SourceError, match="given twice"):
        generate(request_for(drive, drive), run_here, watcher)


def test_two_runs_do_not_write_one_set(request_for, drive, watcher):
    request = request_for(drive)

    def engine(settings, segments, on_image):
        with pytest.raises(OutputError, match="another process is writing"):
            generate(request, run_here, watcher)
        return run_here(settings, segments, on_image)

    assert generate(request, engine, watcher).manifest["frames"] == 10


def test_segments_cover_every_image_once(drive):
    for segment_s in (0.05, 0.3, 0.7, 60.0):
        segments = plan_source(drive, 3, SourceOptions(), segment_s).segments
        assert [index for item in segments for index in range(item.first, item.stop)] == list(range(10))
        for item in segments:
            assert (item.source, item.key[:4]) == (3, "003-")
            assert item.read_first == max(item.first - REACH, 0)
            assert item.read_first + item.read_count == min(item.stop + REACH, 10)


def test_what_a_recorder_left_beside_a_file_is_part_of_its_content(tmp_path):
    for name in ("drive.db3", "drive.db3-wal", "other.db3"):
        (tmp_path / name).write_text(name)
    assert set(source_digests(tmp_path / "drive.db3")) == {"drive.db3", "drive.db3-wal"}
    assert set(source_digests(tmp_path / "other.db3")) == {"other.db3"}


def test_a_bag_that_breaks_gives_what_it_held(request_for, watcher, write_drive, make_frame, tmp_path, all_frames):
    bag = write_drive(tmp_path / "drive", [make_frame(index) for index in range(40)])
    (storage,) = bag.glob("*.mcap")
    data = storage.read_bytes()
    storage.write_bytes(data[: len(data) * 2 // 3])
    request = request_for(bag, settings=replace(all_frames, segment_s=1.0))
    with pytest.raises(BagError, match="cut off"):
        generate(request, run_here, watcher)
    result = generate(replace(request, out=tmp_path / "set2", options=SourceOptions(read_cut=True)), run_here, watcher)
    assert 5 < result.manifest["frames"] < 40
    assert "drive.mcap" in result.broken["drive"]
    assert verify_set(tmp_path / "set2").problems == []


def test_tar_shards_hold_the_same(whole, request_for, drive, watcher, digests, all_frames):
    """One file a segment; the frames come back as from the folders, and training reads them the same way."""
    settings = replace(all_frames, format="tar")
    request = request_for(drive, name="shards", settings=settings)
    with pytest.raises(Stop):
        generate(request, stopping_after(2), watcher)
    result = generate(request, run_here, watcher)
    root = request.out
    assert sorted(path.name for path in (root / "shards").iterdir()) == [f"000-0000{number}.tar" for number in range(4)]
    assert not (root / "training").exists()
    assert verify_set(root).problems == []
    assert result.manifest["quality"] == whole[1].manifest["quality"]
    assert result.manifest["boxes"] == whole[1].manifest["boxes"]
    for name in ("frames.csv", "poses.txt", "ImageSets/all.txt"):
        assert (root / name).read_bytes() == (whole[0] / name).read_bytes()
    source = open_source(root)
    assert isinstance(source, TarShards) and len(source) == 10
    for frame, expected in zip(source.frames(), open_source(whole[0]).frames()):
        assert (frame.name, frame.stamp_ns, frame.points_stamp_ns) == (
            expected.name,
            expected.stamp_ns,
            expected.points_stamp_ns,
        )
        for name in ("image", "points_lidar", "cam_T_lidar", "world_T_lidar"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(expected, name))
        np.testing.assert_array_equal(frame.labels.boxes_lidar, expected.labels.boxes_lidar)
        assert frame.labels.class_names == expected.labels.class_names
    again = request_for(drive, name="again", settings=settings)
    generate(again, in_two_processes, watcher)
    assert digests(again.out) == digests(root)


def test_maps_of_the_networks(request_for, drive, watcher, networks, all_frames, make_frame, tmp_path):
    """What distillation compares, as float16, in folders and in shards; refused of an assistant that is not there."""
    settings = replace(all_frames, features=("teacher", "assistant"), segment_s=100.0)
    generate(request_for(drive, settings=settings), run_here, watcher)
    generate(request_for(drive, name="shards", settings=replace(settings, format="tar")), run_here, watcher)
    ((_, members), *_) = shard_members(tmp_path / "shards" / "shards" / "000-00000.tar")
    (first, *_) = open_source(drive).frames()
    for kind in ("teacher", "assistant"):
        path = tmp_path / "set" / f"{kind}_bev" / "0000000000.npy.gz"
        found = np.load(io.BytesIO(gzip.decompress(path.read_bytes())))
        detections, expected = Detector.from_checkpoint(networks[kind]).detect_with_bev(first)
        assert found.dtype == np.float16 and found.ndim == 3
        np.testing.assert_array_equal(found, expected.astype(np.float16))
        assert members[f"{kind}_bev.npy.gz"] == path.read_bytes()
        again = Detector.from_checkpoint(networks[kind]).detect(first)
        np.testing.assert_array_equal(detections.boxes_lidar, again.boxes_lidar)
    with pytest.raises(CheckpointError, match="features of the assistant"):
        generate(request_for(drive, name="none", settings=settings, assistant=None), run_here, watcher)


def test_a_camera_at_30_hz_with_a_lidar_at_10(request_for, watcher, make_frame, tmp_path, all_frames):
    """Of the three images of a cloud the nearest is kept, and its neighbours are the clouds before and behind."""
    frames = []
    for index in range(12):  # clouds at images 0, 3, 6, 9; every image takes the nearest
        nearest = min(9, 3 * round(index / 3))
        stamp_ns = make_frame(0).stamp_ns + index * 33_000_000
        cloud = make_frame(nearest)
        cloud_ns = make_frame(0).stamp_ns + nearest * 33_000_000
        frames.append(make_frame(index, stamp_ns=stamp_ns, points_lidar=cloud.points_lidar, points_stamp_ns=cloud_ns))
    source = tmp_path / "drive"
    with open_writer(source, "kitti") as writer:
        for frame in frames:
            writer.write(frame)
    generate(request_for(source, settings=all_frames), run_here, watcher)
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "set" / "frames").glob("*.json"))]
    assert [record["origin"]["image"] for record in records] == [0, 3, 6, 9]
    assert [record["quality"]["neighbours"] for record in records] == [1, 2, 2, 1]
    every = replace(all_frames, selection=replace(all_frames.selection, one_image_per_cloud=False))
    result = generate(request_for(source, name="every", settings=every), run_here, watcher)
    assert result.manifest["frames"] == 12


@pytest.mark.parametrize("count", range(7))
def test_surroundings(count):
    found = list(with_surroundings(iter(range(count)), 2))
    assert [item for _, item, _ in found] == list(range(count))
    for before, item, after in found:
        assert before == list(range(max(item - 2, 0), item))
        assert after == list(range(item + 1, min(item + 3, count)))


def test_what_bounds_a_run():
    busy = Busy(Counter(read=1.0, networks=6.0, write=0.0))
    assert bound_by(GenerationResult(busy=busy, wall_s=10.0), 1) == "networks (60% of the time)"
    spread = bound_by(GenerationResult(busy=busy, wall_s=10.0), 2)
    assert spread == "starting and waiting; the busiest stage: networks (30% of the time)"
    assert bound_by(GenerationResult(), 2) == "nothing"


@pytest.mark.parametrize("engine", [run_here, in_two_processes])
def test_who_is_told_of_images_may_end_the_work(request_for, drive, watcher, engine):
    """In processes before the first image: they are asked while they work, too."""

    def stop(count):
        raise Stop

    watcher.images = stop
    request = request_for(drive)
    with pytest.raises(Stop):
        generate(request, engine, watcher)
    assert multiprocessing.active_children() == []
    assert not (request.out / "manifest.json").exists()


def test_processes_get_no_segment_while_who_is_told_waits(request_for, drive, monkeypatch):
    """Never more of them are handed out than there are processes."""
    handed_out, told, most = [], [], []

    class Pool:
        def __init__(self, *_):
            pass

        def submit(self, work, segment):
            handed_out.append(segment)
            done = Future()
            done.set_result(Busy())
            return done

        def shutdown(self, **_):
            pass

    monkeypatch.setattr("monotakd_ros.generation.local_engine.ProcessPoolExecutor", Pool)
    segments = plan_source(drive, 0, SourceOptions(), 0.1).segments

    def on_image(count):
        told.append(count)
        most.append(len(handed_out) - sum(map(bool, told)))

    done = [segment for segment, _ in run_in_processes(None, segments, 2, on_image)]
    assert sorted(done, key=lambda segment: segment.number) == list(segments) and max(most) == 2
