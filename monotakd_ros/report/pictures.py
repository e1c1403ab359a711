"""The pictures of the report's frames: camera beside the view from above, or the latter alone where no image is known.

Drawn are the results at or above the operating score, the wrong box that the text names, and all ground truth; what is
wrong or missed is marked (`visualization.marks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import DONT_CARE, NO_LOCATION, Detections3D, Frame, KittiFrame, Labels3D
from monotakd_ros.geometry.boxes import lidar_boxes_from_kitti
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.report.frame_choice import Choice, Kind, choose_frames
from monotakd_ros.report.gathered import Scenes
from monotakd_ros.visualization.bev_view import BevView
from monotakd_ros.visualization.marks import Marks
from monotakd_ros.visualization.picture import draw_from_above, draw_picture

MAX_WIDTH_PX = 1400
MAX_HEIGHT_PX = 480
HEIGHT_ALONE_PX = 640
JPEG_QUALITY = 85
REACH_M = (40.0, 100.0)
"""The view from above ends beyond the farthest box, within these limits."""
KIND_WORDS: dict[Kind, str] = {
    "best": "Best",
    "worst": "Most mistakes",
    "confident_wrong": "Most confident mistake",
}


@dataclass(frozen=True)
class Picture:
    """One picture of the report.

    Attributes:
        kind: why its frame was chosen.
        name: of the frame.
        text: what is to be seen.
        jpeg: the encoded picture.
        width: px.
        height: px.
        alt: the picture in words, for those who do not see it.
    """

    kind: Kind
    name: str
    text: str
    jpeg: bytes
    width: int
    height: int
    alt: str


def draw_pictures(
    frames: Sequence[EvaluationFrame], scores: Mapping[str, float | None], scenes: Scenes, count: int = 2
) -> list[Picture]:
    """Choose frames and draw them.

    Args:
        frames: both sides.
        scores: class -> operating score.
        scenes: finds the images.
        count: frames of each kind, at most.
    """
    choices = choose_frames(frames, scores, count)
    found = scenes([choice.name for choice in choices]) if choices else {}
    by_name = {frame.name: frame for frame in frames}
    return [draw_choice(by_name[choice.name], found.get(choice.name), choice) for choice in choices]


def draw_choice(frame: EvaluationFrame, scene: Frame | None, choice: Choice) -> Picture:
    """Draw one frame.

    Args:
        frame: both sides.
        scene: its image, camera and, where known, cloud; None draws the view from above alone.
        choice: why it is shown, and the verdicts on its boxes.
    """
    shown = choice.verdict.shown.copy()
    if choice.named is not None:
        shown[choice.named] = True
    cam_T_lidar = nominal_cam_T_lidar() if scene is None or scene.cam_T_lidar is None else scene.cam_T_lidar
    shown &= _is_placed(frame.results)
    labelled = _is_placed(frame.truth)
    detections = _detections(frame, cam_T_lidar).select(shown)
    stage = replace(
        scene or _empty_scene(frame.name), cam_T_lidar=cam_T_lidar, labels=_labels(frame.truth, cam_T_lidar)
    )
    stage = replace(stage, labels=stage.labels.select(labelled))
    marks = Marks(choice.verdict.wrong[shown], choice.verdict.missed[labelled])
    view = _view(stage, detections, scene is not None)
    image = (
        draw_picture(stage, detections, "", view, marks) if scene else draw_from_above(stage, detections, view, marks)
    )
    return _encode(image, choice, has_camera=scene is not None)


def _labels(truth: KittiFrame, cam_T_lidar: np.ndarray) -> Labels3D:
    boxes = lidar_boxes_from_kitti(truth.hwl, truth.location_cam, truth.rotation_y, cam_T_lidar)
    return Labels3D(boxes, truth.names, truth.truncation, truth.occlusion, truth.bbox_px)


def _detections(frame: EvaluationFrame, cam_T_lidar: np.ndarray) -> Detections3D:
    results = frame.results
    boxes = lidar_boxes_from_kitti(results.hwl, results.location_cam, results.rotation_y, cam_T_lidar)
    class_names = tuple(dict.fromkeys(results.names))
    covariance_cam = np.zeros((len(results), 3, 3)) if frame.covariance_cam is None else frame.covariance_cam
    rotation = cam_T_lidar[:3, :3]
    return Detections3D(
        boxes.astype(np.float32),
        results.score.astype(np.float32),
        np.array([class_names.index(name) for name in results.names], dtype=np.int64),
        class_names,
        (rotation.T @ covariance_cam @ rotation).astype(np.float32),
        cam_T_lidar,
    )


def _is_placed(side: KittiFrame) -> np.ndarray:
    """(N,) bool: whether each row is a box in 3D."""
    region = np.array([name == DONT_CARE for name in side.names], dtype=bool)
    return ~region & (side.location_cam != NO_LOCATION).all(axis=1) & (side.hwl > 0).all(axis=1)


def _empty_scene(name: str) -> Frame:
    """A stand-in where no image is known; its camera is not drawn."""
    camera = CameraModel.from_intrinsics(1.0, 1.0, 0.0, 0.0, 1, 1)
    return Frame(name, 0, np.zeros((1, 1, 3), dtype=np.uint8), camera)


def _view(stage: Frame, detections: Detections3D, has_camera: bool) -> BevView:
    """The view from above, as high as fits beside the camera image and as far as the boxes reach."""
    boxes = np.concatenate([stage.labels.boxes_lidar[:, :2], detections.boxes_lidar[:, :2]])
    farthest = max(boxes[:, 0].max(initial=0.0), 1.2 * np.abs(boxes[:, 1]).max(initial=0.0)) + 6.0
    reach = float(np.clip(np.ceil(farthest), *REACH_M))
    near, left = -4.0, 0.5 * (reach + 4.0)
    if not has_camera:
        return BevView(HEIGHT_ALONE_PX, (near, reach), left, field_of_view=False)
    aspect = stage.camera.width / stage.camera.height + 2 * left / (reach - near)
    height = min(MAX_HEIGHT_PX, int((MAX_WIDTH_PX - 4) / aspect))
    return BevView(height - height % 2, (near, reach), left)


def _encode(image: np.ndarray, choice: Choice, has_camera: bool) -> Picture:
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done, "JPEG encoding of a uint8 picture cannot fail"
    views = "Camera image beside the view from above" if has_camera else "View from above"
    alt = f"{views} of frame {choice.name} with detected and labelled boxes: {choice.text}."
    return Picture(choice.kind, choice.name, choice.text, jpeg.tobytes(), image.shape[1], image.shape[0], alt)
