"""The report as one HTML file that needs nothing else: no network, no script, charts and pictures inside.

The layout is `page.html.j2` (with the tables of `tables.html.j2` and the style of `page.css`), which come with the
package; what figures look like and mean is in `charts` and `wording`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import zip_longest
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from monotakd_ros.evaluation.kitti_ap import DIFFICULTIES
from monotakd_ros.evaluation.kitti_counting import overlap_limit
from monotakd_ros.report import charts, wording
from monotakd_ros.report.pictures import KIND_WORDS, Picture

_OPTION = re.compile(r"(--[a-z][a-z-]*(?: \d+)?)")
FILTERS = ("number", "signed", "percent", "interval", "plural", "distance_band")


def render(report: Mapping[str, Any], pictures: Sequence[Picture] = ()) -> str:
    """The page.

    Args:
        report: the content of report.json.
        pictures: of the chosen frames, best first.

    Returns:
        A whole HTML document.
    """
    environment = Environment(
        loader=FunctionLoader(_shipped),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(wording, name) for name in FILTERS} | {"with_options": _with_options}
    return environment.get_template("page.html.j2").render(
        report=report,
        run=report["run"],
        charts=_charts(report),
        pictures=pictures,
        kind_words=KIND_WORDS,
        data_uri=_data_uri,
        words=wording,
        overlap_limit=overlap_limit,
        difficulties=DIFFICULTIES,
        css=Markup(_shipped("page.css")),
    )


def _shipped(name: str) -> str:
    """Text of a file beside this module, also inside a zip."""
    return resources.files("monotakd_ros.report").joinpath(name).read_text(encoding="utf-8")


def _with_options(text: str) -> Markup:
    """A sentence as HTML in which command-line options are not torn apart."""
    parts = _OPTION.split(text)
    options = (Markup('<code class="option">{}</code>').format(part) for part in parts[1::2])
    return Markup("").join(
        piece for pair in zip_longest(map(escape, parts[::2]), options, fillvalue="") for piece in pair
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
    drawn: dict[str, Any] = {
        kind: {name: Markup(svg) for name in names if (svg := draw(name)) is not None}
        for kind, draw in per_class.items()
    }
    alone = {
        "coverage": charts.coverage(report["coverage"] or {}),
        "latency": charts.latency(report["latency_ms"] or {}),
    }
    return drawn | {kind: None if svg is None else Markup(svg) for kind, svg in alone.items()}
