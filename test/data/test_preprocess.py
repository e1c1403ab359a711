import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.config import InputConfig
from monotakd_ros.data.preprocess import collate, frame_notes, image_map, prepare
from monotakd_ros.errors import FrameError
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import (
    LIDAR_HEIGHT_M,
    make_transform,
    nominal_cam_T_lidar,
    rotation_about_z,
    transform_points,
)

NETWORK = InputConfig(width=320, height=96, focal_px=180.0, center_px=(156.0, 43.0), trained_scale=(0.25, 1.0))
CLASSES = ("Car", "Pedestrian", "Cyclist")


def make_frame(fx=721.5, fy=721.5, cx=609.6, cy=172.9, width=1242, height=375, **fields) -> Frame:
    camera = CameraModel.from_intrinsics(fx, fy, cx, cy, width, height)
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Frame(name="000001", stamp_ns=0, image=image, camera=camera, **fields)


def make_labels(boxes, names) -> Labels3D:
    count = len(names)
    return Labels3D(
        np.array(boxes, dtype=float).reshape(-1, 7),
        tuple(names),
        np.zeros(count),
        np.zeros(count, dtype=np.int64),
        np.full((count, 4), np.nan),
    )


@given(
    focal=st.floats(100, 3000),
    cx=st.floats(200, 1000),
    cy=st.floats(100, 300),
    x=st.floats(-10, 10),
    y=st.floats(-2, 2),
    z=st.floats(3, 60),
)
def test_network_camera_keeps_viewing_angles(focal, cx, cy, x, y, z):
    """A point lands where the pinhole of the network's focal length and centre puts it, within the rounding."""
    camera = CameraModel.from_intrinsics(focal, focal, cx, cy, 1242, 375)
    mapped = image_map(camera, NETWORK).camera
    uv, _ = mapped.project(np.array([[x, y, z]]))
    ideal = np.array([156.0 + 180 * x / z, 43.0 + 180 * y / z])
    resize_rounding = np.abs(ideal - [156.0, 43.0]) * 0.5 / min(image_map(camera, NETWORK).resized)
    assert np.all(np.abs(uv[0] - ideal) <= 0.5 + resize_rounding + 1e-6)


def test_pixels_move_with_their_camera():
    """A bright dot drawn at a projected point is found where the network camera projects the point."""
    camera = CameraModel.from_intrinsics(720.0, 720.0, 600.0, 170.0, 1240, 372)
    point = np.array([[1.5, 0.4, 12.0]])
    uv, _ = camera.project(point)
    image = np.zeros((372, 1240, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:372, :1240]
    image[(rows - uv[0, 1]) ** 2 + (columns - uv[0, 0]) ** 2 < 36] = 255
    prepared = prepare(Frame("a", 0, image, camera), NETWORK, CLASSES)
    mass = prepared.image[..., 0].astype(float)
    rows, columns = np.mgrid[: mass.shape[0], : mass.shape[1]]
    found = np.array([(mass * columns).sum(), (mass * rows).sum()]) / mass.sum()
    expected, _ = CameraModel(prepared.img_P_cam, 320, 96).project(point)
    np.testing.assert_allclose(found, expected[0], atol=0.1)


def test_native_input_is_left_alone():
    frame = make_frame()
    prepared = prepare(frame, InputConfig(), CLASSES)
    assert prepared.image is frame.image
    np.testing.assert_array_equal(prepared.img_P_cam, frame.camera.img_P_cam)
    np.testing.assert_array_equal(prepared.valid_px, [0, 0, 1242, 375])


def test_small_image_is_padded_and_noted():
    prepared = prepare(make_frame(fx=720, fy=720, cx=200, cy=100, width=400, height=200), NETWORK, CLASSES)
    left, top, right, bottom = prepared.valid_px.astype(int)
    assert (right - left, bottom - top) == (100, 50)
    assert prepared.image[:top].max(initial=0) == 0 and prepared.image[:, right:].max() == 0
    assert any("field of view" in note for note in prepared.notes)


def test_scale_beyond_training_is_noted():
    notes = prepare(make_frame(fx=100, fy=100), NETWORK, CLASSES).notes
    assert any("scaled by 1.80" in note and "100 px" in note and "180 px" in note for note in notes)
    assert not any("scaled" in note for note in prepare(make_frame(fx=180, fy=180), NETWORK, CLASSES).notes)
    unknown = dataclasses.replace(NETWORK, trained_scale=None)
    assert not any("scaled" in note for note in prepare(make_frame(fx=100, fy=100), unknown, CLASSES).notes)


def test_missing_extrinsic_uses_the_level_mount_and_says_so():
    prepared = prepare(make_frame(), NETWORK, CLASSES)
    np.testing.assert_allclose(prepared.cam_T_lidar, nominal_cam_T_lidar(1.65 - 1.73))
    assert any("no LiDAR extrinsic" in note for note in prepared.notes)


def test_turned_lidar_is_replaced_and_labels_follow():
    """nuScenes-like axes (x right, y forward): the box 10 m ahead stays 10 m ahead of the camera."""
    turn = make_transform(rotation_about_z(-np.pi / 2), np.zeros(3))
    cam_T_lidar = nominal_cam_T_lidar() @ turn
    labels = make_labels([[1.0, 10.0, -1.0, 4.0, 1.8, 1.5, np.pi / 2]], ["Car"])
    prepared = prepare(make_frame(cam_T_lidar=cam_T_lidar, labels=labels), NETWORK, CLASSES)
    assert any("turned by 90 degrees" in note for note in prepared.notes)
    before = transform_points(cam_T_lidar, labels.boxes_lidar[:, :3])
    after = transform_points(prepared.cam_T_lidar, prepared.boxes_lidar[:, :3].astype(float))
    np.testing.assert_allclose(before, after, atol=1e-5)
    assert prepared.boxes_lidar[0, 6] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("height_m", "noted"), [(1.65, False), (1.8, False), (1.3, True), (2.2, True)])
