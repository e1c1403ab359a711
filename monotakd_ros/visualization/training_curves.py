"""How a training went, as one picture: losses, average precision, learning rate and gradient over its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from monotakd_ros.visualization.figure_png import png_from_figure

SIZE_IN = (12.0, 7.0)
DPI = 110
COLOURS = 10
"""After so many lines the colours come again, in another style of line."""
LINE_STYLES = ("-", "--", ":")
TRAIN, VALIDATION = "train", "validation"
LOSS, AP = "loss_", "ap_3d_"
Record = Mapping[str, Any]


def draw_training_curves(records: Sequence[Record], title: str) -> bytes:
    """A PNG of a run's log.

    Args:
        records: {"kind": "train" or "validation", "step": ..., figures}, oldest first; may be empty.
        title: over the picture.
    """
    figure = Figure(SIZE_IN, dpi=DPI, layout="constrained")
    figure.suptitle(title)
    total, terms, precision, optimiser = figure.subplots(2, 2, sharex=True).flat
    train = [record for record in records if record["kind"] == TRAIN]
    validation = [record for record in records if record["kind"] == VALIDATION]
    _lines(total, train, ["loss"], {"loss": "training"})
    _lines(total, validation, ["loss"], {"loss": "validation"}, marker="o")
    _lines(terms, train, _names(train, LOSS), strip=LOSS)
    _lines(precision, validation, _names(validation, AP), strip=AP, marker="o")
    _lines(optimiser, train, ["learning_rate", "gradient_norm"])
    for axes, name in (
        (total, "sum of losses, weighted"),
        (terms, "terms in training, unweighted"),
        (precision, "3D AP R40 moderate, %"),
        (optimiser, "learning rate and gradient norm"),
    ):
        axes.set_title(name, fontsize="medium")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if axes is terms else {"ncols": 2}
            axes.legend(fontsize="small", **beside)
    for axes in (terms, optimiser):
        if axes.lines:
            axes.set_yscale("log")
    for axes in (precision, optimiser):
        axes.set_xlabel("step")
    return png_from_figure(figure)


def _names(records: Sequence[Record], prefix: str) -> list[str]:
    return sorted({key for record in records for key in record if key.startswith(prefix)})


def _lines(
    axes: Axes,
    records: Sequence[Record],
    names: Sequence[str],
    labels: Mapping[str, str] | None = None,
    strip: str = "",
    marker: str = "",
) -> None:
    for number, name in enumerate(names):
        points = [(record["step"], record[name]) for record in records if name in record]
        if points:
            label = (labels or {}).get(name, name.removeprefix(strip).replace("_", " "))
            style = LINE_STYLES[number // COLOURS % len(LINE_STYLES)]
            axes.plot(*zip(*points), linestyle=style, marker=marker, label=label, linewidth=1.3, markersize=4)
