import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest

from monotakd_ros.config import InputConfig
from monotakd_ros.data.source import SourceOptions
from monotakd_ros.errors import FrameError, SourceError, TrainingError
from monotakd_ros.frame import Labels3D
from monotakd_ros.provenance import reading_code
from monotakd_ros.training import frame_cache
from monotakd_ros.training.frame_cache import FrameCache, cached_frames, load_frame, save_frame, source_fingerprint

INPUT = InputConfig(128, 64, 70.0, (63.0, 28.0))
CLASSES = ("Car", "Pedestrian", "Cyclist")


class TestCachedFrames:
    def test_frames_come_back_as_prepared(self, fake_source, tmp_path, training_frames):
        cache = cached_frames(fake_source(), tmp_path / "cache", INPUT, CLASSES)
        assert len(cache) == 4
        for got, expected in zip(cache, training_frames):
            assert got.prepared.name == expected.prepared.name
            assert np.array_equal(got.prepared.image, expected.prepared.image)
            assert np.array_equal(got.prepared.points_img, expected.prepared.points_img)
            assert np.array_equal(got.prepared.boxes_lidar, expected.prepared.boxes_lidar)
            assert np.array_equal(got.prepared.labels, expected.prepared.labels)
            assert got.ground_truth.class_names == ("Car", "Pedestrian", "Van")
            assert got.camera.same_as(expected.camera)
            assert np.array_equal(got.cam_T_lidar, expected.cam_T_lidar)

    def test_report(self, fake_source, tmp_path):
        report = cached_frames(fake_source(5, bad=(2,)), tmp_path / "cache", INPUT, CLASSES).report
        assert (report.frames, report.unlabelled, report.with_points) == (4, 0, 4)
        assert report.bad == ("frame 2: corrupt image",)
        assert report.class_counts == {0: 4, 1: 4, -1: 4}

    def test_is_read_once(self, fake_source, tmp_path):
        source = fake_source()
        for _ in range(2):
            cached_frames(source, tmp_path / "cache", INPUT, CLASSES)
        assert source.reads == 1

    def test_is_read_again_when_setting_or_source_change(self, fake_source, tmp_path):
        source = fake_source()
        root = tmp_path / "cache"
        folders = {cached_frames(source, root, INPUT, CLASSES).folder}
        folders.add(cached_frames(source, root, replace(INPUT, width=120), CLASSES).folder)
        folders.add(cached_frames(source, root, INPUT, CLASSES[:1]).folder)
        source.path.write_bytes(b"longer content")
        folders.add(cached_frames(source, root, INPUT, CLASSES).folder)
        assert len(folders) == 4 and source.reads == 4

    def test_strict_stops_at_a_bad_frame_and_leaves_nothing(self, fake_source, tmp_path):
        with pytest.raises(FrameError, match="frame 2: corrupt image"):
            cached_frames(fake_source(5, bad=(2,)), tmp_path / "cache", INPUT, CLASSES, strict=True)
        assert list((tmp_path / "cache").iterdir()) == []

    def test_strict_minds_the_bad_frames_of_an_earlier_reading(self, fake_source, tmp_path):
        source = fake_source(5, bad=(2,))
        cached_frames(source, tmp_path / "cache", INPUT, CLASSES)
        with pytest.raises(FrameError, match="corrupt image"):
            cached_frames(source, tmp_path / "cache", INPUT, CLASSES, strict=True)

    def test_a_source_without_labels_is_named(self, fake_source, tmp_path):
        with pytest.raises(TrainingError, match=r"drive\.mcap: no labelled frame.*4 without labels"):
            cached_frames(fake_source(labelled=False), tmp_path / "cache", INPUT, CLASSES)
        assert list((tmp_path / "cache").iterdir()) == []

    def test_an_interrupted_reading_leaves_nothing(self, fake_source, tmp_path):
        def stop(number):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cached_frames(fake_source(), tmp_path / "cache", INPUT, CLASSES, on_frame=stop)
        assert list((tmp_path / "cache").iterdir()) == []


class TestDamage:
    def test_a_damaged_frame_is_named(self, fake_source, tmp_path):
        cache = cached_frames(fake_source(), tmp_path / "cache", INPUT, CLASSES)
        file = cache.folder / "000001.npz"
        file.write_bytes(file.read_bytes()[:500])
        with pytest.raises(SourceError, match=r"000001\.npz: the cached frame is damaged"):
            cache[1]

    def test_a_damaged_index_is_named(self, tmp_path):
        (tmp_path / "index.json").write_text("{")
        with pytest.raises(SourceError, match="the frame cache is damaged"):
            FrameCache(tmp_path)

    def test_there_is_no_frame_after_the_last(self, fake_source, tmp_path):
        cache = cached_frames(fake_source(2), tmp_path / "cache", INPUT, CLASSES)
        assert cache[-1].prepared.name == "000001"
        with pytest.raises(IndexError):
            cache[2]


