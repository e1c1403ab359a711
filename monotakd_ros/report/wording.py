"""Figures as text, and what they mean in plain words, for the report's page.

Every function takes a part of the report (see `scoring`) and gives a string; what is not known is a dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from monotakd_ros.evaluation.precision_events import RECALL_STEPS

SMALL_GROUP = 10
DASH = "–"
MINUS = "\u2212"
TOO_FEW = 30
"""With fewer matched boxes than this, a verdict on the covariance would be a guess."""
FAIR_COVERAGE = (0.92, 0.975)

Section = Mapping[str, Any]


def number(value: float | None, digits: int = 1) -> str:
    """E.g. "12.3"; a true minus sign."""
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def signed(value: float | None, digits: int = 2) -> str:
    """E.g. "+0.31"."""
    text = number(value, digits)
    return f"+{text}" if value is not None and float(f"{value:.{digits}f}") > 0 else text


def percent(share: float | None, digits: int = 0) -> str:
    """A share 0..1, e.g. "71 %"."""
    return DASH if share is None else f"{number(100 * share, digits)} %"


def interval(bounds: Sequence[float] | None, digits: int = 1) -> str:
    """E.g. "10.1–14.5"; empty when there is none."""
    return "" if bounds is None else f"{number(bounds[0], digits)}–{number(bounds[1], digits)}"


def signed_interval(bounds: Sequence[float], digits: int = 1) -> str:
    """E.g. "−0.4 to +2.1"."""
    return f"{signed(bounds[0], digits)} to {signed(bounds[1], digits)}"


def listing(words: Sequence[str]) -> str:
    """E.g. "Car, Pedestrian and Cyclist"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(count: int, word: str) -> str:
    """E.g. "1 frame", "1,204 frames"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def distance_band(band: Section) -> str:
    """E.g. "10–20 m", "over 60 m"."""
    if band["to_m"] is None:
        return f"over {band['from_m']:g} m"
    return f"{band['from_m']:g}–{band['to_m']:g} m"


def moment(created: str) -> str:
    """An ISO 8601 time for people, e.g. "2026-01-05, 14:03 UTC"."""
    try:
        time = datetime.fromisoformat(created)
    except ValueError:  # Python 3.10 knows fewer forms
        return created
    return f"{time:%Y-%m-%d, %H:%M} {time.tzname() or ''}".strip()


def headline(report: Section) -> str:
    """One sentence: what was evaluated, and the figure by which KITTI ranks."""
    frames = plural(report["frames"]["evaluated"], "frame")
    if not report["classes"]:
        return f"{frames}, and nothing to evaluate in them: no labelled object and no detection of a known class."
    name = "Car" if "Car" in report["classes"] else report["classes"][0]
    value = headline_ap(report, name)
    scope = f"{frames}, {listing(report['classes'])}."
    if value is None:
        return f"{scope} {name}: no 3D AP, as the results hold no {name} with a place in 3D."
    bounds = headline_interval(report, name)
    certainty = f", {percent(report['run']['confidence'])} interval {interval(bounds)}" if bounds else ""
    return f"{scope} {name}, 3D AP (R40, moderate, strict): {number(value, 2)}{certainty}."


def headline_ap(report: Section, name: str) -> float | None:
    """3D, R40, moderate, strict."""
    return report["kitti_ap"]["strict"][name]["3d"]["R40"][1]


def headline_interval(report: Section, name: str) -> Sequence[float] | None:
    """Of `headline_ap`."""
    return ap_interval(report, "strict", name, "3d", 1)


def ap_interval(report: Section, overlaps: str, name: str, metric: str, level: int) -> Sequence[float] | None:
    """The interval of one R40 figure; None where it was not made."""
    intervals = report.get("kitti_ap_interval") or {}
    of_metric = intervals.get(overlaps, {}).get(name, {}).get(metric)
    return of_metric[level] if of_metric else None


def operating_sentence(name: str, point: Section | None, chosen: bool = False) -> str:
    """At which score a class is best used (or, where the user has `chosen` one, is used), and what to expect there."""
    if not point or point.get("score") is None or point.get("f1") is None:
        return f"{name}: nothing was matched, so no score limit can be recommended."
    limit, f1 = f"score ≥ {number(point['score'], 2)}", number(point["f1"], 2)
    return (
        f"{name}: {f'{limit}, as chosen, gives F1 {f1}' if chosen else f'use {limit} for the best F1 of {f1}'}: "
        f"{percent(point['precision'])} of the boxes are right, and {percent(point['recall'])} of the objects are "
        f"found ({point['correct']:,} right, {point['wrong']:,} wrong, {point['missed']:,} missed)."
    )


def calibration_sentence(name: str, section: Section | None) -> str:
    """Whether a score can be read as a probability."""
    if not section or section.get("expected_calibration_error") is None:
        return f"{name}: no box to judge scores by."
    error = section["expected_calibration_error"]
    verdict = "can be read as a probability" if error < 0.05 else "is a ranking, not a probability"
    return f"{name}: score and share of right boxes differ by {number(100 * error, 0)} points on average; it {verdict}."


def coverage_sentence(name: str, section: Section | None) -> str:
    """Whether the predicted covariance can be believed."""
    if not section or not section["count"] or section["inside_95"] is None:
        return f"{name}: no matched box with a covariance."
    inside = section["inside_95"]
    cases = f"{percent(inside)} of {section['count']:,} cases"
    fact = f"{name}: the true centre lies inside the predicted 95 % ellipsoid in {cases}"
    if section["count"] < TOO_FEW:
        return f"{fact}; too few cases for a verdict."
    scale = section["scale_to_95"]
    low, high = section["interval_95"] or FAIR_COVERAGE
    if low <= 0.95 <= high or FAIR_COVERAGE[0] <= inside <= FAIR_COVERAGE[1]:
        return f"{fact}: honest."
    if inside < 0.95:
        growth = "" if scale is None else f"; standard deviations would have to grow {number(scale, 1)} times"
        return f"{fact}: too confident{growth}."
    shrink = "" if scale is None else f"; standard deviations could shrink to {percent(scale)} of what they are"
    return f"{fact}: too careful{shrink}."


def few(n_gt: int) -> bool:
    """Whether KITTI's R40 of so few labelled objects cannot reach 100 even if all are found."""
    return n_gt < RECALL_STEPS


def says_little(n_gt: int) -> bool:
    """Whether a group's AP hangs on single objects."""
    return n_gt < SMALL_GROUP


def ceiling(n_gt: int) -> float:
    """The R40 of perfect results on fewer than 40 labelled objects (see `evaluation.kitti_ap`, point 4)."""
    return 100.0 * max(n_gt - 1, 0) / RECALL_STEPS


def resampling_sentence(run: Section) -> str:
    """How the intervals were made."""
    if not run.get("resamples"):
        return "No intervals were computed."
    block = run.get("block_frames") or 1
    unit = "frames" if block == 1 else f"runs of {block} consecutive frames"
    return (
        f"Intervals hold the middle {percent(run['confidence'])} of the AP over {run['resamples']:,} bootstrap draws "
        f"of {unit} (seed {run['seed']}): how far the figure could be off by the luck of which frames were recorded."
    )
