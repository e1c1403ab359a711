"""The page: valid, self-contained, hostile names harmless, every section optional, and words that match the figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from monotakd_ros.evaluation.kitti_ap import kitti_ap
from monotakd_ros.report import wording
from monotakd_ros.report.page import render
from monotakd_ros.report.page_template import shipped

OPTIONAL = {
    "ap_by_distance": "There is no AP by distance",
    "reliability": "Scores cannot be judged",
    "coverage": "The results come without a position covariance.",
    "nuscenes": "There are no nuScenes-style figures.",
    "latency_ms": "The detector was not run here, so there are no times.",
    "errors": "No box was matched, so there is no error to show.",
    "curves": "There is no curve",
}
"""Sections that may be None, and what the page then says."""
SILENT = {"kitti_ap_interval": "4.5–6.6", "ap_by_occlusion": "By occlusion", "ap_by_truncation": "By the share outside"}
"""Those that are simply not there."""


@pytest.fixture(scope="module")
def html(make_report: Callable, make_picture: Callable) -> str:
    return render(make_report(), [make_picture()])


@pytest.fixture(scope="module")
def page(html: str, read_page: Callable) -> Any:
    return read_page(html)


def test_the_page_needs_nothing_from_outside(page: Any) -> None:
    assert page.needs_nothing_from_outside()


def test_ids_are_unique_and_links_lead_somewhere(page: Any) -> None:
    assert page.links_lead_somewhere()


def test_headings_do_not_skip_a_level_and_pictures_have_words(page: Any) -> None:
    assert page.headings_skip_no_level()
    assert all(image["alt"] for image in page.images)
    assert page.tags.count("table") == page.tags.count("caption")


def test_the_headline_gives_figure_interval_and_counts(page: Any) -> None:
    assert "Car, 3D AP (R40, moderate, strict): 18.40, 95 % interval 15.1–22.1." in page.text
    assert "1,204 frames, Car, Pedestrian and Cyclist." in page.text
    assert "2 labelled frames have no results and were left out" in page.text
    assert "NVIDIA H200" in page.text
    assert "0f" * 32 in page.text


@pytest.mark.parametrize("section", [*OPTIONAL, *SILENT])
def test_a_report_without_a_section_says_so(
    section: str, make_report: Callable, page: Any, read_page: Callable
) -> None:
    bare = read_page(render(make_report(**{section: None}, classes=["Cyclist"]))).text
    assert "None" not in bare
    if section in OPTIONAL:
        assert OPTIONAL[section] in bare
        assert OPTIONAL[section] not in page.text
    else:
        assert SILENT[section] not in bare
        assert SILENT[section] in page.text


def test_a_report_of_nothing_is_a_page(make_report: Callable, read_page: Callable) -> None:
    nothing = dict.fromkeys([*OPTIONAL, *SILENT]) | {"classes": [], "counts": {}, "warnings": []}
    nothing |= {"kitti_ap": {"strict": {}, "loose": {}}, "frames": empty_frames()}
    bare = read_page(render(make_report(**nothing)))
    assert "0 frames, and nothing to evaluate in them" in bare.text
    assert bare.tags.count("svg") == 0


def test_classes_of_which_nothing_was_found_are_dashes(make_report: Callable, read_page: Callable) -> None:
    report = make_report(kitti_ap_interval=None, classes=["Car"])
    for metrics in (report["kitti_ap"]["strict"]["Car"], report["kitti_ap"]["loose"]["Car"]):
        for cell in metrics.values():
            cell |= {"R40": [None] * 3, "R11": [None] * 3}
    report["curves"] = {"strict": {"Car": {}}, "loose": {"Car": {}}}
    report["errors"]["Car"]["operating_point"] |= {"score": None, "precision": None, "recall": None, "f1": None}
    bare = read_page(render(report))
    assert "no 3D AP, as the results hold no Car with a place in 3D" in bare.text
    assert "nothing was matched, so no score limit can be recommended" in bare.text
    assert "–" in bare.text


def test_hostile_names_are_text(make_report: Callable, make_picture: Callable, read_page: Callable) -> None:
    evil = "<script>alert('1')</script>\"><img src=x onerror=alert(2)>"
    report = make_report(warnings=[evil], latency_ms={evil: make_report()["latency_ms"]["read"]})
    report["run"] |= {"title": evil, "sources": [{"name": evil, "path": evil, "frames": 1}], "device": evil}
    report["frames"]["missing"]["names"] = [evil]
    report["counts"][evil] = {"truth": 1, "results": 1}
    page = read_page(render(report, [make_picture(name=evil, text=evil)]))
    assert "script" not in page.tags
    assert page.tags.count("img") == 1
    assert page.text.count("onerror=alert(2)") >= 6


def test_ended_lists_say_how_many_more(make_report: Callable, read_page: Callable) -> None:
    frames = empty_frames() | {"missing": {"count": 73, "names": [f"{i:06d}" for i in range(50)]}}
    assert "and 23 more" in read_page(render(make_report(frames=frames, classes=[]))).text


def test_text_and_charts_can_be_read_in_both_themes() -> None:
    """WCAG: 4.5 for text, 3 for lines and dots, against the page and (text) the panels."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", part)) for part in shipped("page.css").split("dark) {")[:2]
    )
    for theme in (light, light | dark):
        for name in ("ink", "faint", "accent", "car", "pedestrian", "cyclist", "other"):
            assert contrast(theme[name], theme["paper"]) >= 4.5, name
            assert name == "accent" or contrast(theme[name], theme["panel"]) >= 4.5, name
        assert contrast(theme["grey"], theme["paper"]) >= 3
        assert contrast(theme["alarm"], theme["alarm-panel"]) >= 4.5


