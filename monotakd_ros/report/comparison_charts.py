"""A comparison's charts: every difference with its interval around zero, and the curves of both.

The language is that of `charts`. B has the class's colour and A is grey; of differences, those beyond noise have the
colour and a filled dot, and those within noise are grey and hollow. A chart without anything to show is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from monotakd_ros.evaluation.bootstrap import Difference
from monotakd_ros.report.charts import LEFT_PX, RIGHT_PX, TOP_PX, until_zero
from monotakd_ros.report.comparison import is_primary
from monotakd_ros.report.comparison_wording import DIFFERENCE, METRIC_NAMES
from monotakd_ros.report.figure import (
    FAINT,
    GREY,
    GRID,
    INK,
    PAPER,
    SMALL_TEXT_PX,
    TEXT_PX,
    WIDTH_PX,
    add_axes,
    add_legend,
    chart_id,
    class_colour,
    label_axes,
    new_figure,
    svg_from_figure,
)
from monotakd_ros.report.wording import signed

Curves = Mapping[str, Mapping[str, Any]]
"""strict/loose -> metric -> difficulty -> 41 precisions or None, as in one class of a report's `curves`."""
GROUPS = (("3d", "strict"), ("bev", "strict"), ("3d", "loose"), ("bev", "loose"))
ROW_PX, HEADING_PX, GAP_PX = 20, 19, 9
NAMES_PX, VALUES_PX, HEAD_PX, FOOT_PX = 128, 48, 26, 46
COUNTS_PX = 114
"""Right edge of the numbers of labelled objects."""
ROOM = 0.4
"""The emptier side of zero is at least this share of the other, so that both can be named."""
CURVE_LINES = {"strict": ("solid", 2.2), "loose": ((0, (5, 2.5)), 1.8)}


def shared_range(differences: Sequence[Difference]) -> tuple[float, float]:
    """Low and high end of an axis, in points of AP, that holds zero and all intervals of what `forest` shows."""
    shown = [item for item in differences if (item.cell.metric, item.cell.overlaps) in GROUPS]
    low = min([item.low for item in shown] + [item.b - item.a for item in shown] + [0.0])
    high = max([item.high for item in shown] + [item.b - item.a for item in shown] + [0.0])
    reach = max(-low, high, 1.0)
    return 1.05 * min(low, -ROOM * reach), 1.05 * max(high, ROOM * reach)


def forest(name: str, differences: Sequence[Difference], limits: tuple[float, float]) -> str | None:
    """B - A of one class with its intervals: 3D and BEV, strict and loose, easy to hard.

    Args:
        name: of the class.
        differences: of any classes and metrics.
        limits: of the axis, the same for every class (see `shared_range`).
    """
    groups = {
        group: [item for item in differences if item.cell.class_name == name and _group(item) == group]
        for group in GROUPS
    }
    groups = {group: items for group, items in groups.items() if items}
    if not groups:
        return None
    height = sum(HEADING_PX + ROW_PX * len(items) + GAP_PX for items in groups.values())
    figure = new_figure(HEAD_PX + height + FOOT_PX)
    axes = add_axes(figure, NAMES_PX, FOOT_PX, VALUES_PX, HEAD_PX)
    axes.set(xlim=limits, ylim=(height, 0), yticks=[])
    axes.axvline(0, color=INK, lw=1.2, zorder=1)
    _draw_heads(axes)
    place = 0.0
    for (metric, overlaps), items in groups.items():
        _write(axes, 0, place + HEADING_PX / 2, f"{METRIC_NAMES[metric]}, {overlaps}", INK, TEXT_PX)
        place += HEADING_PX
        for item in items:
            _draw_row(axes, place + ROW_PX / 2, item, class_colour(name))
            place += ROW_PX
        place += GAP_PX
    axes.set_xlabel(f"{DIFFERENCE} (points of AP)", color=INK, fontsize=TEXT_PX, labelpad=5)
    return svg_from_figure(figure, chart_id("forest", name), f"B minus A of every AP of {name}, with intervals")


def _group(item: Difference) -> tuple[str, str]:
    return item.cell.metric, item.cell.overlaps


def _draw_row(axes: Axes, y: float, item: Difference, colour: str) -> None:
    """One difference: what it is, how many objects, dot and interval, and the number."""
    beyond, point = item.is_beyond_noise, item.b - item.a
    if is_primary(item):
        axes.axhspan(y - ROW_PX / 2, y + ROW_PX / 2, color=GRID, lw=0, zorder=0)
    line, text = (colour, colour) if beyond else (GREY, FAINT)
    axes.plot([item.low, item.high], [y, y], color=line, lw=3 if beyond else 1.8, solid_capstyle="butt", zorder=2)
    style = {"mfc": colour if beyond else PAPER, "mec": line, "mew": 1.6, "ms": 7.5}
    axes.plot([point], [y], marker="o", linestyle="none", zorder=3, **style)
    _write(axes, 12, y, item.cell.difficulty, INK if beyond else FAINT)
    _write(axes, COUNTS_PX, y, f"{item.counted:,}", FAINT, align="right")
    _write(axes, WIDTH_PX, y, signed(point, 1), text, align="right")


def _draw_heads(axes: Axes) -> None:
    """Above the rows: what the columns hold, and who is better on which side of zero."""
    _write(axes, COUNTS_PX, -HEAD_PX / 2, "objects", FAINT, align="right")
    _write(axes, WIDTH_PX, -HEAD_PX / 2, DIFFERENCE, FAINT, align="right")
    for text, shift, align in (("A better", -6, "right"), ("B better", 6, "left")):
        axes.annotate(
            text,
            (0, -HEAD_PX / 2),
            (shift, 0),
            textcoords="offset points",
            ha=align,
            va="center",
            color=FAINT,
            fontsize=SMALL_TEXT_PX,
            annotation_clip=False,
        )


def _write(
    axes: Axes, x_px: float, y: float, text: str, colour: str, size: float = SMALL_TEXT_PX, align: str = "left"
) -> None:
    """Text beside the axes, `x_px` from the figure's left edge."""
    share = (x_px - NAMES_PX) / (WIDTH_PX - NAMES_PX - VALUES_PX)
    where = axes.get_yaxis_transform()
    axes.text(share, y, text, transform=where, ha=align, va="center", color=colour, fontsize=size, clip_on=False)


def both_curves(name: str, a: Curves, b: Curves) -> str | None:
    """Precision against recall of A and B in one class: 3D, moderate, strict and loose."""
    shown = [
        (side, overlaps, until_zero(values), colour, order)
        for side, curves, colour, order in (("A", a, GREY, 2), ("B", b, class_colour(name), 3))
        for overlaps in CURVE_LINES
        if (values := ((curves.get(overlaps) or {}).get("3d") or {}).get("moderate")) is not None
    ]
    if not shown:
        return None
    figure = new_figure(304)
    axes = add_axes(figure, LEFT_PX, 90, RIGHT_PX, TOP_PX)
    for side, overlaps, values, colour, order in shown:
        line, width = CURVE_LINES[overlaps]
        recall = np.linspace(0, 100, 41)[: len(values)]
        label = f"{side}, {overlaps}"
        axes.plot(recall, 100 * values, color=colour, zorder=order, linestyle=line, lw=width, label=label)
    axes.set(xlim=(0, 100), ylim=(0, 102))
    label_axes(axes, "Recall (%)", "Precision (%)")
    add_legend(figure, axes, columns=2)
    return svg_from_figure(figure, chart_id("both", name), f"Precision against recall of {name} in 3D, A and B")
