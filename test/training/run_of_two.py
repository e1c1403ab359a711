"""One of the processes of a distributed run, as tests start them: jobs from a pickle, what came out into another."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monotakd_ros.errors import MonotakdError
from monotakd_ros.training.distributed import Processes, joined_processes
from monotakd_ros.training.guides import load_guides
from monotakd_ros.training.loop import TrainingRun, train_network
from monotakd_ros.training.run_options import RunOptions
from monotakd_ros.training.shared_norm import share_batch_statistics


def train(job: dict[str, Any], processes: Processes) -> Any:
    """Every step's figures, or the text of the error that ended the run."""
    seen: list[Any] = []

    def on_step(progress: Any) -> None:
        seen.append(dict(progress.figures))

    guides = [load_guides(job["kind"], job["config"], *job["guides"])] if "guides" in job else []
    options = RunOptions(processes=processes, **job.get("options", {}))
    paths = (job["val_frames"], job["out"], options)
    if processes.rank == job.get("stop_rank"):
        stop_after(job["stop_at"])
    try:
        train_network(job["kind"], job["config"], job["frames"], *paths, on_step, *guides)
    except (MonotakdError, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return seen


def stop_after(number: int) -> None:
    """Let this process be told to stop while it takes the step of this number."""
    plain = TrainingRun.take_step

    def told(run: TrainingRun, *batches: Any) -> dict[str, float]:
        if run.step + 1 == number:
            TrainingRun.take_step = plain
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(run, *batches)

    TrainingRun.take_step = told


def norms(job: dict[str, Any], processes: Processes) -> Any:
    """A shared norm over values of which the first process has all but the last."""
    results = {}
    for name, count in job["sites"].items():
        generator = torch.Generator().manual_seed(count)
        values, outer = (torch.randn((count, 3), generator=generator) + 5 for _ in range(2))
        network = nn.Sequential(nn.BatchNorm1d(3))
        share_batch_statistics(network)
        here = slice(None, -1) if processes.first else slice(-1, None)
        own = values[here].clone().requires_grad_()
        out = network(own)
        out.backward(outer[here])
        results[name] = {
            "given": (values, outer),
            "given_out": out.detach(),
            "input_gradient": own.grad,
            "gradients": [item.grad for item in network.parameters()],
            "buffers": dict(network[0].named_buffers()),
        }
    return results


def step(job: dict[str, Any], processes: Processes) -> Any:
    """Names of the frames, gradients and buffers of a first step of this process."""
    run = TrainingRun(job["kind"], job["config"], job["frames"], [], job["out"], RunOptions(processes=processes))
    batches = [run.batches[index] for index in range(job["config"].training.accumulate)]
    run.take_step(*batches)
    gradients = {name: item.grad for name, item in run.network.named_parameters()}
    return [batch.frames.names for batch in batches], gradients, dict(run.network.named_buffers())


def main(folder: Path) -> None:
    """Do all jobs; the process that is told to leaves before."""
    torch.set_num_threads(1)
    jobs = pickle.loads((folder / "jobs.pickle").read_bytes())
    results = {}
    with joined_processes("cpu") as processes:
        for name, job in jobs.items():
            if job.get("leaves") == processes.rank:
                os._exit(3)
            results[name] = {"train": train, "step": step, "norms": norms}[job["what"]](job, processes)
            (folder / f"results{processes.rank}.pickle").write_bytes(pickle.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
