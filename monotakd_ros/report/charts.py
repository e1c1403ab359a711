"""The report's charts, each from its part of the report to an `<svg>` string.

One language throughout: a class has its colour, the strict overlap limit is drawn in it and the loose one in grey; a
solid line or a dot is the first reading, dashes and open squares the second. A chart without anything to show is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from monotakd_ros.report.figure import (
    FAINT,
    GREY,
    INK,
    PAPER,
    SMALL_TEXT_PX,
    TEXT_PX,
    add_axes,
    add_legend,
    chart_id,
    class_colour,
    label_axes,
    new_figure,
    svg_from_figure,
)
from monotakd_ros.report.wording import says_little

Section = Mapping[str, Any]
DENSE_POINTS = 400
"""So many dots overlap: they are drawn small and faint."""
LINES = {"easy": (0, (1, 1.6)), "moderate": "solid", "hard": (0, (5, 2.5))}
LEFT_PX, RIGHT_PX, TOP_PX = 36, 12, 32
MIN_POINTS = 5
"""Fewer objects in a distance band give no median worth a line."""


def precision_recall(name: str, curves: Mapping[str, Section], metric: str = "3d") -> str | None:
    """Precision against recall of one class; `curves` is strict/loose -> metric -> difficulty -> 41 precisions."""
    shown = [
        (overlaps, difficulty, until_zero(values))
        for overlaps in ("strict", "loose")
        for difficulty in LINES
        if (values := (curves.get(overlaps) or {}).get(metric, {}).get(difficulty)) is not None
    ]
    if not shown:
        return None
    figure = new_figure(304)
    axes = add_axes(figure, LEFT_PX, 90, RIGHT_PX, TOP_PX)
    for overlaps, difficulty, values in shown:
        colour, order = _limit_colour(name, overlaps)
        style = {"linestyle": LINES[difficulty], "lw": 2.2 if difficulty == "moderate" else 1.6}
        recall = np.linspace(0, 100, 41)[: len(values)]
        axes.plot(recall, 100 * values, color=colour, zorder=order, label=f"{overlaps}, {difficulty}", **style)
    axes.set(xlim=(0, 100), ylim=(0, 102))
    label_axes(axes, "Recall (%)", "Precision (%)")
    add_legend(figure, axes, columns=2)
    return svg_from_figure(figure, chart_id("pr", name), f"Precision against recall of {name} in {metric.upper()}")


def ap_by_distance(name: str, rows: Sequence[Section]) -> str | None:
    """AP per distance band with enough labelled objects; rows as in the report's `ap_by_distance`."""
    series = {
        (overlaps, metric): _floats([None if says_little(row["n_gt"]) else row[overlaps][metric] for row in rows])
        for overlaps in ("strict", "loose")
        for metric in ("3d", "bev")
    }
    known = [value for values in series.values() for value in values[np.isfinite(values)]]
    if not known:
        return None
    figure = new_figure(304)
    axes = add_axes(figure, LEFT_PX, 100, RIGHT_PX, TOP_PX)
    for (overlaps, metric), values in series.items():
        colour, order = _limit_colour(name, overlaps)
        style = _style(colour, second=metric == "bev")
        axes.plot(range(len(rows)), values, label=f"{overlaps}, {metric.upper()}", zorder=order, **style)
    axes.set_ylim(0, next(top for top in (10, 20, 40, 60, 80, 103) if top > max(known) or top > 100))
    _category_ticks(axes, [f"{_short(row['group'])}\n{row['n_gt']}" for row in rows])
    label_axes(axes, "Distance (m), number of labelled objects", "AP (%)")
    add_legend(figure, axes, columns=2)
    return svg_from_figure(figure, chart_id("distance", name), f"Average precision of {name} by distance")


