"""`monotakd evaluate` and `monotakd compare` from the command line: the three kinds of input, messages, files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

Monotakd = Callable[..., int]
Record = Callable[[Path, str, int], Path]
QUICK = ("--resamples", 20, "--pictures", 1)
CAR = "Car {} 0 {} 587.0 173.3 614.1 200.1 1.65 1.67 3.64 {} 1.65 30.0 -1.59{}\n"


def write_sides(folder: Path, count: int, share_right: float = 1.0) -> tuple[Path, Path]:
    """Label and result files of one car a frame, found in place in the first `share_right` of the frames."""
    for side in ("label_2", "results"):
        (folder / side).mkdir(parents=True)
    for index in range(count):
        x = 0.3 if index < share_right * count else 5.0
        (folder / "label_2" / f"{index:06d}.txt").write_text(CAR.format("0.00", "-1.57", 0.3, ""))
        (folder / "results" / f"{index:06d}.txt").write_text(CAR.format("-1", "-1.57", x, f" 0.{index % 10}"))
    return folder / "results", folder / "label_2"


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_sides(tmp_path_factory.mktemp("kitti"), 50)


def report_of(folder: Path) -> dict:
    assert {"report.html", "report.json", "boxes.npz"} <= {item.name for item in folder.iterdir()}
    return json.loads((folder / "report.json").read_text())


def test_result_files(monotakd: Monotakd, sides: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    results, labels = sides
    assert monotakd("evaluate", "--results", results, "--labels", labels, "--out", tmp_path / "out", *QUICK) == 0
    printed = capsys.readouterr().out
    for expected in ("50 frames", "Car", "3D moderate with 95 % interval: strict 100.0", str(tmp_path / "out")):
        assert expected in printed
    report = report_of(tmp_path / "out")
    assert report["kitti_ap"]["strict"]["Car"]["3d"]["R40"] == pytest.approx([0.0, 100.0, 100.0])
    assert report["run"]["mode"] == "results"
    assert not (tmp_path / "out" / "kitti_results").exists()


def test_list_of_frames(monotakd: Monotakd, sides: tuple[Path, Path], tmp_path: Path) -> None:
    results, labels = sides
    (tmp_path / "val.txt").write_text("000003\n000007\n")
    words = ("evaluate", "--results", results, "--labels", labels, "--frames", tmp_path / "val.txt")
    assert monotakd(*words, "--out", tmp_path / "out", *QUICK) == 0
    assert report_of(tmp_path / "out")["frames"]["evaluated"] == 2


def test_checkpoint_on_a_recording_and_its_own_bag_agree(
    monotakd: Monotakd, record: Record, checkpoint: Path, tmp_path: Path
) -> None:
    drive = record(tmp_path / "drive", "bag", 3)
    weights = ("--checkpoint", checkpoint)
    assert monotakd("evaluate", *weights, "--data", drive, "--out", tmp_path / "direct", *QUICK) == 0
    assert monotakd("replay", drive, *weights, "--out", tmp_path / "boxes", "--pictures", "none") == 0
    bag = tmp_path / "boxes" / "detections"
    assert monotakd("evaluate", "--detections", bag, "--labels", drive, "--out", tmp_path / "recorded", *QUICK) == 0
    direct, recorded = report_of(tmp_path / "direct"), report_of(tmp_path / "recorded")
    assert direct["frames"]["evaluated"] == recorded["frames"]["evaluated"] == 3
    assert direct["counts"] == recorded["counts"]
    assert direct["counts"]["Car"]["truth"] == 3
    assert direct["run"]["checkpoint"]["config"] == "tiny"
    assert {"detect", "network"} <= set(direct["latency_ms"])
    for name in ("direct", "recorded"):
        assert len(list((tmp_path / name / "kitti_results").glob("*.txt"))) == 3
    assert monotakd("compare", tmp_path / "direct", tmp_path / "recorded", "--resamples", 20) == 0


def test_written_results_score_the_same(monotakd: Monotakd, record: Record, checkpoint: Path, tmp_path: Path) -> None:
    """What is written for the benchmark's server is what was scored."""
    drive = record(tmp_path / "drive", "kitti", 3)
    words = ("--checkpoint", checkpoint, "--data", drive, "--out", tmp_path / "direct", *QUICK)
    assert monotakd("evaluate", *words) == 0
    results, labels = tmp_path / "direct" / "kitti_results", drive / "training" / "label_2"
    assert monotakd("evaluate", "--results", results, "--labels", labels, "--out", tmp_path / "text", *QUICK) == 0
    direct, text = report_of(tmp_path / "direct"), report_of(tmp_path / "text")
    for name in ("Car", "Pedestrian", "Cyclist"):
        for metric in ("bev", "3d"):
            first, second = (report["kitti_ap"]["loose"][name][metric] for report in (direct, text))
            assert first["n_gt"] == second["n_gt"]
            assert [value or 0.0 for value in first["R40"]] == pytest.approx([value or 0.0 for value in second["R40"]])


