"""Detection3DArray of any detector: class ids, axes, covariances, old layouts, and what cannot be used."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.data.boxes_from_msg import ClassNames, boxes_from_msg
from monotakd_ros.data.detections_to_msg import DetectionMessages
from monotakd_ros.data.message_types import bag_message_types
from monotakd_ros.errors import ConfigError
from monotakd_ros.frame import Detections3D
from monotakd_ros.geometry.boxes import corners_from_boxes
from monotakd_ros.geometry.transforms import (
    invert_transform,
    make_transform,
    nominal_cam_T_lidar,
    rotation_about_z,
    transform_points,
)

BUILDER = DetectionMessages(bag_message_types())
STAMP_NS = 1_700_000_000_123_456_789
NAN = float("nan")
ANGLE = st.floats(-3.1, 3.1)


def box(center=(1.0, 2.0, 3.0), rotation=None, size=(4.0, 1.7, 1.5)):
    rotation = np.eye(3) if rotation is None else rotation
    return BUILDER.box(np.array(center), rotation, np.array(size))


def detection(name="Car", score=0.5, frame_id="", stamp_ns=0, covariance=None, **of_box):
    return BUILDER.detection(BUILDER.header(stamp_ns, frame_id), name, score, box(**of_box), covariance)


def array(detections, stamp_ns=STAMP_NS, frame_id="velo"):
    header = BUILDER.header(stamp_ns, frame_id)
    return BUILDER.make("vision_msgs/msg/Detection3DArray", header=header, detections=detections)


def read(detections, class_names=None, **of_array):
    return boxes_from_msg(array(detections, **of_array), class_names or ClassNames(), STAMP_NS + 50)


def test_hand_numbers():
    boxes = read([detection("pedestrian", 0.25, rotation=rotation_about_z(np.pi / 2))])
    np.testing.assert_array_equal(boxes.centers, [[1, 2, 3]])
    np.testing.assert_allclose(boxes.upright_boxes(np.eye(4)[None]), [[1, 2, 3, 4.0, 1.7, 1.5, np.pi / 2]], atol=1e-12)
    assert (boxes.names, boxes.scores.tolist(), boxes.frame_ids) == (("Pedestrian",), [0.25], ("velo",))
    assert (boxes.stamp_ns, boxes.age_ns, boxes.left_out) == (STAMP_NS, 50, ())
    assert not boxes.covariances.any()


def test_an_empty_array_is_a_frame_without_boxes():
    boxes = read([])
    assert (len(boxes), boxes.stamp_ns) == (0, STAMP_NS)
    assert boxes.upright_boxes(np.zeros((0, 4, 4))).shape == (0, 7)
    assert boxes.covariances_in(np.zeros((0, 4, 4))).shape == (0, 3, 3)


@settings(max_examples=40)
@given(ANGLE, st.tuples(*[st.floats(-0.1, 0.1)] * 3), st.tuples(*[st.floats(-60, 60)] * 3))
def test_own_messages_come_back(heading, tilt, center):
    skew = np.array([[0, -tilt[2], tilt[1]], [tilt[2], 0, -tilt[0]], [-tilt[1], tilt[0], 0]])
    rotation, upper = np.linalg.qr(np.eye(3) + skew)
    cam_T_lidar = make_transform(rotation * np.sign(np.diag(upper)), [0.3, 0.1, 0]) @ nominal_cam_T_lidar()
    detections = Detections3D(
        np.array([[*center, 4.0, 1.7, 1.5, heading]]),
        np.array([0.7]),
        np.array([1]),
        ("Car", "Van"),
        np.diag([0.5, 0.25, 0.125])[None],
        cam_T_lidar,
    )
    boxes = boxes_from_msg(BUILDER.detections(detections, STAMP_NS, "cam"), ClassNames(), STAMP_NS)
    lidar_T_cam = invert_transform(cam_T_lidar)[None]
    difference = boxes.upright_boxes(lidar_T_cam) - detections.boxes_lidar
    difference[:, 6] = (difference[:, 6] + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(difference).max() < 1e-9
    np.testing.assert_allclose(boxes.covariances_in(lidar_T_cam), detections.covariance_lidar, atol=1e-12)


@settings(max_examples=60)
@given(ANGLE, st.floats(-0.3, 0.3), st.permutations([0, 1, 2]))
def test_a_box_fills_the_same_space_whichever_way_its_axes_are_named(heading, pitch, order):
    """Some name the height y, as in KITTI's camera; the solid is what counts. A small pitch is dropped."""
    size, permutation = np.array([4.0, 1.7, 1.5]), np.eye(3)[:, order]
    cos, sin = np.cos(pitch), np.sin(pitch)
    tilted = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    rotation = rotation_about_z(heading) @ tilted @ permutation * np.linalg.det(permutation)
    got = read([detection(rotation=rotation, size=size[order])]).upright_boxes(np.eye(4)[None])
    expected = corners_from_boxes(np.array([[1, 2, 3, *size, heading]]))[0]
    distance = np.linalg.norm(corners_from_boxes(got)[0][:, None] - expected[None], axis=2)
    np.testing.assert_allclose(distance.min(axis=0), 0, atol=1e-7)