def error_along_ray(name: str, errors: Section) -> str | None:
    """Every matched box's error along the viewing ray against its distance, with the median and the middle 80 %."""
    points = np.array(errors.get("points") or [], dtype=np.float64).reshape(-1, 2)
    if not len(points):
        return None
    figure = new_figure()
    axes = add_axes(figure, LEFT_PX, 48, RIGHT_PX, TOP_PX)
    distance, error = points.T
    limit = max(1.0, 1.2 * float(np.percentile(np.abs(error), 95)))
    size, opacity = (5, 0.38) if len(points) > DENSE_POINTS else (7, 0.6)
    axes.axhline(0, color=FAINT, lw=1)
    axes.plot(distance, np.clip(error, -limit, limit), ".", ms=size, mew=0, color=class_colour(name), alpha=opacity)
    _draw_bands(axes, points, errors.get("by_distance") or [])
    axes.set(ylim=(-limit, limit), xlim=(0, None))
    axes.text(
        0.99, 0.97, "too far", transform=axes.transAxes, ha="right", va="top", color=FAINT, fontsize=SMALL_TEXT_PX
    )
    axes.text(0.99, 0.03, "too near", transform=axes.transAxes, ha="right", color=FAINT, fontsize=SMALL_TEXT_PX)
    label_axes(axes, "Distance (m)", "Error along the viewing ray (m)")
    return svg_from_figure(figure, chart_id("ray", name), f"Error of {name} along the viewing ray against distance")


def _draw_bands(axes: Axes, points: np.ndarray, bands: Sequence[Section]) -> None:
    """Median and 10 to 90 % of the points of each distance band, as a step with whiskers."""
    for band in bands:
        start, end = band["from_m"], band["to_m"] if band["to_m"] is not None else points[:, 0].max()
        inside = (points[:, 0] >= start) & (points[:, 0] < end)
        if inside.sum() < MIN_POINTS:
            continue
        low, median, high = np.percentile(points[inside, 1], (10, 50, 90))
        end = min(end, points[:, 0].max() + 1.0)
        axes.fill_between([start, end], low, high, color=FAINT, alpha=0.16, lw=0)
        axes.plot([start, end], [median, median], color=INK, lw=2.2, solid_capstyle="butt")


def yaw_by_distance(name: str, bands: Sequence[Section]) -> str | None:
    """Median yaw error per distance band, with front and rear told apart (mod 360) and not (mod 180)."""
    used = [band for band in bands if band.get("yaw_median_abs_deg") is not None]
    if not used:
        return None
    figure = new_figure(286)
    axes = add_axes(figure, LEFT_PX, 82, RIGHT_PX, TOP_PX)
    full = _floats([band["yaw_median_abs_deg"] for band in used])
    axis = _floats([band["yaw_axis_median_abs_deg"] for band in used])
    axes.plot(range(len(used)), full, label="heading", zorder=3, **_style(class_colour(name)))
    axes.plot(range(len(used)), axis, label="axis alone", **_style(GREY, second=True))
    axes.set_ylim(0, max(5.0, 1.15 * float(np.nanmax(np.concatenate([full, axis])))))
    _category_ticks(axes, [f"{_band(band)}\n{band['count']}" for band in used])
    label_axes(axes, "Distance (m), number of boxes", "Median yaw error (degrees)")
    add_legend(figure, axes, columns=2)
    return svg_from_figure(figure, chart_id("yaw", name), f"Median yaw error of {name} by distance")


def reliability(name: str, section: Section) -> str | None:
    """Share of right boxes against their mean score, with the number of boxes per bin below."""
    bins = [entry for entry in section.get("bins") or [] if entry["count"]]
    if not bins:
        return None
    figure = new_figure(310)
    axes = add_axes(figure, LEFT_PX, 108, RIGHT_PX, TOP_PX)
    counts = add_axes(figure, LEFT_PX, 48, RIGHT_PX, 222)
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1.2, linestyle=(0, (4, 3)))
    axes.text(0.03, 0.95, "too modest", color=FAINT, fontsize=SMALL_TEXT_PX, va="top")
    axes.text(0.98, 0.03, "too sure", color=FAINT, fontsize=SMALL_TEXT_PX, ha="right")
    share, score = _floats([entry["correct_share"] for entry in bins]), _floats([entry["mean_score"] for entry in bins])
    axes.plot(score, share, **_style(class_colour(name)))
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xticklabels=[])
    label_axes(axes, "", "Share of boxes that are right")
    left, right = (_floats([entry[edge] for entry in bins]) for edge in ("from", "to"))
    heights = [entry["count"] for entry in bins]
    counts.bar(left, heights, right - left, align="edge", color=GREY, edgecolor=PAPER, lw=1)
    counts.set(xlim=(0, 1), yticks=[0, max(heights)])
    counts.set_xlabel("Score (bars: number of boxes)", color=INK, fontsize=TEXT_PX, labelpad=5)
    return svg_from_figure(
        figure, chart_id("reliability", name), f"How often boxes of {name} are right against their score"
    )


