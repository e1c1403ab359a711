"""A comparison's page: self-contained, its verdict and marks match the figures, and what differs between runs shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from monotakd_ros.evaluation.bootstrap import Difference, Resampling
from monotakd_ros.evaluation.kitti_ap import Cell
from monotakd_ros.report import comparison_wording as phrases
from monotakd_ros.report.compared_runs import compared_facts
from monotakd_ros.report.comparison import Comparison
from monotakd_ros.report.comparison_charts import both_curves, forest, shared_range
from monotakd_ros.report.comparison_page import render_comparison

BETTER, WORSE, NOISE = (4.0, 2.0, 6.5), (-4.0, -6.5, -2.0), (1.0, -2.0, 4.0)
"""B - A with its interval."""


def difference(
    numbers: tuple[float, float, float],
    name: str = "Car",
    metric: str = "3d",
    overlaps: str = "strict",
    difficulty: str = "moderate",
    counted: int = 988,
) -> Difference:
    point, low, high = numbers
    return Difference(Cell(overlaps, name, metric, difficulty), counted, 20.0, 20.0 + point, low, high)


def both(report: dict[str, Any], differences: Sequence[Difference] = (), **run: Any) -> Comparison:
    """A is `report`; B is the same but for `run`."""
    other = report | {"run": report["run"] | {"title": "teacher.pt on simulated drives"} | run}
    return Comparison(("first", "second"), (report, other), 1204, 0, Resampling(), tuple(differences))


@pytest.fixture(scope="module")
def comparison(make_report: Callable) -> Comparison:
    cells = [(metric, overlaps) for metric in ("3d", "bev") for overlaps in ("strict", "loose")]
    of_car = [
        difference(numbers, "Car", *cell, difficulty)
        for cell in [*cells, ("2d", "strict")]
        for difficulty, numbers in (("easy", NOISE), ("moderate", BETTER), ("hard", WORSE))
    ]
    return both(make_report(), [*of_car, difference(NOISE, "Cyclist", counted=31)], device="NVIDIA A10")


@pytest.fixture(scope="module")
def page(comparison: Comparison, read_page: Callable) -> Any:
    return read_page(render_comparison(comparison))


def test_the_page_stands_alone_and_is_well_built(page: Any) -> None:
    assert page.needs_nothing_from_outside()
    assert page.links_lead_somewhere()
    assert page.headings_skip_no_level()
    assert page.tags.count("table") == page.tags.count("caption") == 2
    assert page.tags.count("svg") == 4, "differences and curves of Car and of Cyclist"


def test_the_verdict_comes_first(page: Any) -> None:
    wanted = (
        "Car, 3D AP (R40, moderate, strict): B (teacher.pt) is better by 4.0 points, which is beyond noise "
        "(95 % interval of B − A: +2.0 to +6.5)."
    )
    assert "student_small.pt against teacher.pt" in page.text
    assert wanted in page.text
    assert "Of 16 figures, B is better in 5 and A in 5; 6 are not beyond noise." in page.text
    assert page.text.index(wanted) < page.text.index("Differences")
    for sentence in phrases.noise_sentences(Resampling()):
        assert re.sub(r"\s+", " ", sentence) in page.text


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (WORSE, "A (student_small.pt) is better by 4.0 points, which is beyond noise"),
        (NOISE, "neither is better beyond noise; B (teacher.pt) is ahead by 1.0 points, which luck can explain"),
        ((0.0, 0.0, 0.0), "A and B are equal; there is no difference beyond noise"),
    ],
)
def test_the_verdict_in_words(numbers: tuple[float, float, float], words: str, make_report: Callable) -> None:
    assert words in phrases.headline(both(make_report(), [difference(numbers)]))


def test_zeros_on_both_sides_are_no_finding(make_report: Callable) -> None:
    nothing = replace(difference((0.0, 0.0, 0.0)), a=0.0, b=0.0)
    assert phrases.verdict(nothing) == "both at zero"
    assert phrases.verdict(replace(nothing, high=2.0)) == "within noise"
    assert phrases.headline(both(make_report(), [nothing])).endswith("so this figure cannot tell them apart.")


def test_another_figure_never_decides(make_report: Callable) -> None:
    others = [
        difference(BETTER, metric="bev"),
        difference(BETTER, overlaps="loose"),
        difference(BETTER, difficulty="easy"),
    ]
    assert both(make_report(), others).primary is None
    assert both(make_report(), [*others, difference(NOISE)]).primary == difference(NOISE)


def test_colour_means_beyond_noise() -> None:
    limits = shared_range([difference(NOISE)])
    for numbers, coloured in ((BETTER, True), (WORSE, True), (NOISE, False)):
        svg = forest("Car", [difference(numbers)], limits)
        assert ("var(--car)" in svg) == coloured
        assert ("var(--grey)" in svg) == (not coloured)
        text = list(ElementTree.fromstring(svg).itertext())
        assert {"moderate", "988", "3D, strict"} <= set(text)
        assert {"+4.0", "−4.0", "+1.0"}.intersection(text)


def test_the_axis_holds_every_interval_and_both_sides_of_zero() -> None:
    low, high = shared_range([difference(BETTER), difference((30.0, 20.0, 40.0), "Cyclist")])
    assert high > 40.0
    assert low < -0.3 * high
    assert shared_range([])[0] < 0 < shared_range([])[1]
    assert shared_range([difference((30.0, 20.0, 40.0), metric="2d")]) == shared_range([])


def test_charts_of_nothing_are_none() -> None:
    assert forest("Car", [], (-1.0, 1.0)) is None
    assert forest("Car", [difference(BETTER, "Cyclist"), difference(BETTER, metric="aos")], (-1.0, 1.0)) is None
    assert both_curves("Car", {}, {"strict": {"3d": {"moderate": None}}, "loose": {}}) is None
    one_side = both_curves("Car", {}, {"strict": {"3d": {"moderate": [1.0] * 41}}})
    assert "B, strict" in one_side
    assert "A, strict" not in one_side


def test_nothing_to_compare_is_a_page(make_report: Callable, read_page: Callable) -> None:
    page = read_page(render_comparison(both(make_report(curves=None))))
    assert "Nothing to compare: no ground truth of moderate difficulty" in page.text
    assert "There is no difference to show" in page.text
    assert page.tags.count("svg") == 0
    assert page.links_lead_somewhere()


def test_what_differs_between_the_runs_shows(comparison: Comparison, page: Any) -> None:
    facts = {fact.name: fact for fact in compared_facts(comparison)}
    assert {name for name, fact in facts.items() if fact.differs} == {"Report", "Title", "Device"}
    assert (facts["Device"].a, facts["Device"].b) == ("NVIDIA H200", "NVIDIA A10")
    assert page.text.count("NVIDIA H200") == page.text.count("NVIDIA A10") == 1
    assert page.text.count("0f" * 32) == 1, "what is the same stands once, for both"
    assert f"3 of {len(facts)} facts differ" in page.text
    assert page.text.count("differs") == 3


def test_unknown_facts_show_when_they_differ(make_report: Callable) -> None:
    run = make_report()["run"]
    other = {"tolerance_s": 0.1, "versions": run["versions"] | {"torch": "2.2.0"}, "resamples": 7, "checkpoint": None}
    facts = {fact.name: fact for fact in compared_facts(both(make_report(), **other))}
    assert (facts["tolerance s"].a, facts["tolerance s"].b) == ("–", "0.1")
    assert (facts["Version of torch"].a, facts["Version of torch"].b) == ("2.13.0", "2.2.0")
    assert "torch" not in facts["Versions"].a
    assert "numpy 2.4.6" in facts["Versions"].a
    assert facts["sha256"].b == "–"
    assert not any("resamples" in name for name in facts), "each report's own intervals are not part of the comparison"


def test_frames_left_out_few_objects_and_warnings_are_told(comparison: Comparison, make_report: Callable) -> None:
    a, b = make_report(warnings=["the same", "only a"]), make_report(warnings=["only b", "the same"])
    short = replace(comparison, reports=(a, b), left_out=3, differences=(difference(BETTER, "Cyclist", counted=9),))
    told = phrases.warnings(short)
    assert told[0].startswith("3 frames that only one report has left out")
    assert told[1].startswith("Cyclist: fewer than 10 labelled objects")
    assert told[2:] == ["A and B: the same", "A: only a", "B: only b"]
    assert "3, which only one report has" in render_comparison(short)
    assert phrases.warnings(replace(comparison, reports=(a | {"warnings": []},) * 2)) == []


def test_two_reports_of_one_name_are_told_apart(make_report: Callable) -> None:
    report = make_report()
    assert both(report, title=report["run"]["title"]).names == ("student_small.pt (first)", "student_small.pt (second)")


def test_hostile_names_are_text(make_report: Callable, read_page: Callable) -> None:
    evil = "<script>alert('1')</script>\"><img src=x onerror=alert(2)>"
    differences = [difference(BETTER, evil)]
    hostile = both(
        make_report(warnings=[evil], counts={evil: {"truth": 1, "results": 2}}), differences, title=evil, odd=evil
    )
    page = read_page(render_comparison(replace(hostile, folders=(evil, "b"))))
    assert {"script", "img"}.isdisjoint(page.tags)
    assert page.text.count("onerror=alert(2)") >= 8