def test_a_folder_is_told_by_its_files(tmp_path):
    (tmp_path / "sub").mkdir()
    before = source_fingerprint(tmp_path, INPUT, CLASSES)
    (tmp_path / "sub" / "image.png").write_bytes(b"1")
    assert source_fingerprint(tmp_path, INPUT, CLASSES) != before


class TestLabelsWithScores:
    def test_a_frame_in_which_the_teacher_saw_nothing_is_its_too(self, fake_source, tmp_path):
        source = fake_source()
        with_scores = [replace(item.labels, scores=np.full(len(item.labels.class_names), 0.5)) for item in source.items]
        source.items = [replace(item, labels=labels) for item, labels in zip(source.items, with_scores)]
        source.items[1] = replace(source.items[1], labels=Labels3D.empty())
        cache = cached_frames(source, tmp_path / "cache", INPUT, CLASSES)
        assert cache.report.scored and len(cache[1].prepared.labels) == 0
        assert all(frame.prepared.label_scores is not None for frame in cache)
        assert cache[1].prepared.label_scores.shape == (0,)

    def test_without_any_a_person_said_that_nothing_is_there(self, fake_source, tmp_path):
        source = fake_source()
        source.items[1] = replace(source.items[1], labels=Labels3D.empty())
        cache = cached_frames(source, tmp_path / "cache", INPUT, CLASSES)
        assert not cache.report.scored
        assert all(frame.prepared.label_scores is None for frame in cache)


class TestFilesBesideTheSource:
    def test_a_changed_label_is_another_source(self, tmp_path):
        bag, label = tmp_path / "drive.mcap", tmp_path / "labels" / "000000.txt"
        label.parent.mkdir()
        bag.write_bytes(b"content")
        label.write_text("Car")
        before = source_fingerprint(bag, INPUT, CLASSES, beside=[label])
        assert before != source_fingerprint(bag, INPUT, CLASSES)
        label.write_text("Cyclist")
        assert source_fingerprint(bag, INPUT, CLASSES, beside=[label]) != before

    def test_the_source_is_read_again(self, fake_source, tmp_path):
        source, label = fake_source(), tmp_path / "labels" / "000000.txt"
        label.parent.mkdir()
        for text in ("Car", "Car", "Cyclist"):
            if not label.exists() or label.read_text() != text:
                label.write_text(text)
            cached_frames(source, tmp_path / "cache", INPUT, CLASSES, options=SourceOptions(label_dir=label.parent))
        assert source.reads == 2

    def test_a_broken_link_is_no_file(self, tmp_path):
        (tmp_path / "kitti").mkdir()
        before = source_fingerprint(tmp_path / "kitti", INPUT, CLASSES)
        (tmp_path / "kitti" / "gone.png").symlink_to(tmp_path / "gone.png")
        assert source_fingerprint(tmp_path / "kitti", INPUT, CLASSES) == before


class TestReadAsUnlabelled:
    def test_frames_keep_their_cloud_and_lose_their_labels(self, cached_unlabelled, training_frames):
        cache = cached_unlabelled()
        for got, expected in zip(cache, training_frames):
            assert got.prepared.boxes_lidar is None is got.prepared.labels
            assert np.array_equal(got.prepared.points_lidar, expected.prepared.points_lidar)
            assert np.array_equal(got.prepared.image, expected.prepared.image)
            assert got.ground_truth.class_names == ("Car", "Pedestrian", "Van")
        assert cache.report.class_counts == {} and cache.report.unlabelled == 0

    def test_frames_that_have_no_labels_are_kept(self, cached_unlabelled):
        cache = cached_unlabelled(labelled=False)
        assert len(cache) == 4 and all(frame.ground_truth is None for frame in cache)

    def test_is_not_taken_for_the_same_source_with_labels(self, fake_source, tmp_path):
        source = fake_source()
        folders = {
            cached_frames(source, tmp_path / "cache", INPUT, CLASSES, unlabelled=unlabelled).folder
            for unlabelled in (False, True, False)
        }
        assert len(folders) == 2 and source.reads == 2

    def test_frames_without_a_cloud_are_left_out(self, fake_source, tmp_path):
        source = fake_source()
        source.items[0] = replace(source.items[0], points_lidar=None)
        source.items[2] = replace(source.items[2], points_lidar=source.items[2].points_lidar[:0])
        report = cached_frames(source, tmp_path / "cache", INPUT, CLASSES, unlabelled=True).report
        assert (report.frames, report.with_points, report.without_cloud) == (2, 2, 2)

    def test_an_index_of_before_this_existed_is_read(self, fake_source, tmp_path):
        cache = cached_frames(fake_source(), tmp_path / "cache", INPUT, CLASSES)
        index = json.loads((cache.folder / "index.json").read_text())
        del index["without_cloud"], index["digest"], index["seen"]
        (cache.folder / "index.json").write_text(json.dumps(index))
        old = FrameCache(cache.folder)
        assert old.report == replace(cache.report, digest="", seen=()) and old.identity == cache.folder.name


