"""Messages of detections and frames, checked by hand numbers and by reading them back."""

from __future__ import annotations

import numpy as np
import pytest

from monotakd_ros.data.detections_to_msg import ORIENTATION_VARIANCE, DetectionMessages
from monotakd_ros.data.from_msg import camera_info_from_msg, image_from_msg, labels_from_msg, points_from_msg
from monotakd_ros.data.message_types import bag_message_types, bag_typestore
from monotakd_ros.frame import Detections3D
from monotakd_ros.geometry.boxes import corners_from_boxes
from monotakd_ros.geometry.transforms import LIDAR_TO_OPTICAL_ROTATION, make_transform, rotation_from_quaternion

STAMP_NS = 1_700_000_000_000_000_042
CAM_T_LIDAR = make_transform(LIDAR_TO_OPTICAL_ROTATION, np.zeros(3))


@pytest.fixture
def builder() -> DetectionMessages:
    return DetectionMessages(bag_message_types())


@pytest.fixture
def detections() -> Detections3D:
    return Detections3D(
        boxes_lidar=np.array([[10, 2, -1, 4, 1.6, 1.5, 0], [20, -3, 0, 1, 0.5, 1.8, 1.2]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        labels=np.array([0, 1]),
        class_names=("Car", "Pedestrian"),
        covariance_lidar=np.stack([np.diag([4, 0.25, 0.01])] * 2).astype(np.float32),
        cam_T_lidar=CAM_T_LIDAR,
    )


def serialized(message):
    """Through the wire format, as a ROS 2 machine gets it."""
    store = bag_typestore()
    return store.deserialize_cdr(store.serialize_cdr(message, message.__msgtype__), message.__msgtype__)


def rotation_of(quaternion):
    return rotation_from_quaternion(np.array([quaternion.x, quaternion.y, quaternion.z, quaternion.w]))


def test_detection_in_the_camera_frame(builder, detections):
    array = serialized(builder.detections(detections, STAMP_NS, "camera_optical"))
    assert array.header.frame_id == "camera_optical"
    assert (array.header.stamp.sec, array.header.stamp.nanosec) == (1_700_000_000, 42)
    first = array.detections[0]
    center = first.bbox.center.position
    np.testing.assert_allclose([center.x, center.y, center.z], [-2, 1, 10], atol=1e-6)
    assert (first.bbox.size.x, first.bbox.size.z) == (4, 1.5)
    # x of the box is ahead (camera z), z of the box is up (camera -y)
    axes = rotation_of(first.bbox.center.orientation)
    np.testing.assert_allclose(axes[:, 0], [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(axes[:, 2], [0, -1, 0], atol=1e-6)
    (result,) = first.results
    assert (result.hypothesis.class_id, result.hypothesis.score, first.id) == ("Car", 0.75, "")
    assert result.pose.pose == first.bbox.center


def colour_of(name):
    return (255, 0, 0) if name == "Car" else (0, 51, 255)


def test_covariance_is_rotated_with_the_box(builder, detections):
    array = serialized(builder.detections(detections, STAMP_NS, "camera_optical"))
    covariance = array.detections[0].results[0].pose.covariance.reshape(6, 6)
    # lidar x (along the ray) is camera z; lidar y is camera -x; lidar z is camera -y
    np.testing.assert_allclose(np.diag(covariance), [0.25, 0.01, 4, *ORIENTATION_VARIANCE], atol=1e-6)


def test_detections_in_another_frame(builder, detections):
    # base_link 1.5 m below a forward-looking camera and 2 m behind it: axes as lidar's
    base_T_cam = make_transform(LIDAR_TO_OPTICAL_ROTATION.T, [2.0, 0.0, 1.5])
    first = serialized(builder.detections(detections, STAMP_NS, "base_link", base_T_cam)).detections[0]
    center = first.bbox.center.position
    np.testing.assert_allclose([center.x, center.y, center.z], [12, 2, 0.5], atol=1e-6)
    np.testing.assert_allclose(rotation_of(first.bbox.center.orientation), np.eye(3), atol=1e-6)
    covariance = first.results[0].pose.covariance.reshape(6, 6)
    about_cam_z, about_cam_x, about_cam_y = (ORIENTATION_VARIANCE[axis] for axis in (2, 0, 1))
    np.testing.assert_allclose(np.diag(covariance), [4, 0.25, 0.01, about_cam_z, about_cam_x, about_cam_y], atol=1e-6)
    markers = builder.markers(detections, STAMP_NS, "base_link", colour_of, frame_T_cam=base_T_cam).markers
    assert {marker.header.frame_id for marker in markers} == {"base_link"}
    np.testing.assert_allclose(markers[1].pose.position.x, 12, atol=1e-6)
    corners = np.array([[point.x, point.y, point.z] for point in markers[2].points])
    np.testing.assert_allclose(corners.min(axis=0), [10, 1.2, -0.25], atol=1e-6)
    assert markers[3].text == "Car 0.75 10.2 m"  # from the camera, whatever the frame


def test_boxes_come_back(builder, detections):
    array = builder.detections(detections, STAMP_NS, "camera_optical")
    labels = labels_from_msg(array, np.linalg.inv(CAM_T_LIDAR))
    np.testing.assert_allclose(labels.boxes_lidar, detections.boxes_lidar, atol=1e-6)


def test_no_detections_make_an_empty_array(builder):
    nothing = Detections3D.empty(("Car",), CAM_T_LIDAR)
    assert serialized(builder.detections(nothing, STAMP_NS, "c")).detections == []
    assert [marker.action for marker in serialized(builder.markers(nothing, STAMP_NS, "c", colour_of)).markers] == [3]


def test_markers(builder, detections):
    markers = serialized(builder.markers(detections, STAMP_NS, "camera_optical", colour_of, lifetime_s=0.25)).markers
    assert markers[0].action == 3
    assert [marker.type for marker in markers[1:]] == [1, 5, 9] * 2
    assert len({(marker.ns, marker.id) for marker in markers[1:]}) == 6
    assert all(marker.header.stamp.nanosec == 42 for marker in markers)
    assert all((marker.lifetime.sec, marker.lifetime.nanosec) == (0, 250_000_000) for marker in markers[1:])
    assert markers[3].text == "Car 0.75 10.2 m"
    assert markers[3].pose.position.y < 1 - 0.75  # above the roof: camera y points down
    assert len(markers[2].points) == 24
    assert (markers[1].color.r, markers[1].color.a) == pytest.approx((1.0, 0.3))
    assert (markers[4].color.g, markers[4].color.b) == pytest.approx((0.2, 1.0))


def test_marker_edges_are_the_boxes_edges(builder, detections):
    edges = builder.markers(detections, STAMP_NS, "c", colour_of).markers[2]
    drawn = {tuple(np.round([point.x, point.y, point.z], 4) + 0.0) for point in edges.points}
    corners = corners_from_boxes(detections.boxes_lidar[:1])[0] @ CAM_T_LIDAR[:3, :3].T
    assert drawn == {tuple(np.round(corner, 4) + 0.0) for corner in corners}


def test_label_info(builder):
    info = serialized(builder.label_info(("Car", "Cyclist"), 0.25, STAMP_NS, "c"))
    assert [(item.class_id, item.class_name) for item in info.class_map] == [(0, "Car"), (1, "Cyclist")]
    assert info.threshold == 0.25


def test_sensor_messages_come_back(builder, make_frame):
    frame = make_frame(3)
    image = serialized(builder.image(frame.image, STAMP_NS, "c"))
    np.testing.assert_array_equal(image_from_msg(image, "x"), frame.image)
    png = serialized(builder.compressed_image(frame.image, "png", STAMP_NS, "c"))
    np.testing.assert_array_equal(image_from_msg(png, "x"), frame.image)
    cloud = serialized(builder.point_cloud(frame.points_lidar, STAMP_NS, "l"))
    np.testing.assert_array_equal(points_from_msg(cloud, "x"), frame.points_lidar)
    info = camera_info_from_msg(serialized(builder.camera_info(frame.camera, STAMP_NS, "c")))
    np.testing.assert_array_equal(info.P, frame.camera.img_P_cam)
    assert info.image_size == (64, 48)


class _StrictMessage:
    """Takes what rclpy's setters take: python scalars, `array.array` or numpy for numbers, only its own fields."""

    def __init__(self, message, /, **fields):
        known = dict(bag_typestore().fielddefs[message][1])
        for key, value in fields.items():
            assert key in known, f"{message} has no field {key}"
            assert not isinstance(value, (np.generic, bytes)), f"{message}.{key} is {type(value)}"
            setattr(self, key, value)


def test_values_suit_strict_message_classes(make_frame, detections):
    builder = DetectionMessages(lambda name: lambda **fields: _StrictMessage(name, **fields))
    frame = make_frame(0)
    builder.detections(detections, STAMP_NS, "c")
    builder.markers(detections, STAMP_NS, "c", colour_of)
    builder.label_info(("Car",), 0.1, STAMP_NS, "c")
    builder.image(frame.image, STAMP_NS, "c")
    builder.compressed_image(frame.image, "jpeg", STAMP_NS, "c")
    builder.camera_info(frame.camera, STAMP_NS, "c")
    builder.point_cloud(frame.points_lidar, STAMP_NS, "l")
    builder.transform(frame.world_T_lidar, "map", "l", STAMP_NS)
    builder.ground_truth(frame.labels, STAMP_NS, "l")