def test_the_covariance_s_verdict_in_plain_words(make_report: Callable) -> None:
    coverage = make_report()["coverage"]
    assert wording.coverage_sentence("Car", coverage["Car"]) == (
        "Car: the true centre lies inside the predicted 95 % ellipsoid in 71 % of 800 cases: too confident; standard "
        "deviations would have to grow 1.8 times."
    )
    assert wording.coverage_sentence("Pedestrian", coverage["Pedestrian"]).endswith("95 % of 360 cases: honest.")
    assert wording.coverage_sentence("Cyclist", coverage["Cyclist"]).endswith(
        "too careful; standard deviations could shrink to 62 % of what they are."
    )
    assert "too few cases" in wording.coverage_sentence("Car", coverage["Car"] | {"count": 29})
    assert "no matched box" in wording.coverage_sentence("Car", None)


@pytest.mark.parametrize("count", [0, 1, 7, 39, 40])
def test_the_ceiling_of_few_objects_is_the_metric_s_own(count: int, make_frame: Callable) -> None:
    places = [("Car", 6.0 * index, 20.0) for index in range(count)]
    frame = make_frame("a", places, [(*place, 0.9 - 0.01 * index) for index, place in enumerate(places)])
    perfect = kitti_ap([frame.truth], [frame.results], ["Car"])["strict"]["Car"]["3d"]
    assert perfect["n_gt"] == [count] * 3
    assert (perfect["R40"][1] or 0.0) == pytest.approx(wording.ceiling(count))
    assert wording.few(count) == (count < 40)


def test_numbers_as_text() -> None:
    assert [wording.number(value) for value in (None, 0.04, -0.04, -0.06, 12.25)] == ["–", "0.0", "0.0", "−0.1", "12.2"]
    assert [wording.signed(value) for value in (None, 0.001, 0.31, -0.31)] == ["–", "0.00", "+0.31", "−0.31"]
    assert [wording.percent(value) for value in (None, 0.0, 0.714, 1.0)] == ["–", "0 %", "71 %", "100 %"]
    assert wording.interval(None) == ""
    assert wording.interval([1.0, 2.25]) == "1.0–2.2"
    assert [wording.plural(count, "frame") for count in (0, 1, 1204)] == ["0 frames", "1 frame", "1,204 frames"]
    assert [wording.listing(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert wording.moment("2026-01-05T14:03:59+00:00") == "2026-01-05, 14:03 UTC"
    assert wording.moment("yesterday") == "yesterday"


def empty_frames() -> dict[str, Any]:
    nothing = {"count": 0, "names": []}
    return {"evaluated": 0, "missing": nothing, "extra": nothing, "skipped": {"count": 0, "reasons": []}}


def contrast(a: str, b: str) -> float:
    """WCAG contrast of two colours #rrggbb."""
    low, high = sorted(luminance(colour) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_operating_score_is_recommended_or_as_chosen() -> None:
    point = {"score": 0.41, "precision": 0.8, "recall": 0.5, "f1": 0.62, "correct": 8, "wrong": 2, "missed": 8}
    assert wording.operating_sentence("Car", point).startswith("Car: use score ≥ 0.41 for the best F1 of 0.62: 80 %")
    chosen = wording.operating_sentence("Car", point, chosen=True)
    assert chosen.startswith("Car: score ≥ 0.41, as chosen, gives F1 0.62: 80 %")
    assert "nothing was matched" in wording.operating_sentence("Car", None)


def test_options_in_warnings_stay_whole_and_the_rest_is_escaped(make_report: Callable) -> None:
    html = render(make_report(warnings=["<b> is narrow: --block-frames 10 draws & --seed more"]))
    wanted = (
        '&lt;b&gt; is narrow: <code class="option">--block-frames 10</code> draws &amp; '
        '<code class="option">--seed</code> more'
    )
    assert wanted in html