class TestIdentity:
    def test_follows_the_frames_and_not_where_and_when_they_were_written(self, fake_source, tmp_path):
        first = cached_frames(fake_source(), tmp_path / "cache", INPUT, CLASSES)
        (tmp_path / "mount").mkdir()
        moved = fake_source(name="mount/drive.mcap")
        again = cached_frames(moved, tmp_path / "cache", INPUT, CLASSES)
        assert again.folder != first.folder and again.identity == first.identity

    @pytest.mark.parametrize("field", ["image", "points_lidar"])
    def test_sees_a_changed_value(self, fake_source, tmp_path, field):
        first = cached_frames(fake_source(), tmp_path / "cache", INPUT, CLASSES)
        source = fake_source()
        array = getattr(source.items[1], field).copy()
        array[array.shape[0] // 2] += 1
        source.items[1] = replace(source.items[1], **{field: array})
        other = cached_frames(source, tmp_path / "other", INPUT, CLASSES)
        assert other.identity != first.identity

    def test_a_frame_is_known_by_what_networks_see_of_it(self, fake_source, tmp_path):
        source = fake_source()
        first = cached_frames(source, tmp_path / "cache", INPUT, CLASSES)
        bare = cached_frames(source, tmp_path / "cache", INPUT, CLASSES, unlabelled=True)
        assert first.report.seen == bare.report.seen and len(set(first.report.seen)) == 4
        source.items[1] = replace(source.items[1], image=source.items[1].image ^ 1)
        other = cached_frames(source, tmp_path / "other", INPUT, CLASSES)
        assert [a == b for a, b in zip(other.report.seen, first.report.seen)] == [True, False, True, True]

    def test_sees_another_order(self, fake_source, tmp_path):
        source = fake_source()
        first = cached_frames(source, tmp_path / "cache", INPUT, CLASSES)
        source.items.reverse()
        assert cached_frames(source, tmp_path / "other", INPUT, CLASSES).identity != first.identity


def test_the_fingerprint_of_a_labelled_source_holds_nothing_else(tmp_path):
    """A cache that took hours to fill must not be read again because of a new option."""
    file = tmp_path / "drive.mcap"
    file.write_bytes(b"content")
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns)]
    facts = [5, reading_code(), stats, asdict(INPUT), list(CLASSES), ""]
    expected = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    assert source_fingerprint(file, INPUT, CLASSES) == expected
    assert source_fingerprint(file, INPUT, CLASSES, unlabelled=True) != expected


def test_other_code_reads_a_source_anew(tmp_path, monkeypatch):
    file = tmp_path / "drive.mcap"
    file.write_bytes(b"content")
    before = source_fingerprint(file, INPUT, CLASSES)
    monkeypatch.setattr(frame_cache, "reading_code", lambda: "of later")
    assert source_fingerprint(file, INPUT, CLASSES) != before


def test_scores_of_labels_come_back(training_frames, tmp_path):
    frame = training_frames[0]
    scores = np.linspace(0.2, 0.9, len(frame.prepared.labels)).astype(np.float32)
    truth = replace(frame.ground_truth, scores=scores.astype(np.float64))
    scored = replace(frame, prepared=replace(frame.prepared, label_scores=scores), ground_truth=truth)
    save_frame(tmp_path / "scored.npz", scored)
    save_frame(tmp_path / "plain.npz", frame)
    back = load_frame(tmp_path / "scored.npz")
    assert np.array_equal(back.prepared.label_scores, scores)
    assert np.array_equal(back.ground_truth.scores, truth.scores)
    plain = load_frame(tmp_path / "plain.npz")
    assert plain.prepared.label_scores is None and plain.ground_truth.scores is None


def test_runs_that_start_together_read_a_source_once(fake_source, tmp_path):
    sources = [fake_source(4) for _ in range(3)]

    def read(source):
        return len(cached_frames(source, tmp_path / "cache", INPUT, CLASSES))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(read, sources)) == [4, 4, 4]
    assert sum(source.reads for source in sources) == 1
    assert len(list((tmp_path / "cache").iterdir())) == 1, "the lock is gone"
