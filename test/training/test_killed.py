"""A run that is killed at any moment, without warning, ends as one that was not."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from monotakd_ros.errors import OutputError
from monotakd_ros.network.checkpoint import load_checkpoint
from monotakd_ros.training.loop import train_network
from monotakd_ros.training.run_folder import STATE_FILE
from monotakd_ros.training.run_options import RunOptions

MOST_LIVES = 30

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
LIMIT_S = 60.0


def in_a_child(work) -> int:
    """Start `work` in a copy of this process; returns its process id. It exits with 1 where it raises."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_write_it_comes_to(guided_config, guides, training_frames, tmp_path, curve_of, moment):
    """Killed just before, or after, the k-th file takes its name, k = 1, 2, 3 … lives long, with steps to redo."""
    training = replace(
        guided_config.training, steps=5, checkpoint_every=2, log_every=1, validate_every=3, num_workers=1
    )
    config = replace(guided_config, training=training)

    def train(folder):
        begun = (folder / STATE_FILE).is_file()
        options = RunOptions(resume=begun, overwrite=not begun, guide_cache=tmp_path / f"kept_{folder.name}")
        train_network("student", config, training_frames, training_frames[:1], folder, options, guides=guides)

    def live(writes):
        rename, count = Path.replace, 0

        def counting(path, target):
            nonlocal count
            count += 1
            if count == writes and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = rename(path, target)
            if count == writes:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        Path.replace = counting
        train(tmp_path / "run")

    train(tmp_path / "whole")
    for writes in range(1, MOST_LIVES):
        _, status = os.waitpid(in_a_child(partial(live, writes)), 0)
        if not os.WIFSIGNALED(status):
            break
    assert 2 < writes < MOST_LIVES - 1 and os.WEXITSTATUS(status) == 0
    assert_same_end(tmp_path / "whole", tmp_path / "run", curve_of)


def test_a_disk_that_fills_up_costs_only_what_came_after_the_last_checkpoint(
    tiny_config, training_frames, tmp_path, curve_of
):
    """A file may grow no further than a step's log in a child: the state of the run does not fit."""
    resource = pytest.importorskip("resource")
    training = replace(tiny_config.training, steps=4, checkpoint_every=2, log_every=1, validate_every=4)
    config = replace(tiny_config, training=training)

    def train(folder, **options):
        train_network("student", config, training_frames, training_frames[:1], folder, RunOptions(**options))

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        with pytest.raises(OutputError, match=r"last\.pt: cannot write"):
            train(tmp_path / "run", resume=True)

    train(tmp_path / "whole")
    train(tmp_path / "run", stop_at=2)
    before = (tmp_path / "run" / STATE_FILE).read_bytes()
    _, status = os.waitpid(in_a_child(fill), 0)
    assert os.WEXITSTATUS(status) == 0
    assert (tmp_path / "run" / STATE_FILE).read_bytes() == before
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    train(tmp_path / "run", resume=True)
    assert_same_end(tmp_path / "whole", tmp_path / "run", curve_of)


def assert_same_end(whole, run, curve_of) -> None:
    weights = [load_checkpoint(folder / "final.pt").state_dict for folder in (whole, run)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert curve_of(run) == curve_of(whole)


def test_killed_in_the_middle_of_anything(tiny_config, training_frames, tmp_path, curve_of):
    training = replace(tiny_config.training, steps=7, checkpoint_every=1, log_every=1, validate_every=3)
    config = replace(tiny_config, training=training)

    def train(folder, pause_s=0.0):
        begun = (folder / STATE_FILE).is_file()
        options = RunOptions(resume=begun, overwrite=not begun)

        def pause(progress):
            time.sleep(pause_s)

        train_network("student", config, training_frames, training_frames[:1], folder, options, pause)

    train(tmp_path / "whole")
    run, kills = tmp_path / "run", 0
    for until in (1, 4):  # kill once this many steps are logged, wherever the process then is
        child = in_a_child(lambda: train(run, pause_s=0.1))  # so that there is a middle
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
    assert_same_end(tmp_path / "whole", run, curve_of)
