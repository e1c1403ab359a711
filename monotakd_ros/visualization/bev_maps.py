"""Maps over bird's-eye cells side by side, under the image they were made of, with the labelled boxes drawn in."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from monotakd_ros.geometry.boxes import corners_from_boxes
from monotakd_ros.visualization.figure_png import png_from_figure
from monotakd_ros.visualization.palette import GROUND_TRUTH

DPI = 110
PANEL_IN = 2.6
LABELS_IN = 0.8
"""Height of what is written above and below a map."""
BRIGHTEST_PERCENTILE = 99.5


def draw_bev_maps(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    range_m: tuple[float, float, float, float],
    boxes_lidar: np.ndarray,
    title: str,
) -> bytes:
    """A PNG: the image above, the maps below, x (ahead) up and y (left) to the left.

    Args:
        image: (H, W, 3) uint8 RGB.
        maps: title -> (Y, X) not negative; at least one. Each has a scale of its own, from 0 to almost its largest.
        range_m: x0, y0, x1, y1 of the maps' outer edges, lidar frame.
        boxes_lidar: (N, 7), drawn as outlines.
        title: over the picture.
    """
    x0, y0, x1, y1 = range_m
    width = PANEL_IN * max(len(maps), 2)
    image_in = width * image.shape[0] / image.shape[1]
    maps_in = PANEL_IN * (x1 - x0) / (y1 - y0) + LABELS_IN
    figure = Figure((width, image_in + maps_in), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize="medium")
    above, below = figure.subfigures(2, 1, height_ratios=[image_in, maps_in])
    shown = above.subplots()
    shown.imshow(image)
    shown.set_axis_off()
    for number, (axes, (name, values)) in enumerate(zip(below.subplots(1, len(maps), squeeze=False)[0], maps.items())):
        _panel(axes, values, range_m, boxes_lidar)
        axes.set_title(name, fontsize="small")
        axes.set_xlabel("y, m", fontsize="x-small")
        axes.tick_params(labelsize="x-small", labelleft=number == 0)
        if number == 0:
            axes.set_ylabel("x, m", fontsize="x-small")
    return png_from_figure(figure)


def _panel(axes: Axes, values: np.ndarray, range_m: tuple[float, float, float, float], boxes_lidar: np.ndarray) -> None:
    x0, y0, x1, y1 = range_m
    brightest = float(np.percentile(values, BRIGHTEST_PERCENTILE)) or 1.0
    ahead_up = values.T[::-1, ::-1]
    axes.imshow(ahead_up, cmap="magma", vmin=0.0, vmax=brightest, extent=(y1, y0, x0, x1), interpolation="nearest")
    for corners in corners_from_boxes(boxes_lidar):
        outline = corners[[0, 1, 2, 3, 0], :2]
        axes.plot(outline[:, 1], outline[:, 0], color=np.divide(GROUND_TRUTH, 255), linewidth=0.8)
    axes.set_xlim(y1, y0)
    axes.set_ylim(x0, x1)
