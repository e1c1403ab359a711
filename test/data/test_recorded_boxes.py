"""Bags of recorded boxes: topics, class names, stamps in any order, cameras, and tf over long recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from monotakd_ros.data.bag_writer import BagFile
from monotakd_ros.data.detections_to_msg import DetectionMessages
from monotakd_ros.data.message_types import bag_message_types
from monotakd_ros.data.recorded_boxes import read_detections, read_ground_truth_boxes, read_transforms
from monotakd_ros.errors import BagError, ConfigError
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import make_transform

BUILDER = DetectionMessages(bag_message_types())
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
CAMERA = CameraModel.from_intrinsics(100, 100, 32, 24, 64, 48)


class Recording:
    def __init__(self, folder: Path) -> None:
        self.folder, self.bag = folder, BagFile(folder)

    def boxes(self, index: int, names=("Car",), topic="/detections", log_ns: int | None = None, score=0.5):
        stamp_ns = START_NS + index * PERIOD_NS
        header = BUILDER.header(stamp_ns, "camera")
        shape = BUILDER.box(np.array([1.0, 2, 10]), np.eye(3), np.ones(3))
        items = [BUILDER.detection(header, name, score, shape) for name in names]
        message = BUILDER.make("vision_msgs/msg/Detection3DArray", header=header, detections=items)
        self.bag.write(topic, message, stamp_ns if log_ns is None else log_ns)

    def info(self, topic="/camera/camera_info", frame_id="/camera", index=0, camera=CAMERA):
        stamp_ns = START_NS + index * PERIOD_NS
        self.bag.write(topic, BUILDER.camera_info(camera, stamp_ns, frame_id), stamp_ns)

    def names(self, class_names, topic="/label_info"):
        self.bag.write(topic, BUILDER.label_info(class_names, 0.1, START_NS, "camera"), START_NS)

    def transform(self, stamp_ns: int, x: float, topic="/tf", parent="map", child="camera"):
        message = BUILDER.transform(make_transform(np.eye(3), [x, 0, 0]), parent, child, stamp_ns)
        self.bag.write(topic, message, stamp_ns)

    def done(self) -> Path:
        self.bag.close()
        return self.folder


@pytest.fixture
def recording(tmp_path) -> Recording:
    return Recording(tmp_path / "bag")


def read(path: Path, topic=None, class_map=None, **options):
    return read_detections(path, topic, class_map or {}, **options)


def stamps(recorded) -> list[int]:
    return [(array.stamp_ns - START_NS) // PERIOD_NS for array in recorded.arrays]


def test_the_only_topic_is_taken(recording):
    recording.boxes(0, topic="/other/ground_truth/boxes")
    recording.boxes(0, topic="/mine")
    recorded = read(recording.done())
    assert (recorded.topic, len(recorded.arrays)) == ("/mine", 1)
    assert (recorded.camera, recorded.repeated, recorded.unreadable) == (None, 0, ())
    named = read(recording.folder, "/other/ground_truth/boxes")  # when named, anything can be scored
    assert named.topic == "/other/ground_truth/boxes"


def test_several_topics_are_listed(recording):
    for topic in ("/a", "/b"):
        recording.boxes(0, topic=topic)
    with pytest.raises(BagError, match=r"several topics .* choose one with --detections-topic: /a, /b"):
        read(recording.done())
    assert read(recording.folder, "/b").topic == "/b"
    with pytest.raises(BagError, match=r"no .*Detection3DArray topic '/c' with messages .* there are: /a, /b"):
        read(recording.folder, "/c")


def test_a_bag_without_detections(recording):
    recording.info()
    recording.boxes(0, topic="/ground_truth")
    recording.bag.add_topic("/detections", "vision_msgs/msg/Detection3DArray")
    with pytest.raises(BagError, match="expected a topic of type vision_msgs/msg/Detection3DArray with messages"):
        read(recording.done())


def test_ground_truth_topics(recording):
    for topic in ("/detections", "/ground_truth", "/tracks"):
        recording.boxes(0, topic=topic)
    path = recording.done()
    assert read_ground_truth_boxes(path, None, {}).topic == "/ground_truth"
    assert read_ground_truth_boxes(path, "/tracks", {}).topic == "/tracks"


def test_ground_truth_is_the_other_topic_of_the_same_bag(recording):
    for topic in ("/detections", "/tracks"):
        recording.boxes(0, topic=topic)
    path = recording.done()
    assert read_ground_truth_boxes(path, None, {}, detections="/detections").topic == "/tracks"
    with pytest.raises(BagError, match=r"--ground-truth-topic: /detections, /tracks"):
        read_ground_truth_boxes(path, None, {})


def test_arrays_in_any_order_come_by_stamp_and_the_last_of_equal_ones_counts(recording):
    recording.boxes(2, names=("Van",), log_ns=START_NS)
    recording.boxes(0, names=("Car",), log_ns=START_NS + 1)
    recording.boxes(2, names=("Tram", "Car"), log_ns=START_NS + 2)
    recording.boxes(1, names=(), log_ns=START_NS + 3)
    recorded = read(recording.done())
    assert stamps(recorded) == [0, 1, 2]
    assert [array.names for array in recorded.arrays] == [("Car",), (), ("Tram", "Car")]
    assert recorded.repeated == 1


def test_numbers_are_named_by_the_label_info_beside_the_topic(recording):
    recording.boxes(0, names=("0", "1", "5"), topic="/mine/boxes")
    recording.names(("truck", "car"), topic="/mine/label_info")
    recording.names(("a", "b"), topic="/other/label_info")
    assert read(recording.done()).arrays[0].names == ("Truck", "Car", "5")
    assert read(recording.folder, class_map={"truck": "Van", "5": "Tram"}).arrays[0].names == ("Van", "Car", "Tram")


def test_without_a_label_info_numbers_stay(recording):
    recording.boxes(0, names=("0",))
    recording.names(("a", "b"), topic="/one/label_info")
    recording.names(("c", "d"), topic="/two/label_info")
    assert read(recording.done()).arrays[0].names == ("0",)


def test_a_wrong_class_map(recording):
    recording.boxes(0)
    with pytest.raises(ConfigError, match="car=Auto"):
        read(recording.done(), class_map={"car": "Auto"})


def test_the_only_camera_is_read(recording):
    recording.boxes(0)
    recording.info()
    camera = read(recording.done()).camera
    assert camera.frame_id == "camera"
    assert camera.at(START_NS).same_as(CAMERA)


def test_every_change_of_the_camera_is_kept(recording):
    recording.boxes(0)
    cameras = [CameraModel.from_intrinsics(100 + index, 100, 32, 24, 64, 48) for index in range(50)]
    for index, camera in enumerate(cameras):
        recording.info(index=2 * index, camera=camera)
        recording.info(index=2 * index + 1, camera=camera)
    got = read(recording.done()).camera
    assert len(got) == 50
    for index in (0, 1, 49):
        assert got.at(START_NS + (2 * index + 1) * PERIOD_NS + 7).same_as(cameras[index])
    assert got.at(0).same_as(cameras[0])
    assert got.at(2 * START_NS).same_as(cameras[49])


def test_one_of_several_cameras_must_be_asked_for(recording):
    recording.boxes(0)
    recording.info("/left/camera_info", "left")
    recording.info("/right/camera_info", "right")
    recorded = read(recording.done())
    assert (recorded.camera, recorded.camera_topics) == (None, ("/left/camera_info", "/right/camera_info"))
    assert read(recording.folder, camera_info_topic="/right/camera_info").camera.frame_id == "right"
    assert read(recording.folder, camera_info_topic="/up/camera_info").camera_topics == ()


def test_long_recordings_keep_their_first_transforms(recording):
    count = 2500
    for index in range(count):
        recording.transform(START_NS + index * 1_000_000, x=float(index))
    recording.boxes(0)
    geometry = read(recording.done()).geometry
    for index in (0, count - 1):
        assert geometry.lookup("map", "camera", START_NS + index * 1_000_000)[0, 3] == index


def test_transforms_of_several_bags_connect(tmp_path):
    left, right = Recording(tmp_path / "left"), Recording(tmp_path / "right")
    left.transform(START_NS, 1.0, "/tf_static", "base", "camera")
    right.transform(START_NS, 5.0, "/tf_static", "base", "lidar")
    geometry = read_transforms([left.done(), right.done()])
    assert geometry.lookup("camera", "lidar", 0)[0, 3] == 4.0


def test_a_damaged_array_is_noted_and_the_others_count(recording):
    recording.boxes(0)
    recording.bag._writer.write(recording.bag._connections["/detections"], START_NS + 1, b"\x00\x01\x00\x00\xff\xff")
    recorded = read(recording.done())
    assert stamps(recorded) == [0]
    assert len(recorded.unreadable) == 1
    assert "topic /detections" in recorded.unreadable[0]


def test_only_damaged_arrays(recording):
    recording.bag.add_topic("/detections", "vision_msgs/msg/Detection3DArray")
    recording.bag._writer.write(recording.bag._connections["/detections"], START_NS + 1, b"\x00\x01\x00\x00\xff\xff")
    with pytest.raises(BagError, match=r"topic /detections: no array can be read: .*bytes are no"):
        read(recording.done())


def test_a_bag_of_ros_1(tmp_path):
    """vision_msgs of ROS 1: `int64 id` beside the score."""
    store = get_typestore(Stores.ROS1_NOETIC)
    texts = {
        "vision_msgs/msg/ObjectHypothesisWithPose": (
            "int64 id\nfloat64 score\ngeometry_msgs/PoseWithCovariance pose\n"
        ),
        "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
        "vision_msgs/msg/Detection3D": (
            "Header header\nvision_msgs/ObjectHypothesisWithPose[] results\nvision_msgs/BoundingBox3D bbox\n"
        ),
        "vision_msgs/msg/Detection3DArray": "Header header\nvision_msgs/Detection3D[] detections\n",
    }
    for name, text in texts.items():
        store.register(get_types_from_msg(text, name))
    t = store.types
    point, vector = t["geometry_msgs/msg/Point"], t["geometry_msgs/msg/Vector3"]
    pose = t["geometry_msgs/msg/Pose"](point(1.0, 2.0, 10.0), t["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0))
    result = t["vision_msgs/msg/ObjectHypothesisWithPose"](
        3, 0.25, t["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36))
    )
    header = t["std_msgs/msg/Header"](7, t["builtin_interfaces/msg/Time"](12, 500), "camera")
    box = t["vision_msgs/msg/BoundingBox3D"](pose, vector(4.0, 2.0, 1.5))
    array = t["vision_msgs/msg/Detection3DArray"](header, [t["vision_msgs/msg/Detection3D"](header, [result], box)])
    with Writer1(tmp_path / "old.bag") as writer:
        connection = writer.add_connection("/boxes", array.__msgtype__, typestore=store)
        writer.write(connection, 12_000_000_700, store.serialize_ros1(array, array.__msgtype__))
    (got,) = read(tmp_path / "old.bag", class_map={"3": "Cyclist"}).arrays
    assert (got.stamp_ns, got.age_ns, got.names, got.scores.tolist()) == (12_000_000_500, 200, ("Cyclist",), [0.25])
    np.testing.assert_array_equal(got.centers, [[1, 2, 10]])
