"""The report as one HTML file that needs nothing else: no network, no script, charts and pictures inside.

The layout is `page.html.j2` (see `page_template` for what all pages share); what figures look like and mean is in
`charts` and `wording`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from monotakd_ros.evaluation.kitti_ap import DIFFICULTIES
from monotakd_ros.evaluation.kitti_counting import overlap_limit
from monotakd_ros.report import charts
from monotakd_ros.report.page_template import drawn, render_template
from monotakd_ros.report.pictures import KIND_WORDS, Picture


def render(report: Mapping[str, Any], pictures: Sequence[Picture] = ()) -> str:
    """The page.

    Args:
        report: the content of report.json.
        pictures: of the chosen frames, best first.

    Returns:
        A whole HTML document.
    """
    return render_template(
        "page.html.j2",
        report=report,
        run=report["run"],
        charts=_charts(report),
        pictures=pictures,
        kind_words=KIND_WORDS,
        data_uri=_data_uri,
        overlap_limit=overlap_limit,
        difficulties=DIFFICULTIES,
    )


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def _charts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Chart kind -> class -> `<svg>`, without those that have nothing to show; coverage and latency stand alone."""
    names = report["classes"]
    curves = report["curves"] or {}
    errors, reliability = report["errors"] or {}, report["reliability"] or {}
    distance = report["ap_by_distance"] or {}
    per_class = {
        "precision_recall": lambda name: charts.precision_recall(
            name, {overlaps: of_class.get(name) or {} for overlaps, of_class in curves.items()}
        ),
        "by_distance": lambda name: charts.ap_by_distance(name, distance.get(name) or ()),
        "along_ray": lambda name: charts.error_along_ray(name, errors.get(name) or {}),
        "yaw": lambda name: charts.yaw_by_distance(name, (errors.get(name) or {}).get("by_distance") or ()),
        "reliability": lambda name: charts.reliability(name, reliability.get(name) or {}),
    }
    of_classes: dict[str, Any] = {kind: drawn(names, draw) for kind, draw in per_class.items()}
    alone = {
        "coverage": charts.coverage(report["coverage"] or {}),
        "latency": charts.latency(report["latency_ms"] or {}),
    }
    return of_classes | {kind: None if svg is None else Markup(svg) for kind, svg in alone.items()}
