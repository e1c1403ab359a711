"""Pictures: geometry of what is drawn, odd frames, and files that open again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.frame import Detections3D, Frame, Labels3D
from monotakd_ros.geometry.boxes import boxes_img_from_lidar
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.visualization import drawing
from monotakd_ros.visualization.bev_view import BevView
from monotakd_ros.visualization.camera_view import draw_camera_view
from monotakd_ros.visualization.film import ContactStrip, VideoFile, fit
from monotakd_ros.visualization.marks import Marks
from monotakd_ros.visualization.palette import FIELD_OF_VIEW, GROUND_TRUTH, MISSED, WRONG, class_colour
from monotakd_ros.visualization.picture import BAR_PX, draw_from_above, draw_picture

CAM_T_LIDAR = nominal_cam_T_lidar()
AHEAD = [12.0, 1.0, -0.9, 4.0, 1.7, 1.6, 0.3]
AROUND_CAMERA = [0.2, 0.0, 0.0, 6.0, 4.0, 3.0, 0.0]
BEHIND = [-12.0, 1.0, -0.9, 4.0, 1.7, 1.6, 0.3]


def make_frame(boxes: list[list[float]] | None = None, **changes) -> Frame:
    labels = None
    if boxes is not None:
        count = len(boxes)
        array = np.array(boxes).reshape(-1, 7)
        labels = Labels3D(array, ("Car",) * count, np.zeros(count), np.zeros(count, int), np.full((count, 4), np.nan))
    camera = CameraModel.from_intrinsics(360.0, 360.0, 310.0, 90.0, 620, 188)
    frame = Frame("000001", 0, np.full((188, 620, 3), 90, np.uint8), camera, cam_T_lidar=CAM_T_LIDAR, labels=labels)
    return replace(frame, **changes)


def make_detections(boxes: list[list[float]]) -> Detections3D:
    count = len(boxes)
    return Detections3D(
        np.array(boxes, dtype=np.float32).reshape(-1, 7),
        np.linspace(0.9, 0.3, count, dtype=np.float32),
        np.zeros(count, dtype=np.int64),
        ("Car", "Pedestrian"),
        np.tile(np.eye(3, dtype=np.float32) * 0.4, (count, 1, 1)),
        CAM_T_LIDAR,
    )


def has_colour(picture: np.ndarray, colour: tuple[int, int, int], within: int = 3) -> np.ndarray:
    return np.argwhere((np.abs(picture.astype(int) - colour) <= within).all(axis=-1))


def test_box_is_drawn_where_it_projects() -> None:
    picture = draw_camera_view(make_frame(), make_detections([AHEAD]), scale=1.0)
    rows = has_colour(picture, class_colour("Car"))
    left, top, right, bottom = boxes_img_from_lidar(np.array([AHEAD]), CAM_T_LIDAR, make_frame().camera)[0]
    rows = rows[rows[:, 0] >= top]  # above it stands the tag, as wide as the font makes it
    assert rows[:, 1].min() == pytest.approx(left, abs=2)
    assert rows[:, 1].max() == pytest.approx(right, abs=2)
    assert rows[:, 0].max() == pytest.approx(bottom, abs=2)


def test_scaled_view_draws_the_same_place() -> None:
    picture = draw_camera_view(make_frame(), make_detections([AHEAD]), scale=1.5)
    left = boxes_img_from_lidar(np.array([AHEAD]), CAM_T_LIDAR, make_frame().camera)[0][0]
    assert picture.shape == (282, 930, 3)
    assert has_colour(picture, class_colour("Car"))[:, 1].min() == pytest.approx(1.5 * left, abs=3)


def test_ground_truth_has_its_own_colour() -> None:
    picture = draw_camera_view(make_frame([AHEAD]), None)
    greenish = picture[..., 1].astype(int) - picture[..., 0] > 40
    assert greenish.sum() > 50
    assert (picture[greenish][:, 1] <= GROUND_TRUTH[1]).all()
    assert len(has_colour(picture, class_colour("Car"))) == 0


def test_boxes_behind_and_around_the_camera_do_not_break_the_picture() -> None:
    assert np.array_equal(draw_camera_view(make_frame(), make_detections([BEHIND])), make_frame().image)
    draw_picture(make_frame([AROUND_CAMERA, BEHIND]), make_detections([AROUND_CAMERA, BEHIND]))


def test_wrong_and_missed_boxes_are_marked_in_both_views() -> None:
    beside = [12.0, -4.0, -0.9, 4.0, 1.7, 1.6, 0.3]
    frame, detections = make_frame([beside]), make_detections([AHEAD])
    marks = Marks(np.array([True]), np.array([True]))
    view = BevView()
    plain_camera, plain_bev = draw_camera_view(frame, detections), view.draw(frame, detections)
    camera, bev = draw_camera_view(frame, detections, marks=marks), view.draw(frame, detections, marks)
    for picture, plain in ((camera, plain_camera), (bev, plain_bev)):
        for colour in (WRONG, MISSED):
            assert (
                len(has_colour(picture, colour, 90)) > len(has_colour(plain, colour, 90)) + 20
            )  # thin lines are blurred
    crossed = has_colour(bev, WRONG).mean(axis=0)[::-1]
    assert crossed == pytest.approx(view.to_px(np.array([AHEAD[:2]]))[0], abs=1.5)
    assert len(has_colour(bev, class_colour("Car"), 90)) > 20
    nothing = Marks.none(1, 1)
    assert np.array_equal(draw_camera_view(frame, detections, marks=nothing), plain_camera)
    assert np.array_equal(view.draw(frame, detections, nothing), plain_bev)


def test_the_view_from_above_alone_has_a_bar() -> None:
    frame, detections = make_frame([AHEAD]), make_detections([AHEAD])
    picture = draw_from_above(frame, detections, BevView(300, field_of_view=False), Marks.none(1, 1))
    assert picture.shape == (300 + BAR_PX, BevView(300).width_px, 3)
    assert len(has_colour(picture, FIELD_OF_VIEW)) < len(
        has_colour(BevView(300).draw(frame, detections), FIELD_OF_VIEW)
    )


def test_bev_puts_forward_up_and_left_left() -> None:
    view = BevView(height_px=100, forward_m=(0.0, 50.0), left_m=25.0)
    assert view.to_px(np.array([[50.0, 25.0], [0.0, -25.0], [25.0, 0.0]])).tolist() == [[0, 0], [100, 100], [50, 50]]
    picture = view.draw(make_frame(), make_detections([AHEAD]))
    rows = has_colour(picture, class_colour("Car"))
    assert rows[:, 1].mean() < 50
    assert rows[:, 0].mean() == pytest.approx(100 - 24, abs=4)


def test_detections_of_another_lidar_frame_land_in_the_shown_one() -> None:
    """The same box, given relative to a lidar one metre further ahead, covers the same pixels."""
    moved = CAM_T_LIDAR.copy()
    moved[2, 3] += 1.0
    shifted = replace(make_detections([[AHEAD[0] - 1.0, *AHEAD[1:]]]), cam_T_lidar=moved)
    view = BevView()
    difference = cv2.absdiff(view.draw(make_frame(), shifted), view.draw(make_frame(), make_detections([AHEAD])))
    assert (difference > 60).mean() < 1e-4


def test_frames_without_cloud_lidar_labels_or_boxes_are_drawn() -> None:
    points = np.random.default_rng(0).uniform(-60, 60, (500, 4)).astype(np.float32)
    for frame in (make_frame(cam_T_lidar=None), make_frame([]), make_frame(points_lidar=points)):
        for detections in (None, make_detections([]), make_detections([AHEAD])):
            picture = draw_picture(frame, detections, "000001   0.0 s")
            assert picture.dtype == np.uint8
            assert picture.shape[0] % 2 == 0
            assert picture.shape[1] % 2 == 0


def test_tall_image_keeps_its_shape() -> None:
    camera = CameraModel.from_intrinsics(900.0, 900.0, 960.0, 540.0, 1920, 1080)
    frame = make_frame(image=np.zeros((1080, 1920, 3), np.uint8), camera=camera)
    assert draw_picture(frame, make_detections([AHEAD])).shape[0] == 510


coordinate = st.floats(-1e7, 1e7)


@settings(max_examples=200, deadline=None)
@given(coordinate, coordinate, coordinate, coordinate)
def test_clipped_segments_stay_near_the_canvas_and_on_the_line(x0: float, y0: float, x1: float, y1: float) -> None:
    start, end = np.array([x0, y0]), np.array([x1, y1])
    clipped = drawing.clip_segment(start, end, 100, 50)
    if clipped is None:
        return
    for point in clipped:
        assert (point >= -8.01).all()
        assert (point <= (107.01, 57.01)).all()
    drawing.line(np.zeros((50, 100, 3), np.uint8), start, end, (255, 255, 255), 1)


def test_text_outside_the_canvas_is_cut() -> None:
    canvas = np.zeros((20, 40, 3), np.uint8)
    for left, top in ((-10, -5), (35, 15), (100, 100), (-500, 3)):
        drawing.put_text(canvas, "Car 0.93", left, top, (255, 255, 255))
    assert canvas.any()


def test_video_opens_again(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "video.mp4", 10.0)
    for level in range(5):
        video.add(np.full((100, 200 + 20 * (level == 3), 3), 40 * level, np.uint8))
    if not video.close():
        pytest.skip("this OpenCV has no MP4 encoder")
    reader = cv2.VideoCapture(str(tmp_path / "video.mp4"))
    assert int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) == 5
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
    reader.release()


def test_video_without_pictures_leaves_no_file(tmp_path: Path) -> None:
    assert VideoFile(tmp_path / "video.mp4", 10.0).close() is False
    assert list(tmp_path.iterdir()) == []


def test_strip_takes_pictures_evenly(tmp_path: Path) -> None:
    strip = ContactStrip(tmp_path / "strip.png", expected=9, rows=3, width_px=40)
    for level in range(9):
        strip.add(np.full((20, 40, 3), 20 * level, np.uint8) if strip.wants_next() else None)
    assert strip.close()
    picture = cv2.imread(str(tmp_path / "strip.png"))
    assert picture.shape == (3 * 20 + 2 * 4, 40, 3)
    assert [int(picture[row, 0, 0]) for row in (10, 34, 58)] == [0, 80, 160]


def test_fit_keeps_the_aspect_ratio() -> None:
    fitted = fit(np.full((10, 10, 3), 255, np.uint8), (40, 20))
    assert fitted.shape == (20, 40, 3)
    assert (fitted[:, 10:30] == 255).all()
    assert (fitted[:, :9] < 255).all()
