"""One picture of a frame: camera view beside the view from above, or that alone, with a bar that names the colours."""

from __future__ import annotations

import numpy as np

from monotakd_ros.frame import Detections3D, Frame
from monotakd_ros.visualization import drawing
from monotakd_ros.visualization.bev_view import BevView
from monotakd_ros.visualization.camera_view import draw_camera_view
from monotakd_ros.visualization.marks import Marks
from monotakd_ros.visualization.palette import (
    BAR,
    FAINT_INK,
    GROUND_TRUTH,
    INK,
    MISSED,
    WRONG,
    Colour,
    class_colour,
)

BAR_PX = 30
MAX_CAMERA_WIDTH_PX = 1600
TEXT_PX = 14.0
DEFAULT_VIEW = BevView()


def draw_picture(
    frame: Frame,
    detections: Detections3D | None,
    caption: str = "",
    view: BevView = DEFAULT_VIEW,
    marks: Marks | None = None,
) -> np.ndarray:
    """Draw one frame.

    Args:
        frame: image, camera and, where known, cloud and labels.
        detections: boxes; None when the detector was not run.
        caption: ASCII text at the lower left.
        view: the view from above; its height is the picture's.
        marks: which detections are wrong, and which labels were missed.

    Returns:
        (H, W, 3) uint8 RGB; height and width are even, as video encoders ask.
    """
    above = view.draw(frame, detections, marks)
    scale = min(view.height_px / frame.camera.height, MAX_CAMERA_WIDTH_PX / frame.camera.width)
    camera = draw_camera_view(frame, detections, scale, marks)
    width = camera.shape[1] + 2 + above.shape[1]
    canvas = np.full((view.height_px + BAR_PX, width + width % 2, 3), BAR, dtype=np.uint8)
    top = (view.height_px - camera.shape[0]) // 2
    canvas[top : top + camera.shape[0], : camera.shape[1]] = camera[: view.height_px - top]
    canvas[: view.height_px, camera.shape[1] + 2 : width] = above
    _draw_bar(canvas[view.height_px :], caption, _legend(frame, detections, marks))
    return canvas


def draw_from_above(
    frame: Frame, detections: Detections3D | None, view: BevView = DEFAULT_VIEW, marks: Marks | None = None
) -> np.ndarray:
    """The view from above and the bar alone, for frames of which no image exists; (H, W, 3) uint8 RGB."""
    bar = np.full((BAR_PX, view.width_px, 3), BAR, dtype=np.uint8)
    _draw_bar(bar, "", _legend(frame, detections, marks))
    return np.concatenate([view.draw(frame, detections, marks), bar])


def _legend(frame: Frame, detections: Detections3D | None, marks: Marks | None) -> list[tuple[str, Colour]]:
    entries = []
    if detections is not None:
        entries += [(name, class_colour(name)) for name in detections.class_names]
    if frame.labels is not None:
        entries.append(("ground truth", GROUND_TRUTH))
    if marks is not None:
        entries += [("missed", MISSED)] * bool(marks.missed.any()) + [("wrong", WRONG)] * bool(marks.wrong.any())
    return entries


def _draw_bar(bar: np.ndarray, caption: str, legend: list[tuple[str, Colour]]) -> None:
    text_top = (BAR_PX - drawing.text_size(caption or " ", TEXT_PX)[1]) / 2
    drawing.put_text(bar, caption, 10, text_top, INK, TEXT_PX)
    right = bar.shape[1] - 10
    for name, colour in reversed(legend):
        right -= drawing.text_size(name, TEXT_PX)[0]
        drawing.put_text(bar, name, right, text_top, FAINT_INK, TEXT_PX)
        _draw_key(bar, right - 30.0, colour)
        right -= 46


def _draw_key(bar: np.ndarray, left: float, colour: Colour) -> None:
    """What the legend shows before a name: a line as the boxes', or the mark."""
    start, end = np.array([left, BAR_PX / 2]), np.array([left + 22, BAR_PX / 2])
    middle = (start + end) / 2
    if colour == WRONG:
        drawing.cross(bar, middle + 6.0 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), colour)
    elif colour == MISSED:
        drawing.ring(bar, middle, 7.0, colour)
        drawing.dashed_line(bar, start, end, colour, 2)
    else:
        draw = drawing.dashed_line if colour == GROUND_TRUTH else drawing.line
        draw(bar, start, end, colour, 2)