def test_the_best_hypothesis_names_class_and_score():
    item = detection("Car", 0.2)
    item.results += detection("Cyclist", 0.9, covariance=np.eye(6) * 2).results + detection("Van", NAN).results
    boxes = read([item])
    assert (boxes.names, boxes.scores.tolist()) == (("Cyclist",), [0.9])
    np.testing.assert_array_equal(boxes.covariances, [np.eye(3) * 2])


@pytest.mark.parametrize("value", [NAN, float("inf"), -1.0])
def test_what_is_no_covariance_is_unknown(value):
    covariance = np.eye(6)
    covariance[0, 0] = value
    assert not read([detection(covariance=covariance)]).covariances.any()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"score": NAN}, "a score that is not finite"),
        ({"score": float("inf")}, "a score that is not finite"),
        ({"name": " "}, "no class"),
        ({"center": (1, NAN, 3)}, "a pose or size that is not finite"),
        ({"size": (1, 2, float("inf"))}, "a pose or size that is not finite"),
    ],
)
def test_what_cannot_be_used_is_left_out_with_its_reason(changes, reason):
    boxes = read([detection(**changes), detection("Van")])
    assert (boxes.names, boxes.left_out) == (("Van",), (reason,))


def test_no_hypothesis_and_no_orientation():
    without, zero = detection(), detection()
    without.results = []
    zero.bbox.center.orientation.w = 0.0
    assert read([without, zero]).left_out == ("no hypothesis", "a quaternion of length zero or not finite")


def test_sizes_of_zero_and_scores_beyond_one_are_kept():
    boxes = read([detection(size=(0, 1, 1), score=3.5), detection(score=-1)])
    assert boxes.scores.tolist() == [3.5, -1]


def test_class_ids_by_number_name_and_map():
    names = ClassNames({"0": "car", "1": "bicycle", "7": "robot"}, {"Bicycle": "cyclist", "9": "Van"})
    boxes = read([detection(name) for name in ("0", "1", "7", "8", "9", "CAR", "bicycle", "robot")], names)
    assert boxes.names == ("Car", "Cyclist", "robot", "8", "Van", "Car", "Cyclist", "robot")


def test_a_class_map_to_no_kitti_type_is_refused():
    with pytest.raises(ConfigError, match="class map bike=Cylcist: expected one of Car, Van"):
        ClassNames({}, {"bike": "Cylcist"})


def test_frames_and_stamps_of_detections_count_where_the_arrays_are_empty():
    items = [detection(frame_id="/a", stamp_ns=5), detection(frame_id="b", stamp_ns=6)]
    boxes = read(items, stamp_ns=0, frame_id="")
    assert (boxes.frame_ids, boxes.stamp_ns) == (("a", "b"), 5)
    boxes = read(items, frame_id="/c")
    assert (boxes.frame_ids, boxes.stamp_ns) == (("c", "c"), STAMP_NS)


def test_without_any_stamp_the_bags_time_counts_and_tells_no_age():
    boxes = read([detection()], stamp_ns=0)
    assert (boxes.stamp_ns, boxes.age_ns) == (STAMP_NS + 50, None)


def test_messages_from_before_galactic():
    """ROS 1 has `int64 id`, Foxy `string id`; both keep it beside the score."""
    new = detection(covariance=np.eye(6))
    for class_id, expected in ((0, "Car"), (2, "2"), ("van", "Van")):
        result = SimpleNamespace(id=class_id, score=0.75, pose=new.results[0].pose)
        old = SimpleNamespace(header=new.header, results=[result], bbox=new.bbox)
        boxes = read([old], ClassNames({"0": "Car"}))
        assert (boxes.names, boxes.scores.tolist()) == ((expected,), [0.75])
        np.testing.assert_array_equal(boxes.covariances, [np.eye(3)])


def test_corners_in_another_frame_are_the_transformed_corners():
    target_T_source = make_transform(rotation_about_z(0.7), [1.0, -2.0, 0.5])
    boxes = read([detection(rotation=rotation_about_z(0.2))])
    here = corners_from_boxes(boxes.upright_boxes(np.eye(4)[None]))[0]
    there = corners_from_boxes(boxes.upright_boxes(target_T_source[None]))[0]
    np.testing.assert_allclose(there, transform_points(target_T_source, here), atol=1e-12)
