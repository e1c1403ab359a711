"""From both sides to the report's content: one dict of plain values, the same for HTML and JSON."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monotakd_ros.evaluation.bootstrap import Resampling, ap_intervals
from monotakd_ros.evaluation.coverage import coverage_section
from monotakd_ros.evaluation.errors import errors_section
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES, KittiScores
from monotakd_ros.evaluation.kitti_groups import (
    ap_by_group,
    distance_selections,
    occlusion_selections,
    truncation_selections,
)
from monotakd_ros.evaluation.latency import latency_ms
from monotakd_ros.evaluation.nuscenes import nuscenes_section
from monotakd_ros.evaluation.reliability import reliability
from monotakd_ros.frame import DONT_CARE
from monotakd_ros.provenance import code_commit, versions
from monotakd_ros.report.both_sides import warnings_about
from monotakd_ros.report.gathered import Gathered

FORMAT = 1
MAX_NAMES = 50
CURVE_DIGITS = 6
DENSE_S = 0.5
"""Frames recorded at shorter intervals resemble each other."""


@dataclass(frozen=True)
class ScoringOptions:
    """What to score.

    Attributes:
        class_names: evaluated classes.
        resampling: of the confidence intervals.
        score: operating score of all classes; None takes that of best F1 for each.
    """

    class_names: tuple[str, ...] = KITTI_CLASSES
    resampling: Resampling = field(default_factory=Resampling)
    score: float | None = None


def score(
    gathered: Gathered, options: ScoringOptions | None = None, on_interval: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Compute every section of the report but the pictures.

    Args:
        gathered: both sides.
        options: see there.
        on_interval: called after each confidence interval, for a progress bar.
    """
    options = options or ScoringOptions()
    frames, names = gathered.frames, options.class_names
    scores = KittiScores([frame.truth for frame in frames], [frame.results for frame in frames], names)
    reliable = reliability(scores.pairs, names)
    content = {
        "format": FORMAT,
        "run": _run(gathered, options),
        "frames": _frames(gathered),
        "classes": _present(frames, names),
        "counts": _counts(frames),
        "warnings": [*gathered.warnings, *warnings_about(frames, names), *_warnings(gathered, options, reliable)],
        "kitti_ap": scores.average_precision(),
        "kitti_ap_interval": ap_intervals(scores, options.resampling, on_interval, [f.recording for f in frames])
        if options.resampling.resamples
        else None,
        "curves": _curves(scores),
        **_groups(scores, names),
        "errors": errors_section(frames, names, options.score),
        "reliability": reliable,
        "coverage": coverage_section(frames, names, options.score),
        "nuscenes": nuscenes_section(frames, names),
        "latency_ms": latency_ms(gathered.seconds) or None,
        "pictures": [],
    }
    return _plain(content)


def operating_scores(report: Mapping[str, Any]) -> dict[str, float | None]:
    """Class -> operating score of a report."""
    return {name: section["operating_point"]["score"] for name, section in report["errors"].items()}


def _run(gathered: Gathered, options: ScoringOptions) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.timezone.utc)
    nothing = {"device": None, "amp": None, "checkpoint": None, "results": None, "sources": []}
    return {
        **nothing,
        **gathered.run,
        "created": now.isoformat(timespec="seconds"),
        "commit": code_commit(),
        "versions": versions(),
        "score": options.score,
        **vars(options.resampling),
    }


def _frames(gathered: Gathered) -> dict[str, Any]:
    return {
        "evaluated": len(gathered.frames),
        "missing": {"count": len(gathered.missing), "names": list(gathered.missing[:MAX_NAMES])},
        "extra": {"count": len(gathered.extra), "names": list(gathered.extra[:MAX_NAMES])},
        "skipped": {"count": len(gathered.skipped), "reasons": list(gathered.skipped[:MAX_NAMES])},
    }


def _counts(frames: Sequence[EvaluationFrame]) -> dict[str, dict[str, int]]:
    sides = {
        side: Counter(name for frame in frames for name in getattr(frame, side).names) for side in ("truth", "results")
    }
    names = sorted((sides["truth"] | sides["results"]).keys() - {DONT_CARE})
    return {name: {side: counts[name] for side, counts in sides.items()} for name in names}


def _present(frames: Sequence[EvaluationFrame], class_names: Sequence[str]) -> list[str]:
    """Evaluated classes that occur on either side; all where none does."""
    seen = {name.lower() for frame in frames for side in (frame.truth, frame.results) for name in side.names}
    return [name for name in class_names if name.lower() in seen] or list(class_names)


def _curves(scores: KittiScores) -> dict[str, Any]:
    curves: dict[str, Any] = {}
    for cell in scores.cells():
        of_metric = curves.setdefault(cell.overlaps, {}).setdefault(cell.class_name, {}).setdefault(cell.metric, {})
        precision = scores.precision(cell)
        of_metric[cell.difficulty] = None if precision is None else precision[0].round(CURVE_DIGITS).tolist()
    return curves


def _groups(scores: KittiScores, class_names: Sequence[str]) -> dict[str, Any]:
    """The three groupings; None where no ground truth says its occlusion (truncation)."""
    truth = scores.pairs.truth
    objects = truth.kind != DONT_CARE.lower()
    return {
        "ap_by_distance": ap_by_group(scores.pairs, class_names, distance_selections()),
        "ap_by_occlusion": ap_by_group(scores.pairs, class_names, occlusion_selections())
        if (truth.occlusion[objects] >= 0).any()
        else None,
        "ap_by_truncation": ap_by_group(scores.pairs, class_names, truncation_selections())
        if (truth.truncation[objects] >= 0).any()
        else None,
    }


def _warnings(gathered: Gathered, options: ScoringOptions, reliable: Any) -> list[str]:
    told = []
    sides = {"Labelled frames without results": gathered.missing, "Frames without labels": gathered.extra}
    for kind, names in sides.items():
        if names:
            told.append(f"{kind}, left out: {len(names)}. The figures are of the frames that both sides have")
    if gathered.skipped:
        told.append(f"Frames that could not be used: {len(gathered.skipped)}; the first: {gathered.skipped[0]}")
    if reliable is None:
        told.append("Scores lie outside 0 to 1: they are no probabilities, so their reliability is not shown")
    spacing_s = _spacing_s(gathered.frames)
    if spacing_s is not None and spacing_s < DENSE_S and options.resampling.block_frames == 1:
        told.append(
            f"Frames are {spacing_s:.2g} s apart and resemble their neighbours: the confidence intervals are too "
            f"narrow. --block-frames {round(1 / spacing_s)} draws whole seconds"
        )
    return told


def _spacing_s(frames: Sequence[EvaluationFrame]) -> float | None:
    """Median time between consecutive frames; None where times are unknown."""
    stamps = [frame.stamp_ns for frame in frames]
    if len(stamps) < 2 or None in stamps:
        return None
    return max(float(np.median(np.abs(np.diff(np.array(stamps, dtype=np.int64))))) * 1e-9, 1e-3)


def _plain(value: Any) -> Any:
    """Without numpy's types, which JSON does not know; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
