"""The picture of a frame with boxes of every kind, the same as lines in 3D, and the files that pictures go into."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.geometry.boxes import boxes_img_from_lidar, corners_from_boxes
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.visualization.bev_view import BevView
from monotakd_ros.visualization.box_styles import BOX_STYLES
from monotakd_ros.visualization.camera_view import draw_camera_kinds
from monotakd_ros.visualization.palette import ASSISTANT, GROUND_TRUTH, TEACHER, UNCERTAIN_BOX, class_colour
from monotakd_ros.visualization.picture_files import PictureFiles
from monotakd_ros.visualization.preview_picture import WIDTH_PX, draw_preview
from monotakd_ros.visualization.scene_geometry import box_lines, coloured_cloud, height_colours, view_lines

CAM_T_LIDAR = nominal_cam_T_lidar()
BOX = [12.0, 1.0, -0.9, 4.0, 1.7, 1.6, 0.0]
KIND_COLOURS = {
    "labels": class_colour("Car"),
    "uncertain": UNCERTAIN_BOX,
    "teacher": TEACHER,
    "assistant": ASSISTANT,
    "truth": GROUND_TRUTH,
}


def labels(*boxes: list[float], name: str = "Car") -> Labels3D:
    count = len(boxes)
    array = np.array(boxes, dtype=np.float64).reshape(-1, 7)
    unknown = np.full((count, 4), np.nan)
    return Labels3D(array, (name,) * count, np.zeros(count), np.zeros(count, np.int64), unknown, scores=np.ones(count))


def make_frame(width: int = 620, height: int = 188, points: np.ndarray | None = None) -> Frame:
    camera = CameraModel.from_intrinsics(0.6 * width, 0.6 * width, width / 2, height / 2, width, height)
    image = np.full((height, width, 3), 90, np.uint8)
    return Frame("000001", 0, image, camera, cam_T_lidar=CAM_T_LIDAR, points_lidar=points)


def pixels(picture: np.ndarray, colour: tuple[int, int, int], within: int = 24) -> np.ndarray:
    return np.argwhere((np.abs(picture.astype(int) - colour) <= within).all(axis=-1))


@pytest.mark.parametrize("kind", list(KIND_COLOURS))
def test_from_above_each_kind_is_drawn_in_its_colour(kind):
    view = BevView()
    empty, drawn = (view.draw_kinds(make_frame(), boxes) for boxes in ({kind: labels()}, {kind: labels(BOX)}))
    changed = np.argwhere((empty != drawn).any(axis=-1))
    grow = 0.25 if kind == "teacher" else 0.0
    corner = view.to_px(np.array([[14.0 + grow, 1.85 + grow]]))[0]
    assert changed.min(axis=0)[::-1] == pytest.approx(corner, abs=3)
    drawn[(empty == drawn).all(axis=-1)] = 0
    for other, colour in KIND_COLOURS.items():
        assert (len(pixels(drawn, colour)) > 8) == (other == kind)


def test_in_the_image_labels_have_their_class_and_the_guides_are_not_shown():
    frame = make_frame()
    for kind, colour in KIND_COLOURS.items():
        picture = draw_camera_kinds(frame, {kind: labels(BOX)})
        if kind in ("teacher", "assistant"):
            assert np.array_equal(picture, frame.image)
        else:
            left, _, right, bottom = boxes_img_from_lidar(np.array([BOX]), CAM_T_LIDAR, frame.camera)[0]
            rows, columns = np.argwhere((picture != frame.image).any(axis=-1)).T
            assert (columns.min(), rows.max()) == pytest.approx((left, bottom), abs=3)
            assert pixels(picture, colour, 60)[:, 1].max() == pytest.approx(right, abs=3)
    pedestrian = draw_camera_kinds(frame, {"labels": labels(BOX, name="Pedestrian")})
    assert len(pixels(pedestrian, class_colour("Pedestrian"))) and not len(pixels(pedestrian, class_colour("Car")))
    without = Frame("1", 0, frame.image, frame.camera)
    assert np.array_equal(draw_camera_kinds(without, {"labels": labels(BOX)}), frame.image)


@pytest.mark.parametrize(("width", "height"), [(1242, 375), (1920, 1080), (640, 480), (160, 64)])
def test_a_picture_is_as_wide_whatever_the_camera(width, height):
    cloud = np.array([[10, 0, 0, 0.5], [20, 3, 1, 0.5], [np.nan, 0, 0, 0]], dtype=np.float32)
    picture = draw_preview(make_frame(width, height, cloud), {"labels": labels(BOX)}, "caption")
    assert picture.dtype == np.uint8
    assert picture.shape[1] == pytest.approx(WIDTH_PX, abs=4)
    assert picture.shape[0] % 2 == 0 and picture.shape[1] % 2 == 0


def test_the_legend_names_what_is_there():
    frame = make_frame()
    bars = {kind: draw_preview(frame, {"labels": labels(BOX), kind: labels(BOX)})[:28, 1000:] for kind in KIND_COLOURS}
    for kind, bar in bars.items():
        assert len(pixels(bar, KIND_COLOURS[kind], 8)) > 20
        assert np.array_equal(bar, bars["labels"]) == (kind == "labels")


def test_frames_that_lack_something_are_drawn():
    frame = make_frame()
    for boxes in ({}, {"labels": labels()}, {kind: labels(BOX) for kind in BOX_STYLES}):
        draw_preview(frame, boxes)
        draw_preview(Frame("1", 0, frame.image, frame.camera), boxes)


def test_lines_of_a_box():
    lines = box_lines(labels(BOX, [20.0, 0.0, 0.0, 2.0, 1.0, 1.0, np.pi / 2]), "labels")
    assert lines.points.shape == (20, 3) and lines.segments.shape == (26, 2) and lines.colours.shape == (26, 3)
    np.testing.assert_allclose(lines.points[:8], corners_from_boxes(np.array([BOX]))[0])
    np.testing.assert_allclose(lines.colours[0], np.array(class_colour("Car")) / 255)
    length = np.linalg.norm(np.diff(lines.points[lines.segments], axis=1)[:, 0], axis=1)
    np.testing.assert_allclose(np.sort(length[:12]), [1.6] * 4 + [1.7] * 4 + [4.0] * 4)
    np.testing.assert_allclose(lines.points[9] - lines.points[8], [3.5, 0, 0], atol=1e-12)  # 1.75 half lengths, ahead
    np.testing.assert_allclose(lines.points[19] - lines.points[18], [0, 1.75, 0], atol=1e-12)
    assert lines.segments.max() == 19 and lines.segments.dtype == np.int32
    assert box_lines(labels(), "truth").points.shape == (0, 3)


def test_the_teachers_lines_lie_outside_of_the_labels():
    teacher, label = (box_lines(labels(BOX), kind).points for kind in ("teacher", "labels"))
    np.testing.assert_allclose(np.abs(teacher[:8] - label[:8]), np.tile([0.25, 0.25, 0.0], (8, 1)))


def test_the_camera_in_the_scene():
    lines = view_lines(make_frame(), reach_m=6.0)
    np.testing.assert_allclose(lines.points[0], np.linalg.inv(CAM_T_LIDAR)[:3, 3])
    depth = (lines.points - lines.points[0]) @ np.linalg.inv(CAM_T_LIDAR)[:3, 2]
    np.testing.assert_allclose(depth, [0, 6, 6, 6, 6])
    assert len(view_lines(Frame("1", 0, make_frame().image, make_frame().camera)).segments) == 0


def test_clouds_by_height_and_by_image():
    cloud = np.array([[10, 0, 0, 1], [10, 0, -5, 1], [-10, 0, 9, 1], [np.inf, 0, 0, 1]], dtype=np.float32)
    frame = make_frame(points=cloud)
    frame.image[...] = (10, 200, 30)
    points, colours = coloured_cloud(frame, "height")
    assert points.shape == (3, 3)
    np.testing.assert_allclose(colours, height_colours(np.array([0.0, -5.0, 9.0])))
    np.testing.assert_allclose(colours[1:], np.array([(44, 66, 98), (238, 232, 206)]) / 255)
    by_image = coloured_cloud(frame, "image")[1]
    np.testing.assert_allclose(by_image[0], np.array([10, 200, 30]) / 255)
    np.testing.assert_allclose(by_image[2], colours[2])  # behind the camera
    assert coloured_cloud(make_frame(), "image")[0].shape == (0, 3)


def test_picture_files(tmp_path):
    files = PictureFiles(tmp_path, {"frames", "strip"}, expected=3)
    for number in range(3):
        assert files.wanted
        files.add(f"a/{number}", number, np.full((20, 40, 3), 50 * number, np.uint8))
    assert files.close() == {"strip": "strip.png", "frames": "frames"}
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["a_0.png", "a_1.png", "a_2.png"]
    assert cv2.imread(str(tmp_path / "frames" / "a_2.png"))[0, 0].tolist() == [100, 100, 100]
    (tmp_path / "none").mkdir()
    empty = PictureFiles(tmp_path / "none", {"frames", "strip", "video"}, expected=0)
    assert empty.close() == {} and not list((tmp_path / "none").iterdir())