def test_results_only_for_frames_without_labels(
    monotakd: Monotakd, record: Record, checkpoint: Path, tmp_path: Path, capsys
) -> None:
    drive = record(tmp_path / "drive", "kitti", 2)
    for label in (drive / "training" / "label_2").iterdir():
        label.unlink()
    words = ("evaluate", "--checkpoint", checkpoint, "--data", drive, "--out", tmp_path / "upload")
    assert monotakd(*words) == 1
    assert "--results-only" in capsys.readouterr().err
    assert not (tmp_path / "upload").exists()
    assert monotakd(*words, "--results-only") == 0
    assert sorted(item.name for item in (tmp_path / "upload").iterdir()) == ["000000.txt", "000001.txt"]


def test_the_data_are_never_replaced_by_their_report(
    monotakd: Monotakd, record: Record, checkpoint: Path, tmp_path: Path, capsys
) -> None:
    drive = record(tmp_path / "drive", "kitti", 1)
    words = ("evaluate", "--checkpoint", checkpoint, "--data", drive, "--out", drive, "--overwrite")
    for more, message in (((), "would delete what is read"), (("--results-only",), "replaces nothing")):
        assert monotakd(*words, *more) == 1
        assert message in capsys.readouterr().err
    assert (drive / "training" / "image_2" / "000000.png").exists()


def test_case_of_classes_does_not_matter(monotakd: Monotakd, sides: tuple[Path, Path], tmp_path: Path) -> None:
    words = ("evaluate", "--results", sides[0], "--labels", sides[1], *QUICK)
    for name, classes in (("a", "Car"), ("b", "car,CAR")):
        assert monotakd(*words, "--classes", classes, "--out", tmp_path / name) == 0
    assert report_of(tmp_path / "b")["kitti_ap"] == report_of(tmp_path / "a")["kitti_ap"]


