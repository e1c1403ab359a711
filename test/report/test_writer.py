"""The report's folder: both files, whole or absent, and nothing of others' is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from monotakd_ros.errors import OutputError
from monotakd_ros.report.writer import require_place_for_report, write_report


def test_both_files_and_extra_ones(tmp_path: Path, make_report: Callable, make_picture: Callable) -> None:
    report = make_report(classes=["Car"])
    write_report(
        tmp_path / "out", report, [make_picture()], extra=lambda folder: (folder / "boxes.npz").write_bytes(b"1")
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["boxes.npz", "report.html", "report.json"]
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(report))
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_report_is_replaced_only_on_demand(tmp_path: Path, make_report: Callable) -> None:
    out = tmp_path / "out"
    write_report(out, make_report(classes=[], warnings=["earlier"]))
    with pytest.raises(OutputError, match="--overwrite"):
        write_report(out, make_report(classes=[]))
    write_report(out, make_report(classes=[]), overwrite=True)
    assert json.loads((out / "report.json").read_text())["warnings"] != ["earlier"]


def test_a_stranger_s_folder_is_left_alone(tmp_path: Path, make_report: Callable) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="left alone"):
        write_report(tmp_path, make_report(classes=[]), overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("name", ["training", "metadata.yaml", "thesis.tex"])
def test_only_reports_and_nothing_but_reports_are_replaced(tmp_path: Path, make_report: Callable, name: str) -> None:
    out = tmp_path / "out"
    (out / "ImageSets").mkdir(parents=True)
    (out / name).mkdir()
    with pytest.raises(OutputError, match="left alone"):
        write_report(out, make_report(classes=[]), overwrite=True)
    for file in ("report.html", "report.json"):
        (out / file).write_text("{}")
    with pytest.raises(OutputError, match=r"holds more than a report \(ImageSets, "):
        write_report(out, make_report(classes=[]), overwrite=True)
    assert (out / name).is_dir()


def test_a_report_that_holds_an_input_is_not_replaced(tmp_path: Path, make_report: Callable) -> None:
    out = tmp_path / "out"
    write_report(out, make_report(classes=[]), extra=lambda folder: (folder / "kitti_results").mkdir())
    (tmp_path / "link").symlink_to(out / "kitti_results")
    for given in (out / "kitti_results", out, tmp_path / "link"):
        with pytest.raises(OutputError, match=f"would delete what is read from it, {given}"):
            require_place_for_report(out, True, [given])
    require_place_for_report(out, True, [tmp_path / "elsewhere"])


def test_failures_leave_nothing(tmp_path: Path, make_report: Callable) -> None:
    def fail(folder: Path) -> None:
        raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="full"):
        write_report(tmp_path / "out", make_report(classes=[]), extra=fail)
    with pytest.raises(ValueError, match="JSON"):
        write_report(tmp_path / "out", make_report(classes=[], answer=float("nan")))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_report(tmp_path / "file" / "out", make_report(classes=[]))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_empty_folder_is_a_place(tmp_path: Path, make_report: Callable) -> None:
    (tmp_path / "out").mkdir()
    write_report(tmp_path / "out", make_report(classes=[]))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "report.json"}
