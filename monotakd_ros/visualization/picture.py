"""One picture of a frame: camera view beside the view from above, with a bar that names what is drawn."""

from __future__ import annotations

import numpy as np

from monotakd_ros.frame import Detections3D, Frame
from monotakd_ros.visualization import drawing
from monotakd_ros.visualization.bev_view import BevView
from monotakd_ros.visualization.camera_view import draw_camera_view
from monotakd_ros.visualization.palette import BAR, FAINT_INK, GROUND_TRUTH, INK, class_colour

BAR_PX = 30
MAX_CAMERA_WIDTH_PX = 1600
TEXT_PX = 14.0
DEFAULT_VIEW = BevView()


def draw_picture(
    frame: Frame, detections: Detections3D | None, caption: str = "", view: BevView = DEFAULT_VIEW
) -> np.ndarray:
    """Draw one frame.

    Args:
        frame: image, camera and, where known, cloud and labels.
        detections: boxes; None when the detector was not run.
        caption: ASCII text at the lower left.
        view: the view from above; its height is the picture's.

    Returns:
        (H, W, 3) uint8 RGB; height and width are even, as video encoders ask.
    """
    above = view.draw(frame, detections)
    scale = min(view.height_px / frame.camera.height, MAX_CAMERA_WIDTH_PX / frame.camera.width)
    camera = draw_camera_view(frame, detections, scale)
    width = camera.shape[1] + 2 + above.shape[1]
    canvas = np.full((view.height_px + BAR_PX, width + width % 2, 3), BAR, dtype=np.uint8)
    top = (view.height_px - camera.shape[0]) // 2
    canvas[top : top + camera.shape[0], : camera.shape[1]] = camera[: view.height_px - top]
    canvas[: view.height_px, camera.shape[1] + 2 : width] = above
    _draw_bar(canvas[view.height_px :], caption, _legend(frame, detections))
    return canvas


def _legend(frame: Frame, detections: Detections3D | None) -> list[tuple[str, tuple[int, int, int]]]:
    entries = []
    if detections is not None:
        entries += [(name, class_colour(name)) for name in detections.class_names]
    if frame.labels is not None:
        entries.append(("ground truth", GROUND_TRUTH))
    return entries


def _draw_bar(bar: np.ndarray, caption: str, legend: list[tuple[str, tuple[int, int, int]]]) -> None:
    text_top = (BAR_PX - drawing.text_size(caption or " ", TEXT_PX)[1]) / 2
    drawing.put_text(bar, caption, 10, text_top, INK, TEXT_PX)
    right = bar.shape[1] - 10
    for name, colour in reversed(legend):
        right -= drawing.text_size(name, TEXT_PX)[0]
        drawing.put_text(bar, name, right, text_top, FAINT_INK, TEXT_PX)
        draw = drawing.dashed_line if colour == GROUND_TRUTH else drawing.line
        draw(bar, np.array([right - 30, BAR_PX / 2]), np.array([right - 8, BAR_PX / 2]), colour, 2)
        right -= 46