def test_existing_report_is_kept_without_overwrite(
    monotakd: Monotakd, sides: tuple[Path, Path], tmp_path: Path, capsys
) -> None:
    words = ("evaluate", "--results", sides[0], "--labels", sides[1], "--out", tmp_path / "out", *QUICK)
    assert monotakd(*words) == 0
    before = (tmp_path / "out" / "report.json").read_bytes()
    assert monotakd(*words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "report.json").read_bytes() == before
    assert monotakd(*words, "--overwrite") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected one of --checkpoint CKPT --data"),
        (("--results", "a", "--detections", "b", "--labels", "c"), "got --detections and --results"),
        (("--checkpoint", "a"), "--data SOURCE"),
        (("--results", "a"), "--labels"),
        (("--results", "a", "--labels", "b", "--results-only"), "--results-only"),
        (("--detections", "a", "--labels", "b", "--frames", "c"), "--frames"),
        (("--results", "nowhere", "--labels", "nowhere"), "nowhere"),
        (("--results", "a", "--labels", "b", "--class-map", "bicycle"), "expected FROM=TO"),
        (("--results", "a", "--labels", "b", "--classes", ","), "expected class names"),
        (("--results", "a", "--labels", "b", "--block-frames", "0"), "expected a number >= 1"),
        (("--results", "a", "--labels", "b", "--score", "nan"), "expected a finite number"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    monotakd: Monotakd, tmp_path: Path, capsys, words: tuple[str, ...], message: str
) -> None:
    assert monotakd("evaluate", *words, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "error:" in error
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Car -1 -1 0 1 2 3", r"000001\.txt, line 2: expected 15 fields \(16 with a score\), got 7"),
        (CAR.format("-1", "0", "nan", " 0.5"), r"000001\.txt, line 2: expected finite numbers"),
        (CAR.format("-1", "0", "0.3", " nan"), r"000001\.txt, line 2: expected finite numbers"),
        (CAR.format("-1", "0", "0.3", ""), r"000001\.txt, line 2: .*score"),
    ],
    ids=["short", "NaN place", "NaN score", "no score"],
)
def test_malformed_result_names_file_and_line(
    monotakd: Monotakd, tmp_path: Path, capsys, line: str, message: str
) -> None:
    results, labels = write_sides(tmp_path, 3)
    with (results / "000001.txt").open("a") as file:
        file.write(line)
    assert monotakd("evaluate", "--results", results, "--labels", labels, "--out", tmp_path / "out", *QUICK) == 1
    assert re.search(message, capsys.readouterr().err)


def test_missing_frames_are_named_and_may_be_allowed(monotakd: Monotakd, tmp_path: Path, capsys) -> None:
    results, labels = write_sides(tmp_path, 4)
    (results / "000002.txt").unlink()
    words = ("evaluate", "--results", results, "--labels", labels, "--out", tmp_path / "out", *QUICK)
    assert monotakd(*words) == 1
    assert re.search(r"frames without a result file: 1 \(000002\).*--allow-missing", capsys.readouterr().err)
    assert monotakd(*words, "--allow-missing") == 0
    report = report_of(tmp_path / "out")
    assert report["frames"]["missing"] == {"count": 1, "names": ["000002"]}
    assert report["frames"]["evaluated"] == 3


def test_other_scores_sizes_and_classes_are_defined(monotakd: Monotakd, tmp_path: Path) -> None:
    """Scores are any numbers; a box without volume is a wrong one; a class that is not evaluated is counted."""
    results, labels = write_sides(tmp_path, 50)
    with (results / "000000.txt").open("a") as file:
        file.write(CAR.format("-1", "0", "0.3", " 17.5").replace("1.65 1.67 3.64", "0 1.67 3.64"))
        file.write(CAR.format("-1", "0", "0.3", " 2.5").replace("Car", "Spaceship"))
    words = ("evaluate", "--results", results, "--labels", labels, "--out", tmp_path / "out", *QUICK)
    assert monotakd(*words) == 0
    report = report_of(tmp_path / "out")
    assert report["counts"]["Spaceship"] == {"truth": 0, "results": 1}
    assert report["reliability"] is None
    told = "\n".join(report["warnings"])
    assert "000000.txt, line 2" in told
    assert "Spaceship" in told
    assert report["kitti_ap"]["strict"]["Car"]["3d"]["R40"][1] < 100.0


@pytest.fixture
def weak_and_strong(monotakd: Monotakd, tmp_path: Path, capsys) -> tuple[Path, Path]:
    """Reports of two detectors on the same frames."""
    for name, share in (("weak", 0.3), ("strong", 1.0)):
        results, labels = write_sides(tmp_path / name, 60, share)
        words = ("--results", results, "--labels", labels, "--out", tmp_path / f"r_{name}", *QUICK)
        assert monotakd("evaluate", *words) == 0
    capsys.readouterr()
    return tmp_path / "r_weak", tmp_path / "r_strong"


