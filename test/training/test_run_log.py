"""The figures of a run: means of steps, JSON lines, TensorBoard, and going on after an interruption."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from monotakd_ros.training.run_log import TRAIN, VALIDATION, RunLog, StepFigures


def lines(folder: Path) -> list[tuple[str, int, dict[str, float]]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(record.pop("kind"), record.pop("step"), record) for record in records]


class TestTensorBoard:
    """What is there to see is what the JSON lines say."""

    @pytest.fixture(autouse=True)
    def reader(self):
        self.events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def shown(self, folder: Path) -> dict[str, list[tuple[int, float]]]:
        """Per tag the steps and values that TensorBoard shows."""
        accumulator = self.events.EventAccumulator(str(folder / "tensorboard"), size_guidance={self.events.SCALARS: 0})
        accumulator.Reload()
        return {
            tag: [(event.step, pytest.approx(event.value, rel=1e-5)) for event in accumulator.Scalars(tag)]
            for tag in accumulator.Tags()["scalars"]
            if accumulator.Scalars(tag)
        }

    def assert_equal(self, folder: Path) -> None:
        expected: dict[str, list[tuple[int, float]]] = {}
        for kind, step, figures in lines(folder):
            for name, value in figures.items():
                expected.setdefault(f"{kind}/{name}", []).append((step, value))
        assert self.shown(folder) == expected

    def written(self, folder: Path) -> RunLog:
        log = RunLog(folder, 0)
        for step in (1, 2, 3):
            log.write(TRAIN, step, {"loss": 1 / step, "gradient_norm": 2.0})
        log.write(VALIDATION, 3, {"score": 0.25})
        log.close()
        return log

    def test_every_figure(self, tmp_path):
        self.written(tmp_path)
        assert len(lines(tmp_path)) == 4
        self.assert_equal(tmp_path)

    @pytest.mark.parametrize("step", [0, 1])
    def test_steps_that_are_taken_again_are_shown_once(self, tmp_path, step):
        self.written(tmp_path)
        log = RunLog(tmp_path, step)
        log.write(TRAIN, step + 1, {"loss": 0.125})
        log.close()
        assert [(kind, number) for kind, number, _ in lines(tmp_path)] == [
            (TRAIN, item + 1) for item in range(step + 1)
        ]
        self.assert_equal(tmp_path)

    def test_a_validation_that_comes_again_is_shown_once_and_its_step_stays(self, tmp_path):
        self.written(tmp_path)
        log = RunLog(tmp_path, 3, validation_owed=True)
        log.write(VALIDATION, 3, {"score": 0.5})
        log.write(TRAIN, 4, {"loss": 0.1})
        log.close()
        assert [(kind, step) for kind, step, _ in lines(tmp_path)][-3:] == [(TRAIN, 3), (VALIDATION, 3), (TRAIN, 4)]
        self.assert_equal(tmp_path)


class TestStepFigures:
    def test_means_go_on_where_they_were(self):
        first, second = StepFigures(), StepFigures()
        first.add({"loss": 1.0})
        second.restore(json.loads(json.dumps(first.state())))
        second.add({"loss": 4.0})
        assert second.mean()["loss"] == 2.5

    def test_of_an_earlier_version(self):
        figures = StepFigures()
        figures.restore({"sums": {"loss": 6.0}, "count": 2})
        figures.add({"loss": 3.0})
        assert figures.mean()["loss"] == 3.0

    def test_a_term_that_only_some_steps_have_counts_as_0_in_the_others(self):
        figures = StepFigures()
        for terms in ({"loss": 2.0, "loss_pseudo_cls": 1.0}, {"loss": 4.0}):
            figures.add(terms)
        assert figures.mean()["loss_pseudo_cls"] == 0.5

    def test_what_is_not_finite_is_left_out(self, tmp_path):
        """As the norm of gradients that fp16 cannot hold; JSON has no such numbers."""
        figures = StepFigures()
        for norm in (math.inf, 2.0, math.nan, 4.0):
            figures.add({"loss": 1.0, "gradient_norm": norm, "left_out": float(not math.isfinite(norm))})
        mean = figures.mean()
        assert mean["gradient_norm"] == 3.0 and mean["left_out"] == 0.5 and mean["loss"] == 1.0
        again = StepFigures()
        again.restore(json.loads(json.dumps(figures.state())))
        again.add({"loss": 1.0, "gradient_norm": 6.0})
        assert again.mean()["gradient_norm"] == 4.0
        figures.clear()
        figures.add({"gradient_norm": math.inf})
        assert "gradient_norm" not in figures.mean()