def test_a_camera_at_another_height_than_in_training_is_noted(height_m, noted):
    frame = make_frame(cam_T_lidar=nominal_cam_T_lidar(height_m - LIDAR_HEIGHT_M))
    assert any("training saw 1.65 m: without LiDAR" in note for note in frame_notes(frame, NETWORK)) == noted
    trained_there = dataclasses.replace(NETWORK, camera_height_m=height_m)
    assert not any("m above the road" in note for note in frame_notes(frame, trained_there))


def test_label_classes_neighbours_and_strangers():
    labels = make_labels(np.tile([10, 0, -1, 4, 2, 1.5, 0.0], (4, 1)), ["Cyclist", "Van", "Truck", "Car"])
    prepared = prepare(make_frame(labels=labels), NETWORK, CLASSES)
    np.testing.assert_array_equal(prepared.labels, [2, -1, 0])
    empty = prepare(make_frame(labels=Labels3D.empty()), NETWORK, CLASSES)
    assert empty.boxes_lidar.shape == (0, 7) and empty.labels.shape == (0,)


def test_objects_that_the_image_does_not_show_are_neither_right_nor_wrong():
    """As in a recording whose boxes go all around the vehicle."""
    beside, behind, cut, ahead = [10, 20, -1], [-10, 0, -1], [1.5, 2, -1], [10, 0, -1]
    boxes = [[*centre, 4, 2, 1.5, 0.0] for centre in (beside, behind, cut, ahead)]
    prepared = prepare(make_frame(labels=make_labels(boxes, ["Car"] * 4)), NETWORK, CLASSES)
    assert len(prepared.boxes_lidar) == 4
    np.testing.assert_array_equal(prepared.labels, [-1, -1, 0, 0])


def test_cloud_lands_on_its_pixels_and_bad_points_are_dropped():
    points = np.array([[10, 0, 0, 1], [np.nan, 0, 0, 1], [-10, 0, 0, 1], [10, 30, 0, 1]], dtype=np.float32)
    prepared = prepare(make_frame(points_lidar=points, cam_T_lidar=nominal_cam_T_lidar()), NETWORK, CLASSES)
    assert prepared.points_img.shape == (1, 3)
    assert prepared.points_img[0, 2] == pytest.approx(10 - 0.27, abs=1e-5)


def test_wrong_image_is_a_frame_error():
    frame = make_frame()
    with pytest.raises(FrameError, match=r"000001.*1242"):
        prepare(Frame("000001", 0, frame.image[:-1], frame.camera), NETWORK, CLASSES)
    with pytest.raises(FrameError, match="float64"):
        prepare(Frame("000001", 0, frame.image.astype(float), frame.camera), NETWORK, CLASSES)


@settings(max_examples=20)
@given(sizes=st.lists(st.tuples(st.integers(8, 40), st.integers(8, 40)), min_size=1, max_size=3))
def test_collate_pads_to_the_largest(sizes):
    frames = [
        prepare(make_frame(cx=5, cy=5, width=width, height=height), InputConfig(), CLASSES) for width, height in sizes
    ]
    batch = collate(frames)
    assert batch.images.shape == (len(sizes), 3, max(h for _, h in sizes), max(w for w, _ in sizes))
    assert batch.boxes_lidar is None
    for image, frame, (width, height) in zip(batch.images, frames, sizes):
        np.testing.assert_array_equal(image[:, :height, :width].permute(1, 2, 0).numpy(), frame.image)


def test_collate_needs_a_frame():
    with pytest.raises(ValueError, match="at least one"):
        collate([])


def test_labels_of_a_detector():
    """What its maker is not sure of is neither object nor background; scores stay with their boxes."""
    names = ["Car", "Uncertain_Car", "Uncertain_Truck", "Cyclist"]
    labels = make_labels(np.tile([10, 0, -1, 4, 2, 1.5, 0.0], (4, 1)), names)
    labels = dataclasses.replace(labels, scores=np.array([0.9, 0.3, 0.4, 0.8]))
    prepared = prepare(make_frame(cam_T_lidar=nominal_cam_T_lidar(), labels=labels), NETWORK, CLASSES)
    assert prepared.labels.tolist() == [0, -1, 2]
    np.testing.assert_array_equal(prepared.label_scores, np.array([0.9, 0.3, 0.8], dtype=np.float32))
