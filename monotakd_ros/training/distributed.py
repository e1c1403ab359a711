"""One run on several processes: who is who, sums over all of them, and a common fate.

`torchrun` starts the processes and tells each its rank by the environment. Tensors of the device are summed by NCCL on
CUDA and by Gloo on a CPU; what is small and on the host (counts, flags, waiting) goes through a second, Gloo group,
whose members may wait for each other for as long as a validation takes. A process that ends closes its connections,
which ends the others with an error. Alone, nothing here does anything.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from monotakd_ros.errors import ConfigError, TrainingError

STEP_TIMEOUT = timedelta(minutes=30)
WAIT_TIMEOUT = timedelta(days=7)
BUCKET_NUMBERS = 8 * 2**20
"""Gradients are summed in pieces of about this many numbers: fewer messages, and copies hide behind them."""

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Processes:
    """The processes of a run, as one of them sees it.

    Attributes:
        rank: number of this one, from 0.
        count: number of all.
        device: where this one computes.
        control: the group for what is on the host; None when alone.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"
    control: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, logs, validates and shows progress."""
        return self.rank == 0

    @property
    def on_this_machine(self) -> int:
        """Number of those that run here."""
        return min(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), self.count)

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.count == 1

    def wait(self) -> None:
        """Return when all processes have come here."""
        if not self.alone:
            dist.barrier(group=self.control)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; the same answer in all."""
        return flag if self.alone else any(self.gather(flag))

    def gather(self, value: Value) -> list[Value]:
        """Every process's plain value, by rank."""
        if self.alone:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self.control)
        return values

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What the first process makes, in all."""
        if self.alone:
            return make()
        values = [make() if self.first else None]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def in_turn(self, work: Callable[[], Value]) -> Value:
        """Do the same work in the first process, then in the first of each machine, then in the others.

        What one leaves on disk is then found by the next, on a shared disk and on disks of their own.
        """
        if self.alone:
            return work()
        turn = 0 if self.first else 1 if os.environ.get("LOCAL_RANK", "0") == "0" else 2
        for number in range(3):
            if number == turn:
                value = work()
            self.wait()
        return value

    def total_counts(self, counts: Sequence[Mapping[str, int]]) -> Counter[str]:
        """The sum, by name, over the given counts and over all processes."""
        own: Counter[str] = Counter()
        for count in counts:
            own.update(count)
        return own if self.alone else sum(self.gather(own), Counter())

    def sum_figures(self, figures: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Scalars of the device as numbers, summed over all processes, of which some may lack some."""
        names = dict.fromkeys(name for names in self.gather(list(figures)) for name in names)
        nothing = torch.zeros_like(next(iter(figures.values())))
        values = torch.stack([figures.get(name, nothing) for name in names])
        if not self.alone:
            dist.all_reduce(values)
        return dict(zip(names, values.tolist()))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every parameter the sum of all processes' gradients; one that has none anywhere keeps none."""
        if self.alone:
            return
        parameters = list(parameters)
        present = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
        dist.all_reduce(present, dist.ReduceOp.MAX, group=self.control)
        taught = [parameter for parameter, here in zip(parameters, present.tolist()) if here]
        for parameter in taught:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        _sum_in_buckets([parameter.grad for parameter in taught if parameter.grad is not None])

    @torch.no_grad()
    def share(self, network: nn.Module) -> None:
        """Give every process the first one's weights and buffers."""
        if not self.alone:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, src=0)


ALONE = Processes()


def _sum_in_buckets(gradients: Sequence[torch.Tensor]) -> None:
    """Sum tensors of one type over all processes, in place."""
    pending = []
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        pending.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in pending:
        work.wait()
        for gradient, part in zip(bucket, flat.split([gradient.numel() for gradient in bucket])):
            gradient.copy_(part.view(gradient.shape))


def _buckets(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    numbers = 0
    for gradient in gradients:
        bucket.append(gradient)
        numbers += gradient.numel()
        if numbers >= BUCKET_NUMBERS:
            yield bucket
            bucket, numbers = [], 0
    if bucket:
        yield bucket


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """The processes that `torchrun` started together; `ALONE` (on `device`) where it started one, or was not used.

    Args:
        device: "cpu" or "cuda", which then means one GPU for each process of a machine.

    Raises:
        ConfigError: the environment is incomplete, or a process has no GPU of its own.
        TrainingError: the processes do not find each other, or another one ended.
    """
    count = _number("WORLD_SIZE", 1)
    if count == 1:
        yield Processes(device=device)
        return
    rank, own = _number("RANK"), _own_device(device)
    with _lost_as_errors():
        dist.init_process_group("nccl" if own.startswith("cuda") else "gloo", timeout=STEP_TIMEOUT)
        yield Processes(rank, count, own, dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT))
        dist.destroy_process_group()  # not after an error: it could wait for those who wait for us


def _number(name: str, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdigit():
        raise ConfigError(
            f"environment: expected a number in {name}, got {text!r}; start several processes by torchrun"
        )
    return int(text)


def _own_device(device: str) -> str:
    """The device of this process among those of its machine."""
    if device != "cuda":
        if device.startswith("cuda:"):
            raise ConfigError(
                f"device: expected 'cuda' (one GPU for each process) or 'cpu' with torchrun, got {device!r}"
            )
        return device
    local, available = _number("LOCAL_RANK", 0), torch.cuda.device_count()
    if local >= available:
        raise ConfigError(
            f"process {local + 1} of this machine has no GPU of its own: torch {torch.__version__} sees {available}; "
            "lower --nproc-per-node"
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"


@contextmanager
def _lost_as_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not (isinstance(error, dist.DistError) or "gloo" in text.lower() or "nccl" in text.lower()):
            raise
        raise TrainingError(
            "the connection to the other processes of this run is lost, most likely because one of them ended: its "
            f"message says why ({text.splitlines()[0]})"
        ) from error
