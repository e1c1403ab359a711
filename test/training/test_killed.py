"""A run that is killed at any moment, without warning, ends as one that was not."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import pytest
import torch

from monotakd_ros.network.checkpoint import load_checkpoint
from monotakd_ros.training.loop import train_network
from monotakd_ros.training.run_folder import STATE_FILE
from monotakd_ros.training.run_options import RunOptions

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
LIMIT_S = 60.0


def in_a_child(work) -> int:
    """Start `work` in a copy of this process; returns its process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def test_killed_in_the_middle_of_anything(tiny_config, training_frames, tmp_path, curve_of):
    training = replace(tiny_config.training, steps=7, checkpoint_every=1, log_every=1, validate_every=3)
    config = replace(tiny_config, training=training)

    def train(folder):
        begun = (folder / STATE_FILE).is_file()
        options = RunOptions(resume=begun, overwrite=not begun)
        train_network("student", config, training_frames, training_frames[:1], folder, options)

    train(tmp_path / "whole")
    run, kills = tmp_path / "run", 0
    for until in (1, 4):  # kill once this many steps are logged, wherever the process then is
        child = in_a_child(lambda: train(run))
        start = time.monotonic()
        while time.monotonic() - start < LIMIT_S:
            if (run / "log.jsonl").is_file() and len((run / "log.jsonl").read_bytes().splitlines()) >= until:
                break
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        for name in ("best.pt", "final.pt"):
            if (run / name).is_file():
                load_checkpoint(run / name)
    assert kills == 2
    train(run)
    weights = [load_checkpoint(tmp_path / name / "final.pt").state_dict for name in ("whole", "run")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert curve_of(run) == curve_of(tmp_path / "whole")
