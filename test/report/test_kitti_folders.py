"""Two folders of KITTI text: the devkit's own numbers, sides that differ, and every folder layout."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from monotakd_ros.errors import LabelError, SourceError
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES, METRICS, kitti_ap
from monotakd_ros.report.both_sides import warnings_about
from monotakd_ros.report.kitti_folders import gather_kitti

TRUTH = "Car 0.10 1 -1.57 100.5 150 200 250 1.5 1.6 4.0 2.0 1.7 20.0 -1.58\n"
RESULT = TRUTH.replace("-1.58\n", "-1.58 0.875\n")


@pytest.mark.parametrize("case", ["main", "accurate", "sparse", "ties"])
def test_the_gathered_frames_score_the_devkits_figures(data_dir: Path, case: str) -> None:
    folder = data_dir / "ap_golden"
    if not folder.is_dir():
        pytest.skip(f"no devkit figures at {folder}")
    expected = json.loads((folder / "golden.json").read_text())["cases"][case]
    gathered = gather_kitti(folder / expected["dir"], folder, folder / "frames.txt", allow_missing=False)
    got = kitti_ap([frame.truth for frame in gathered.frames], [frame.results for frame in gathered.frames])
    cells = [(o, c, m, f) for o in ("strict", "loose") for c in KITTI_CLASSES for m in METRICS for f in ("R40", "R11")]
    for overlaps, name, metric, figure in cells:
        wanted = expected[overlaps][name][metric][figure]
        assert got[overlaps][name][metric][figure] == pytest.approx(wanted, abs=1e-9), (overlaps, name, metric, figure)


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write(tmp_path / "kitti" / "training" / "label_2", f1=TRUTH, f2=TRUTH, f3="")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write(tmp_path / "run" / "data", f1=RESULT, f2="", f3=RESULT)


def names(gathered) -> list[str]:
    return [frame.name for frame in gathered.frames]


def test_every_layout_gives_the_same_frames(tmp_path, labels, results):
    write(tmp_path / "run" / "plot", f1="0 1")  # the devkit's own outputs beside its data
    (tmp_path / "run" / "stats_car_detection.txt").write_text("0 0 0")
    for left in (results, tmp_path / "run"):
        for right in (labels, labels.parent, tmp_path / "kitti"):
            gathered = gather_kitti(left, right, None, allow_missing=False)
            assert names(gathered) == ["f1", "f2", "f3"]
            assert [len(frame.truth) for frame in gathered.frames] == [1, 1, 0]
            assert [len(frame.results) for frame in gathered.frames] == [1, 0, 1]
            assert (gathered.missing, gathered.extra, gathered.warnings) == ((), (), ())


def test_run_says_what_was_compared(labels, results):
    run = gather_kitti(results, labels, None, allow_missing=False).run
    assert run["mode"] == "results"
    assert (run["results"], run["labels"]) == (str(results), str(labels))
    assert run["sources"] == [{"name": "label_2", "path": str(labels), "frames": 3}]
    json.dumps(run)


def test_numbers_with_other_leading_zeros_are_the_same_frames(tmp_path):
    """A bag's frames have six digits, KITTI's raw and tracking labels ten."""
    labels = write(tmp_path / "label_2", **{"0000000003": TRUTH, "0000000012": ""})
    results = write(tmp_path / "results", **{"000003": RESULT, "000012": RESULT})
    gathered = gather_kitti(results, labels, None, allow_missing=False)
    assert names(gathered) == ["0000000003", "0000000012"]
    assert [len(frame.truth) for frame in gathered.frames] == [1, 0]


def test_missing_result_files_are_named_and_counted(tmp_path, labels):
    results = write(tmp_path / "some", f2=RESULT)
    with pytest.raises(SourceError, match=r"frames without a result file: 2 \(f1, f3\).*--allow-missing .* have, 1$"):
        gather_kitti(results, labels, None, allow_missing=False)
    gathered = gather_kitti(results, labels, None, allow_missing=True)
    assert (names(gathered), gathered.missing, gathered.extra) == (["f2"], ("f1", "f3"), ())


def test_extra_result_files_are_named_and_counted(results, labels):
    for index in range(7):
        (results / f"g{index}.txt").write_text("")
    with pytest.raises(SourceError, match=r"result files of frames without labels: 7 \(g0, g1, g2, g3, g4 and 2"):
        gather_kitti(results, labels, None, allow_missing=False)
    gathered = gather_kitti(results, labels, None, allow_missing=True)
    assert names(gathered) == ["f1", "f2", "f3"]
    assert gathered.extra == tuple(f"g{index}" for index in range(7))


def test_a_list_names_the_frames_and_their_order(tmp_path, results, labels):
    (results / "g1.txt").write_text("")  # outside the list: no fault
    frames = tmp_path / "list.txt"
    frames.write_text("f3\n\nf1\n")
    gathered = gather_kitti(results, labels, frames, allow_missing=False)
    assert (names(gathered), gathered.extra) == (["f3", "f1"], ())


def test_listed_frames_without_labels_are_a_fault(tmp_path, results, labels):
    (results / "g1.txt").write_text("")
    frames = tmp_path / "list.txt"
    frames.write_text("f1 g1 g2")
    with pytest.raises(
        SourceError, match=r"without a result file: 1 \(g2\); listed frames without labels: 2 \(g1, g2\)"
    ):
        gather_kitti(results, labels, frames, allow_missing=False)
    gathered = gather_kitti(results, labels, frames, allow_missing=True)
    assert (names(gathered), gathered.missing, gathered.extra) == (["f1"], ("g2",), ("g1",))


@pytest.mark.parametrize(("text", "message"), [("", "found none"), ("f1 f2 f1 f2", r"once, 2 come .*: f1, f2")])
def test_a_list_without_names_or_with_one_twice(tmp_path, results, labels, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(SourceError, match=rf"list\.txt: expected .*{message}"):
        gather_kitti(results, labels, tmp_path / "list.txt", allow_missing=False)


def test_a_missing_list_is_named(tmp_path, results, labels):
    with pytest.raises(SourceError, match=r"nowhere\.txt: cannot read the list"):
        gather_kitti(results, labels, tmp_path / "nowhere.txt", allow_missing=False)


@pytest.mark.parametrize("allow_missing", [False, True])
def test_no_common_frame_is_an_error_always(tmp_path, labels, allow_missing):
    with pytest.raises(SourceError, match="no frame is on both sides: frames without a result file: 3"):
        gather_kitti(write(tmp_path / "other", g1=RESULT), labels, None, allow_missing)


def test_empty_and_missing_folders(tmp_path, results, labels):
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(SourceError, match="expected result files"):
            gather_kitti(nothing, labels, None, allow_missing=True)
        with pytest.raises(SourceError, match="expected label files"):
            gather_kitti(results, nothing, None, allow_missing=True)


def test_results_that_are_all_empty_are_fine(tmp_path, labels):
    gathered = gather_kitti(write(tmp_path / "none", f1="", f2="", f3=""), labels, None, allow_missing=False)
    assert [len(frame.results) for frame in gathered.frames] == [0, 0, 0]


def test_a_malformed_line_is_named(results, labels):
    (results / "f2.txt").write_text(f"{RESULT}{TRUTH}")
    with pytest.raises(LabelError, match=r"f2\.txt, line 2: expected 16 fields, got 15"):
        gather_kitti(results, labels, None, allow_missing=True)


def test_what_a_reader_must_know(results, labels):
    (labels / "f1.txt").write_text(
        TRUTH.replace("0.10", "-1") + "DontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10\n"
    )
    (results / "f1.txt").write_text(RESULT.replace("1.5 1.6", "0 1.6") + RESULT.replace("Car", "Bus") * 2)
    gathered = gather_kitti(results, labels, None, allow_missing=False)
    (sizes,) = gathered.warnings
    truncation, classes = warnings_about(gathered.frames, KITTI_CLASSES)
    assert truncation.startswith("truncation is unknown for 1 of 2")
    assert classes == "results of classes that are not evaluated: Bus (2)"
    assert sizes.startswith("results with a size of zero or less, which overlap nothing in 3D: 1,")
    assert sizes.endswith("f1.txt, line 1")


def test_scenes_need_images_and_calibration(results, labels):
    assert gather_kitti(results, labels, None, allow_missing=False).scenes(["f1"]) == {}
    training = labels.parent
    write(training / "calib", f1="P2: 700 0 600 40 0 700 180 0 0 0 1 0\n", f2="P2: 1 2 3\n", f3="")
    assert gather_kitti(results, labels, None, allow_missing=False).scenes(["f1"]) == {}
    (training / "image_2").mkdir()
    for name in ("f1", "f2"):
        cv2.imwrite(str(training / "image_2" / f"{name}.png"), np.full((30, 40, 3), 7, dtype=np.uint8))
    scenes = gather_kitti(results, labels, None, allow_missing=False).scenes(["f1", "f2", "f3"])
    assert list(scenes) == ["f1"]  # f2's calibration is malformed, f3 has no image
    assert (scenes["f1"].camera.width, scenes["f1"].camera.fx) == (40, 700)
    assert scenes["f1"].points_lidar is None


def test_scenes_carry_the_cloud(data_dir: Path, tmp_path: Path):
    folder = data_dir / "kitti" / "training"
    name = sorted(item.stem for item in (folder / "label_2").glob("*.txt"))[0]
    (tmp_path / "list.txt").write_text(name)
    gathered = gather_kitti(write(tmp_path / "r", **{name: ""}), data_dir / "kitti", tmp_path / "list.txt", False)
    frame = gathered.scenes([name])[name]
    assert frame.image.shape[:2] == (frame.camera.height, frame.camera.width)
    assert len(frame.points_lidar) > 1000
    assert frame.cam_T_lidar.shape == (4, 4)


def test_whole_truncation_is_a_share_where_other_labels_write_shares(tmp_path, results):
    whole = TRUTH.replace("0.10", "1")
    labels = write(tmp_path / "short", f1=whole, f2=TRUTH, f3="")  # as written with "%g"
    gathered = gather_kitti(results, labels, None, allow_missing=False)
    assert [frame.truth.truncation.tolist() for frame in gathered.frames] == [[1.0], [0.1], []]
    assert gathered.warnings == ()


def test_truncation_flags_of_the_tracking_benchmark_are_unknown_and_told(tmp_path, results):
    labels = write(tmp_path / "drive", f1=TRUTH.replace("0.10", "1"), f2=TRUTH.replace("0.10", "0"), f3="")
    gathered = gather_kitti(results, labels, None, allow_missing=False)
    assert [frame.truth.truncation.tolist() for frame in gathered.frames] == [[-1.0], [0.0], []]
    assert "the 1 above 0 count as unknown. The devkit would" in gathered.warnings[0]
