"""KITTI result files: every double as the file has it, the rules for ground truth, and messages that name lines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.data.kitti_results import (
    ground_truth_from_text,
    read_ground_truth,
    read_results,
    results_from_text,
    text_from_results,
    write_results,
)
from monotakd_ros.errors import LabelError, OutputError
from monotakd_ros.frame import KittiFrame

TRUTH = "Car 0.10 1 -1.57 100.5 150 200 250 1.5 1.6 4.0 2.0 1.7 20.0 -1.58"
RESULT = f"{TRUTH} 0.875"
REGION = "DontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10"
FLAT = "Car -1 -1 -10 100 150 200 250 -1 -1 -1 -1000 -1000 -1000 -10 0.5"


def assert_equal(got: KittiFrame, expected: KittiFrame) -> None:
    assert got.names == expected.names
    for name, values in vars(expected).items():
        if name != "names":
            np.testing.assert_array_equal(getattr(got, name), values, err_msg=name)


def test_hand_numbers_of_ground_truth():
    frame = ground_truth_from_text(f"{REGION}\n\n{TRUTH}\n", "x").frame
    assert frame.names == ("DontCare", "Car")  # in place: order decides between ties
    np.testing.assert_array_equal(frame.bbox_px, [[1, 2, 3, 4], [100.5, 150, 200, 250]])
    np.testing.assert_array_equal(frame.hwl, [[-1, -1, -1], [1.5, 1.6, 4.0]])
    np.testing.assert_array_equal(frame.location_cam, [[-1000] * 3, [2.0, 1.7, 20.0]])
    np.testing.assert_array_equal(frame.rotation_y, [-10, -1.58])
    np.testing.assert_array_equal(frame.alpha, [-10, -1.57])
    np.testing.assert_array_equal(frame.truncation, [-1, 0.1])
    np.testing.assert_array_equal(frame.occlusion, [-1, 1])
    np.testing.assert_array_equal(frame.score, [0, 0])


def test_hand_numbers_of_results():
    frame = results_from_text(f"{RESULT}\n{FLAT}\n", "x").frame
    np.testing.assert_array_equal(frame.score, [0.875, 0.5])
    np.testing.assert_array_equal(frame.location_cam[1], [-1000] * 3)


@pytest.mark.parametrize(
    ("word", "written", "unknown"),
    [("0", 0, 0), ("1", 1, -1), ("2", 2, -1), ("1.00", 1, 1), ("0.5", 0.5, 0.5), ("-1", -1, -1), ("5e-1", 0.5, 0.5)],
)
def test_the_tracking_benchmarks_truncation_flag_is_told_from_a_share(word, written, unknown):
    read = ground_truth_from_text(TRUTH.replace("0.10", word), "x")
    assert read.frame.truncation == [written]
    assert read.with_unknown_flags().truncation == [unknown]
    assert read.flags == [word in ("1", "2")]
    assert read.has_shares == ("." in word or "e" in word)


def test_a_score_in_ground_truth_is_dropped():
    assert_equal(ground_truth_from_text(RESULT, "x").frame, ground_truth_from_text(TRUTH, "x").frame)


def test_case_of_a_type_does_not_matter_and_other_names_stay():
    text = "".join(f"{name} {RESULT.split(' ', 1)[1]}\n" for name in ("CAR", "person_Sitting", "robotDog"))
    assert results_from_text(text, "x").frame.names == ("Car", "Person_sitting", "robotDog")


@pytest.mark.parametrize("text", ["", "\n", "  \n\t\n"])
def test_empty_files_are_empty_frames(text):
    assert_equal(ground_truth_from_text(text, "x").frame, KittiFrame.empty())
    assert_equal(results_from_text(text, "x").frame, KittiFrame.empty())
    assert text_from_results(KittiFrame.empty()) == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (TRUTH, "got 15: results need 16"),
        ("Car 0 0 0", "got 4"),
        (f"{RESULT} 1", "got 17"),
        (RESULT.replace("20.0", "far"), "finite numbers"),
        (RESULT.replace("20.0", "inf"), "finite numbers"),
        (RESULT.replace("0.875", "nan"), "finite numbers"),
        (RESULT.replace("0.875", "1e400"), "finite numbers"),
        (RESULT.replace("0.10", "nan"), "finite numbers"),
    ],
)
def test_malformed_result_is_named(line, message):
    with pytest.raises(LabelError, match=rf"data/000001.txt, line 3: .*{message}"):
        results_from_text(f"{RESULT}\n\n{line}\n", "data/000001.txt")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Car 0 0 0", "got 4"),
        (TRUTH.replace("1.5 1.6 4.0", "1.5 0 4.0"), "length > 0"),
        (TRUTH.replace("1.5 1.6 4.0", "-1 -1 -1"), "length > 0"),
        (TRUTH.replace("-1.58", "nan"), "finite numbers"),
        (f"{TRUTH} nan", "finite numbers"),
        (TRUTH.replace("0.10 1", "0.10 0.5"), "whole number as occlusion, got '0.5'"),
    ],
)
def test_malformed_ground_truth_is_named(line, message):
    with pytest.raises(LabelError, match=rf"label_2/000001.txt, line 2: .*{message}"):
        ground_truth_from_text(f"{TRUTH}\n{line}\n", "label_2/000001.txt")


def test_results_without_volume_are_kept_and_named():
    text = "\n".join([RESULT, FLAT, RESULT.replace("1.5 1.6", "0 1.6"), RESULT.replace("4.0", "-4.0")])
    results = results_from_text(text, "a.txt")
    assert len(results.frame) == 4
    assert results.without_volume == ("a.txt, line 3", "a.txt, line 4")


@pytest.mark.parametrize("score", ["-3.5", "0", "1.5", "1e300"])
def test_any_finite_score_is_legal(score):
    assert results_from_text(RESULT.replace("0.875", score), "x").frame.score == [float(score)]


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"Car \xff\xfe")
    for read in (read_results, read_ground_truth):
        with pytest.raises(LabelError, match=r"a\.txt: cannot read"):
            read(tmp_path / "a.txt")
        with pytest.raises(LabelError, match=r"b\.txt: cannot read"):
            read(tmp_path / "b.txt")


def test_a_byte_order_mark_is_no_part_of_the_type(tmp_path):
    (tmp_path / "a.txt").write_text(RESULT, encoding="utf-8-sig")
    assert read_results(tmp_path / "a.txt").frame.names == ("Car",)


NUMBER = st.floats(-1e6, 1e6)


@settings(max_examples=60)
@given(st.lists(st.tuples(*[NUMBER] * 10, st.floats(-1e9, 1e9)), max_size=5))
def test_round_trip_is_exact(rows):
    table = np.array(rows, dtype=np.float64).reshape(-1, 11)
    count = len(table)
    frame = KittiFrame(
        names=("Car", "robotDog", "Van", "Cyclist", "Tram")[:count],
        bbox_px=np.column_stack([table[:, :2], np.full((count, 2), 2e6)]),
        hwl=table[:, 2:5],
        location_cam=table[:, 5:8],
        rotation_y=table[:, 8],
        alpha=table[:, 9],
        score=table[:, 10],
        truncation=np.full(count, -1.0),
        occlusion=np.full(count, -1),
    )
    assert_equal(results_from_text(text_from_results(frame), "x").frame, frame)


def test_a_box_that_the_image_does_not_show_is_not_written():
    frame = results_from_text(f"{RESULT}\n{RESULT}\n", "x").frame
    outside = replace(frame, bbox_px=np.array([[0.0, 0, 0, 0], [1, 2, 3, 4]]))
    lines = text_from_results(outside).splitlines()
    assert [line.split()[4:8] for line in lines] == [["1.0", "2.0", "3.0", "4.0"]]
    assert lines[0].split()[1:3] == ["-1", "-1"]


def test_blanks_in_a_class_name_do_not_shift_the_fields():
    frame = replace(results_from_text(RESULT, "x").frame, names=("traffic light",))
    assert results_from_text(text_from_results(frame), "x").frame.names == ("traffic_light",)


def test_every_frame_gets_a_file(tmp_path):
    frame = results_from_text(RESULT, "x").frame
    write_results(tmp_path / "results", [("000001", frame), ("000002", KittiFrame.empty())])
    assert sorted(item.name for item in (tmp_path / "results").iterdir()) == ["000001.txt", "000002.txt"]
    again = read_results(tmp_path / "results" / "000001.txt").frame
    np.testing.assert_array_equal(again.score, frame.score)
    assert (tmp_path / "results" / "000002.txt").read_text() == ""


def test_no_frames_make_an_empty_folder(tmp_path):
    write_results(tmp_path / "results", [])
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("names", [["a", "a"], ["../a"], ["b/c"]])
def test_names_that_cannot_be_files_leave_nothing(tmp_path, names):
    with pytest.raises(OutputError, match="expected a file name that comes once"):
        write_results(tmp_path / "results", [(name, KittiFrame.empty()) for name in names])
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_results(tmp_path / "results", [])
