"""The bag for RViz and Foxglove: every kind of box on its topics, read back by our own readers."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from monotakd_ros.data.recorded_boxes import read_detections
from monotakd_ros.data.rosbag import BagSource
from monotakd_ros.data.source import SourceOptions
from monotakd_ros.errors import OutputError, SourceError
from monotakd_ros.preview.bag import bag_folder, is_preview, write_bag
from monotakd_ros.preview.source import BoxedSource
from monotakd_ros.visualization.palette import TEACHER, class_colour

TOPICS = {
    "labels": "/labels",
    "uncertain": "/uncertain",
    "teacher": "/teacher",
    "assistant": "/assistant",
    "truth": "/ground_truth",
}


@pytest.fixture
def root(write_set, tmp_path):
    return write_set(tmp_path / "set")


def messages(path, topic):
    with AnyReader([path]) as reader:
        wanted = [connection for connection in reader.connections if connection.topic == topic]
        return [reader.deserialize(data, connection.msgtype) for connection, _, data in reader.messages(wanted)]


def test_frames_and_boxes_come_back(root, tmp_path, set_boxes):
    assert write_bag(BoxedSource(root), tmp_path / "bag.mcap") == (3, [])
    assert (tmp_path / "bag" / "bag.mcap").is_file()
    originals = list(BoxedSource(root).frames(None, pytest.fail))
    for kind, topic in TOPICS.items():
        frames = list(BagSource(tmp_path / "bag", SourceOptions(ground_truth_topic=topic)).frames())
        assert len(frames) == 3
        for index, (frame, original) in enumerate(zip(frames, originals)):
            expected = set_boxes(kind, index)
            assert frame.labels.class_names == expected.class_names
            np.testing.assert_allclose(frame.labels.boxes_lidar, expected.boxes_lidar, atol=1e-6)
            assert (frame.name, frame.stamp_ns) == (original.frame.name, original.frame.stamp_ns)
            np.testing.assert_array_equal(frame.points_lidar, original.frame.points_lidar)
            np.testing.assert_array_equal(frame.cam_T_lidar, original.frame.cam_T_lidar)
            assert np.abs(frame.image.astype(int) - original.frame.image).max() <= 2  # JPEG
    scores = read_detections(tmp_path / "bag", "/teacher", {}).arrays[0].scores
    np.testing.assert_allclose(scores, set_boxes("teacher", 0).scores)


def test_the_truth_is_what_a_reader_takes_by_itself(root, tmp_path, set_boxes):
    write_bag(BoxedSource(root), tmp_path / "bag", count=1)
    (frame,) = BagSource(tmp_path / "bag").frames()
    np.testing.assert_allclose(frame.labels.boxes_lidar, set_boxes("truth", 0).boxes_lidar, atol=1e-6)


def test_markers_have_the_colours_of_the_pictures(root, tmp_path):
    write_bag(BoxedSource(root), tmp_path / "bag")
    for kind, colour in (("labels", class_colour("Car")), ("teacher", TEACHER)):
        first = messages(tmp_path / "bag", f"{TOPICS[kind]}/markers")[0].markers
        cube, _, text = first[1:4]
        assert first[0].action == 3 and cube.lifetime.sec == cube.lifetime.nanosec == 0
        assert np.round([255 * cube.color.r, 255 * cube.color.g, 255 * cube.color.b]).tolist() == list(colour)
        assert text.text.startswith("Car 0.90 11.9 m")
    truth = messages(tmp_path / "bag", "/ground_truth/markers")[0].markers
    assert truth[3].text.startswith("Car 12.0 m")


def test_a_recording_made_at_the_same_time_follows_the_other(write_set, root, tmp_path):
    """Two recordings with the same stamps: the second comes a second behind the first, its own steps kept."""
    table = (root / "frames.csv").read_text().splitlines()
    rows = [row.split(",") for row in table[1:]]
    rows[1][1:3], rows[2][1:3] = rows[0][1:3], [str(int(value) + 500_000_000) for value in rows[0][1:3]]
    (root / "frames.csv").write_text("\n".join([table[0], *(",".join(row) for row in rows)]))
    write_bag(BoxedSource(root), tmp_path / "bag")
    frames = list(BagSource(tmp_path / "bag", SourceOptions(ground_truth_topic="none")).frames())
    assert np.diff([frame.stamp_ns for frame in frames]).tolist() == [1_000_000_000, 500_000_000]
    assert [frame.points_stamp_ns - frame.stamp_ns for frame in frames] == [-10_000_000] * 3


def test_frames_without_cloud_labels_or_boxes(write_set, tmp_path):
    root = write_set(tmp_path / "set", 1, ())
    (root / "training" / "velodyne" / "000000.bin").unlink()
    (root / "training" / "label_2" / "000000.txt").write_text("")
    assert write_bag(BoxedSource(root), tmp_path / "bag")[0] == 1
    (array,) = messages(tmp_path / "bag", "/labels")
    (markers,) = messages(tmp_path / "bag", "/labels/markers")
    assert len(array.detections) == 0 and [marker.action for marker in markers.markers] == [3]


def test_what_is_there_stays(root, tmp_path):
    source = BoxedSource(root)
    write_bag(source, tmp_path / "bag", count=1)
    assert is_preview(tmp_path / "bag") and not is_preview(root) and not is_preview(tmp_path / "nothing")
    assert write_bag(source, tmp_path / "bag")[0] == 3  # an earlier preview is replaced
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metadata.yaml").write_text("rosbag2_bagfile_information: {}")
    with pytest.raises(OutputError, match="exists already"):
        write_bag(source, tmp_path / "mine")
    (tmp_path / "mine" / "metadata.yaml").rename(tmp_path / "mine" / "notes.yaml")
    with pytest.raises(OutputError, match="no bag"):
        write_bag(source, tmp_path / "mine", overwrite=True)
    with pytest.raises(OutputError, match="read from it"):
        write_bag(source, root, overwrite=True)
    preview = BoxedSource(tmp_path / "bag", SourceOptions(ground_truth_topic="/labels"))
    with pytest.raises(OutputError, match="read from it"):
        write_bag(preview, tmp_path / "bag")
    preview.close()


def test_a_failure_leaves_nothing(root, tmp_path):
    for path in (root / "training" / "image_2").iterdir():
        path.write_bytes(b"")
    with pytest.raises(SourceError):
        write_bag(BoxedSource(root), tmp_path / "bag")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_name_of_the_file_names_the_folder(tmp_path):
    assert bag_folder(tmp_path / "a.mcap") == bag_folder(tmp_path / "a") == tmp_path / "a"
