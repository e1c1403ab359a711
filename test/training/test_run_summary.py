"""What a run's log comes to, and its picture."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from monotakd_ros.errors import TrainingError
from monotakd_ros.training.run_summary import read_log, summarize, write_summary
from monotakd_ros.visualization.training_curves import draw_training_curves

RECORDS = [
    {"kind": "train", "step": 20, "loss": 4.0, "loss_cls": 1.0, "seconds_per_step": 0.5, "waiting_share": 0.1},
    {"kind": "train", "step": 40, "loss": 3.0, "loss_cls": 0.5, "seconds_per_step": 0.25, "waiting_share": 0.3},
    {"kind": "validation", "step": 40, "loss": 3.5, "ap_3d_loose_Car": 20.0, "score": 20.0},
    {"kind": "train", "step": 60, "loss": 2.0, "loss_cls": 0.4, "seconds_per_step": 4.0, "waiting_share": 0.2},
    {"kind": "validation", "step": 60, "loss": 3.6, "ap_3d_loose_Car": 15.0, "score": 15.0},
]


def test_by_hand(tiny_config, tmp_path):
    config = replace(tiny_config, training=replace(tiny_config.training, recipe="paper", seed=7))
    summary = summarize(RECORDS, 61, True, "student", config, "cpu")
    assert (summary["network"], summary["recipe"], summary["seed"]) == ("student", "paper", 7)
    assert (summary["steps"], summary["finished"]) == (61, True)
    assert summary["seconds_per_step"] == 0.5 and summary["frames_per_second"] == 2 / 0.5
    accumulated = replace(config, training=replace(config.training, accumulate=3))
    assert summarize(RECORDS, 61, True, "student", accumulated, "cpu", 4)["frames_per_second"] == 2 * 3 * 4 / 0.5
    assert summary["waiting_share"] == 0.2
    accumulating = replace(config, training=replace(config.training, accumulate=3))
    shared = summarize(RECORDS, 61, True, "student", accumulating, "cpu", processes=4)
    assert (shared["frames_per_second"], shared["processes"]) == (48.0, 4)
    assert summary["losses"] == {"loss": 2.0, "loss_cls": 0.4}
    assert summary["best"] == {"step": 40, "score": 20.0}
    assert summary["validation"]["ap_3d_loose_Car"] == 15.0
    write_summary(tmp_path, summary)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


def test_a_run_that_logged_nothing(tiny_config, tmp_path):
    assert read_log(tmp_path) == []
    summary = summarize([], 1, False, "teacher", tiny_config, "cpu")
    assert summary["frames_per_second"] is summary["waiting_share"] is summary["best"] is summary["validation"] is None
    assert summary["losses"] == {} and summary["recipe"] is None


def test_the_log_is_read_back_and_a_damaged_line_named(tmp_path):
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    assert read_log(tmp_path) == RECORDS
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write("{\n")
    with pytest.raises(TrainingError, match=r"log\.jsonl, line 6: expected a record"):
        read_log(tmp_path)


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1], RECORDS[2:3], []])
def test_the_picture(records):
    image = cv2.imdecode(np.frombuffer(draw_training_curves(records, "student"), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (770, 1320, 3)
    assert (image < 128).any()


def test_curves_change_the_picture():
    assert draw_training_curves(RECORDS, "a") != draw_training_curves(RECORDS[:3], "a")
