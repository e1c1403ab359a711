"""Charts: well-formed, the same in every run, free of foreign ids, and None where there is nothing to show."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from monotakd_ros.report import charts
from monotakd_ros.report.figure import VARIABLES, add_axes, new_figure, svg_from_figure

Draw = Callable[[dict[str, Any]], "str | None"]

DRAWN: dict[str, Draw] = {
    "precision_recall": lambda report: charts.precision_recall(
        "Car", {overlaps: curves["Car"] for overlaps, curves in report["curves"].items()}
    ),
    "by_distance": lambda report: charts.ap_by_distance("Car", report["ap_by_distance"]["Car"]),
    "along_ray": lambda report: charts.error_along_ray("Car", report["errors"]["Car"]),
    "yaw": lambda report: charts.yaw_by_distance("Car", report["errors"]["Car"]["by_distance"]),
    "reliability": lambda report: charts.reliability("Car", report["reliability"]["Car"]),
    "coverage": lambda report: charts.coverage(report["coverage"]),
    "latency": lambda report: charts.latency(report["latency_ms"]),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_a_chart_is_well_formed_and_takes_the_page_s_colours(kind: str, make_report: Callable) -> None:
    svg = DRAWN[kind](make_report())
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root[0].tag.endswith("title")
    assert root[0].text
    assert root.get("aria-labelledby") == root[0].get("id")
    assert "var(--ink)" in svg
    assert not [colour for colour in VARIABLES if colour in svg]
    assert "<style" not in svg
    assert "DejaVu" not in svg


@pytest.mark.parametrize("kind", DRAWN)
def test_a_chart_is_the_same_in_every_run(kind: str, make_report: Callable) -> None:
    assert DRAWN[kind](make_report()) == DRAWN[kind](make_report())


def test_ids_of_different_charts_differ_and_all_references_hold(make_report: Callable) -> None:
    ids: list[str] = []
    for draw in DRAWN.values():
        svg = draw(make_report())
        own = re.findall(r'\bid="([^"]+)"', svg)
        used = re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)
        assert set(used) <= set(own)
        ids += own
    assert len(ids) == len(set(ids))


def test_the_curve_ends_where_nothing_more_is_found() -> None:
    curve = [1.0] * 11 + [0.0] * 30
    svg = charts.precision_recall("Car", {"strict": {"3d": {"moderate": curve}}})
    full = charts.precision_recall("Car", {"strict": {"3d": {"moderate": [1.0] * 41}}})

    def right_end(text: str) -> float:
        line = next(path for path in re.findall(r'<path d="([^"]+)"[^>]*var\(--car\)', text))
        return max(float(x) for x in re.findall(r"[ML] ([\d.]+) ", line))

    start, end = 36.0, 348.0
    assert right_end(full) == pytest.approx(end, abs=0.1)
    assert right_end(svg) == pytest.approx(start + (end - start) * 11 / 40, abs=0.1)


def test_charts_of_nothing_are_none(make_report: Callable) -> None:
    empty_row = {"group": "0-10 m", "n_gt": 0, "strict": {"3d": None, "bev": None}, "loose": {"3d": None, "bev": None}}
    no_bins = [{"from": 0.0, "to": 0.1, "count": 0, "mean_score": None, "correct_share": None}]
    assert charts.precision_recall("Car", {}) is None
    assert charts.precision_recall("Car", {"strict": {"3d": dict.fromkeys(("easy", "moderate", "hard"))}}) is None
    assert charts.ap_by_distance("Car", [empty_row]) is None
    assert charts.ap_by_distance("Car", []) is None
    assert charts.error_along_ray("Car", {"points": [], "by_distance": []}) is None
    assert charts.yaw_by_distance("Car", [{"from_m": 0, "to_m": 10, "count": 0, "yaw_median_abs_deg": None}]) is None
    assert charts.reliability("Car", {"bins": no_bins}) is None
    assert charts.coverage({"Car": {"count": 0, "levels": [0.5], "observed": [None]}}) is None
    assert charts.latency({}) is None


def test_one_point_and_perfect_and_zero_ap_are_drawn() -> None:
    point = {"points": [[12.0, 30.0]], "by_distance": [{"from_m": 60, "to_m": None}]}
    ElementTree.fromstring(charts.error_along_ray("Car", point))
    for value in (0.0, 100.0):
        sides = {"3d": value, "bev": value}
        row = {"group": "over 60 m", "n_gt": 40, "strict": sides, "loose": sides}
        ElementTree.fromstring(charts.ap_by_distance("Cyclist", [row]))
        assert charts.ap_by_distance("Cyclist", [row | {"n_gt": 9}]) is None


def test_names_with_dollars_and_markup_are_text() -> None:
    section = {"count": 3, "levels": [0.5, 0.9], "observed": [0.4, 0.8]}
    svg = charts.coverage({"a$b$<i>&": section})
    text = "".join(ElementTree.fromstring(svg).itertext())
    assert "a$b$<i>&" in text
    assert charts.reliability('x" onload="', {"bins": []}) is None
    bins = [{"from": 0.0, "to": 0.1, "count": 4, "mean_score": 0.05, "correct_share": 0.25}]
    hostile = charts.reliability('x" onload="alert(1)', {"bins": bins})
    assert "onload" not in ElementTree.fromstring(hostile).attrib
    assert re.fullmatch(r"[\w-]+", ElementTree.fromstring(hostile).get("aria-labelledby"))


def test_a_figure_s_axes_lie_where_they_are_asked_to() -> None:
    figure = new_figure(200)
    axes = add_axes(figure, 40, 30, 20, 10)
    left, bottom, width, height = np.array(axes.get_position().bounds) * (360, 200, 360, 200)
    assert (left, bottom, width, height) == pytest.approx((40, 30, 300, 160))
    assert 'viewBox="0 0 360 200"' in svg_from_figure(figure, "plain", "nothing")