def coverage(sections: Mapping[str, Section]) -> str | None:
    """Observed against claimed share of true centres inside the predicted ellipsoid, all classes."""
    used = {name: section for name, section in sections.items() if section and section.get("count")}
    if not used:
        return None
    figure = new_figure(310)
    axes = add_axes(figure, LEFT_PX, 78, RIGHT_PX, TOP_PX)
    axes.plot([0, 100], [0, 100], color=FAINT, lw=1.2, linestyle=(0, (4, 3)))
    axes.text(3, 97, "too careful", color=FAINT, fontsize=SMALL_TEXT_PX, va="top")
    axes.text(98, 3, "too confident", color=FAINT, fontsize=SMALL_TEXT_PX, ha="right")
    markers = dict(zip(used, ("o", "s", "^", "D", "v") * len(used)))
    for name, section in used.items():
        style = _style(class_colour(name)) | {"marker": markers[name]}
        label = name.replace("$", r"\$")  # a pair of them would begin a formula
        axes.plot(100 * _floats(section["levels"]), 100 * _floats(section["observed"]), label=label, **style)
    axes.set(xlim=(0, 100), ylim=(0, 102))
    label_axes(axes, "Claimed: ellipsoid should hold (%)", "Observed: true centre lies inside (%)")
    add_legend(figure, axes, columns=3)
    return svg_from_figure(figure, "coverage", "Observed against claimed coverage of the predicted position covariance")


def latency(stages: Mapping[str, Section]) -> str | None:
    """Milliseconds per stage: the bar is the median, the line reaches to the 99th percentile, the tick is the 95th."""
    if not stages:
        return None
    figure = new_figure(92 + 30 * len(stages))
    axes = add_axes(figure, 60, 48, 48, 34)
    axes.grid(False, axis="y")
    colour = class_colour("Pedestrian")
    for row, section in enumerate(stages.values()):
        axes.barh(row, section["p50"], height=0.56, color=colour, lw=0)
        axes.plot([section["p50"], section["p99"]], [row, row], color=INK, lw=1.4)
        axes.plot([section["p95"]] * 2, [row - 0.2, row + 0.2], color=INK, lw=1.4)
        axes.annotate(
            f"{section['p50']:.3g}", (section["p99"], row), (5, 0), textcoords="offset points", va="center", color=INK
        )
    axes.set_yticks(range(len(stages)))
    axes.set_yticklabels(list(stages), color=INK)
    axes.set(xlim=(0, None), ylim=(len(stages) - 0.4, -0.6))
    axes.spines["bottom"].set_visible(False)
    label_axes(axes, "Time per frame (ms)", "")
    figure.text(
        0.02, 0.97, "Bar and number: median; tick: p95; line: to p99", color=FAINT, fontsize=SMALL_TEXT_PX, va="top"
    )
    return svg_from_figure(figure, "latency", "Time per frame of every stage")


def _style(colour: str, second: bool = False) -> dict[str, Any]:
    if second:
        return {"color": colour, "marker": "s", "mfc": PAPER, "ms": 5, "lw": 1.6, "linestyle": (0, (5, 2.5))}
    return {"color": colour, "marker": "o", "ms": 5.5, "lw": 2.0, "linestyle": "solid"}


def _limit_colour(name: str, overlaps: str) -> tuple[str, int]:
    """Colour of a line by its overlap limit, and how far in front it is drawn."""
    return (class_colour(name), 3) if overlaps == "strict" else (GREY, 2)


def until_zero(values: Sequence[float]) -> np.ndarray:
    """The curve as far as anything is found, with the fall to zero."""
    curve = np.array(values, dtype=np.float64)
    return curve[: int(np.argmax(curve <= 0)) + 1] if (curve <= 0).any() else curve


def _category_ticks(axes: Axes, labels: Sequence[str]) -> None:
    axes.grid(False, axis="x")
    axes.set_xlim(-0.4, len(labels) - 0.6)
    axes.set_xticks(range(len(labels)))
    axes.set_xticklabels(labels, linespacing=1.35)


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _band(band: Section) -> str:
    return f"> {band['from_m']:.0f}" if band["to_m"] is None else f"{band['from_m']:.0f}–{band['to_m']:.0f}"


def _short(group: str) -> str:
    """A tick has no room for the unit, which is in the axis's title."""
    return group.replace(" m", "").replace("-", "–").replace("over ", "> ").replace("$", r"\$")