def test_compare_says_who_is_better(
    monotakd: Monotakd, weak_and_strong: tuple[Path, Path], tmp_path: Path, capsys
) -> None:
    weak, strong = weak_and_strong
    assert monotakd("compare", weak, strong, "--resamples", 50, "--json", tmp_path / "difference.json") == 0
    assert "Car 3D moderate (strict): B is better, beyond noise" in capsys.readouterr().out
    rows = json.loads((tmp_path / "difference.json").read_text())["differences"]
    assert any(row["beyond_noise"] and row["difference"] > 0 for row in rows)
    assert monotakd("compare", strong, strong, "--resamples", 50, "--all") == 0
    printed = capsys.readouterr().out
    assert "within noise" in printed
    assert "Car AOS strict easy" not in printed, "no ground truth counts as easy: its boxes are too small"
    assert "Car AOS strict hard" in printed
    assert monotakd("compare", weak, tmp_path) == 1
    assert "expected a report of `monotakd evaluate`" in capsys.readouterr().err
    assert monotakd("compare", weak, strong, "--resamples", 0) == 1
    assert "--resamples" in capsys.readouterr().err


def test_compare_writes_a_page_and_replaces_only_on_demand(
    monotakd: Monotakd, weak_and_strong: tuple[Path, Path], tmp_path: Path, capsys
) -> None:
    page, figures = tmp_path / "new" / "page.html", tmp_path / "new" / "figures.json"
    words = ("compare", *weak_and_strong, "--resamples", 20)
    assert monotakd(*words, "--html", page, "--json", figures) == 0
    assert str(page) in capsys.readouterr().out
    assert "B (results) is better" not in page.read_text(), "two reports of one name go by their folders"
    assert f"B (results ({weak_and_strong[1]})) is better" in page.read_text()
    assert sorted(path.name for path in page.parent.iterdir()) == ["figures.json", "page.html"]
    page.write_text("earlier")
    for option, path in (("--html", page), ("--json", figures)):
        before = path.read_bytes()
        assert monotakd(*words, option, path) == 1
        assert "--overwrite" in capsys.readouterr().err
        assert path.read_bytes() == before
    assert monotakd(*words, "--html", page, "--overwrite") == 0
    assert page.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("html", "json_name", "message"),
    [
        ("r_weak/page.html", "a.json", "lies in a report"),
        ("one", "one", "expected two files"),
        ("r_weak", "a.json", "found a folder"),
    ],
)
def test_compare_loses_nothing(
    monotakd: Monotakd,
    weak_and_strong: tuple[Path, Path],
    tmp_path: Path,
    capsys,
    html: str,
    json_name: str,
    message: str,
) -> None:
    words = ("--html", tmp_path / html, "--json", tmp_path / json_name, "--overwrite")
    assert monotakd("compare", *weak_and_strong, *words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / json_name).exists()


def test_interrupted_compare_leaves_nothing(
    monotakd: Monotakd, weak_and_strong: tuple[Path, Path], tmp_path: Path, monkeypatch
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("monotakd_ros.atomic._flush", interrupt)
    (tmp_path / "out").mkdir()
    words = ("--html", tmp_path / "out" / "page.html", "--json", tmp_path / "out" / "figures.json")
    assert monotakd("compare", *weak_and_strong, "--resamples", 5, *words) == 130
    assert list((tmp_path / "out").iterdir()) == []


def test_interrupt_scores_what_is_done(
    record: Record, checkpoint: Path, tmp_path: Path, interrupted: Callable[..., int]
) -> None:
    long = record(tmp_path / "long", "bag", 300)
    words = ["evaluate", "--checkpoint", checkpoint, "--data", long, "--out", tmp_path / "out", *QUICK]
    assert interrupted(*words) == 130
    report = report_of(tmp_path / "out")
    assert report["run"]["interrupted"] is True
    assert 0 < report["frames"]["evaluated"] < 300
    assert any("interrupted after" in warning for warning in report["warnings"])
