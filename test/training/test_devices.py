"""A taught student stopped, resumed and exported on every device and in every precision that there are."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from monotakd_ros.network.checkpoint import load_checkpoint
from monotakd_ros.training.loop import TrainingRun, train_network
from monotakd_ros.training.run_options import RunOptions

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
KINDS = [
    ("cpu", "off"),
    ("cpu", "bf16"),
    *(pytest.param("cuda", amp, marks=needs_cuda) for amp in ("off", "bf16", "fp16")),
]


@pytest.mark.parametrize(("device", "amp"), KINDS)
def test_a_run(guided_config, guides, training_frames, tmp_path, device, amp):
    training = replace(guided_config.training, steps=4, log_every=1, validate_every=4, amp=amp)
    config = replace(guided_config, training=training)
    common = ("student", config, training_frames, training_frames[:1])
    train_network(*common, tmp_path / "run", RunOptions(device=device, stop_at=2), guides=guides)
    result = train_network(*common, tmp_path / "run", RunOptions(device=device, resume=True), guides=guides)
    assert result.finished
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    records = [json.loads(line, parse_constant=pytest.fail) for line in lines]  # Infinity and NaN are not JSON
    assert [record["step"] for record in records if record["kind"] == "train"] == [1, 2, 3, 4]
    assert ("left_out" in records[0]) == (amp == "fp16")
    weights = load_checkpoint(tmp_path / "run" / "final.pt").state_dict
    assert all(item.device.type == "cpu" and item.isfinite().all() for item in weights.values())


@pytest.mark.parametrize(("device", "amp"), KINDS[1:])
def test_the_losses_of_a_step_are_those_of_a_cpu_in_float32(
    guided_config, guides, training_frames, tmp_path, device, amp
):
    def losses(device: str, amp: str) -> dict[str, float]:
        config = replace(guided_config, training=replace(guided_config.training, amp=amp))
        run = TrainingRun("student", config, training_frames, [], tmp_path, RunOptions(device=device), guides)
        return run.take_step(run.batches[0])

    expected = losses("cpu", "off")
    figures = losses(device, amp)
    for name in expected:
        if name.startswith("loss"):
            assert figures[name] == pytest.approx(expected[name], rel=0.1, abs=0.02), name
