"""What each row of an ablation reaches, as one picture: its mean, its interval, its seeds, and the guides above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from monotakd_ros.visualization.figure_png import png_from_figure

WIDTH_IN, ROW_IN, PANEL_IN, TITLE_LINE_IN = 12.0, 0.32, 0.75, 0.25
DPI = 110
COLUMNS = 2
BASELINE, GAIN, LOSS, NOISE = "k", "tab:blue", "tab:red", "0.45"
"""Colours of the first row, and of those that differ from it beyond noise or do not."""
GUIDE_LINES = {"dashed": "--", "dotted": ":"}
MARGIN = 1.05
Row = Mapping[str, Any]


def draw_repeated_runs(figures: Mapping[str, Mapping[str, Row]], title: str) -> bytes:
    """A PNG of an ablation's table.

    Args:
        figures: name of a figure, as "Car strict" -> row, the baseline first -> {"mean", "by_seed": {seed: value},
            "interval": [low, high], "gain": None or {"interval"}, "gap_closed": None or {"share", "interval"}}, in per
            cent but for the last; of a guide {"mean"} alone. May be empty.
        title: over the picture; says what the shares of the gap are that stand beside the means.
    """
    lines = -(-len(figures) // COLUMNS)
    rows = max((len(_trained(panel)) for panel in figures.values()), default=0)
    head = TITLE_LINE_IN * (title.count("\n") + 1)
    figure = Figure((WIDTH_IN, head + lines * (PANEL_IN + rows * ROW_IN)), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize="medium")
    if figures:
        grid = figure.subplots(lines, COLUMNS, squeeze=False)
        for axes, (name, panel) in zip(grid.flat, figures.items()):
            _draw_panel(axes, name, panel)
        for axes in grid.flat[len(figures) :]:
            axes.set_visible(False)
        for axes in grid[:, 1:].flat:
            axes.tick_params(labelleft=False)
    return png_from_figure(figure)


def _trained(panel: Mapping[str, Row]) -> dict[str, Row]:
    """The rows that were trained, as against guides."""
    return {name: row for name, row in panel.items() if "by_seed" in row}


def _draw_panel(axes: Axes, name: str, panel: Mapping[str, Row]) -> None:
    trained = _trained(panel)
    guides = {guide: row["mean"] for guide, row in panel.items() if guide not in trained}
    ends = [end for row in trained.values() for end in (row["interval"][1], *row["by_seed"].values())]
    reach = MARGIN * max([1.0, *guides.values(), *ends])
    for mean, line in zip(guides.values(), GUIDE_LINES.values()):
        axes.axvline(mean, color="k", linewidth=1.0, linestyle=line, zorder=1)
    for place, row in enumerate(trained.values()):
        _draw_row(axes, place, row, reach, is_baseline=place == 0)
    axes.set_yticks(range(len(trained)), list(trained), fontsize="small")
    axes.set(xlim=(0.0, reach), ylim=(len(trained) - 0.4, -0.6))
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(name, loc="left", fontsize="medium")
    lines = [f"{guide} {mean:.1f} ({style})" for (guide, mean), style in zip(guides.items(), GUIDE_LINES)]
    axes.set_title(", ".join(lines), loc="right", fontsize="small")


def _colour(row: Row) -> str:
    low, high = (0.0, 0.0) if row["gain"] is None else row["gain"]["interval"]
    return GAIN if low > 0 else LOSS if high < 0 else NOISE


def _draw_row(axes: Axes, place: int, row: Row, reach: float, is_baseline: bool) -> None:
    colour = BASELINE if is_baseline else _colour(row)
    seeds = list(row["by_seed"].values())
    axes.plot(row["interval"], [place, place], color=colour, linewidth=2.0, solid_capstyle="butt")
    inside = "w" if len(seeds) == 1 else colour
    axes.plot([row["mean"]], [place], "o", color=colour, markersize=6, markerfacecolor=inside)
    if len(seeds) > 1:
        axes.plot(seeds, [place] * len(seeds), "|", color=colour, markersize=9, markeredgewidth=1.0)
    text, gap = f"{row['mean']:.1f}", row["gap_closed"]
    if gap is not None and not is_baseline:
        text += f"   {gap['share']:.0%} ({gap['interval'][0]:.0%} to {gap['interval'][1]:.0%})"
    start, end = row["interval"]
    before = start > reach - end  # there is more room
    axes.annotate(
        text,
        (start if before else end, place),
        xytext=(-6 if before else 6, 0),
        textcoords="offset points",
        fontsize="small",
        ha="right" if before else "left",
        va="center",
        bbox={"facecolor": "w", "edgecolor": "none", "pad": 1.0},
    )
