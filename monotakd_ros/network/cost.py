"""What a network costs, module by module: parameters, multiply-adds, time and memory of one forward pass.

Multiply-adds are those of convolutions (sparse ones: of the site pairs that meet), matrix products and weighted gathers
(`embedding_bag`: the lift, the deformable convolution). Norms, activations, pooling, resampling, softmax and other
element-wise work are not counted.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.peak_memory import MIB, PeakMemory, peak_memory
from monotakd_ros.network.sparse_tensor import SparseTensor

SPLIT = ("encoder", "residual", "lidar_encoder")
"""Modules whose children have a row each."""
CONTAINERS = (nn.Sequential, nn.ModuleList)


@dataclass
class ModuleCost:
    """What one module does in one forward pass, all its calls together.

    Attributes:
        name: path inside the network; "" for the network itself.
        parameters: numbers that training fits.
        used: False for a module that this forward pass does not call; all below is then zero or empty.
        macs: multiply-adds.
        output: shape of each tensor that the last call gave, without the batch axis.
        milliseconds: shortest time over the repeated passes.
        tensor_mib: the most that tensors alive at one moment took while the module ran. Its input and earlier
            results that are needed later count, weights and scratch memory inside an operation do not.
    """

    name: str
    parameters: int
    used: bool = False
    macs: int = 0
    output: tuple[str, ...] = ()
    milliseconds: float = 0.0
    tensor_mib: float = 0.0


@dataclass(frozen=True)
class NetworkCost:
    """Rows in the order of execution, and the memory of the process (or CUDA device) while the passes ran."""

    modules: tuple[ModuleCost, ...]
    whole: ModuleCost
    memory: PeakMemory


def measure_cost(network: nn.Module, batch: FrameBatch, repeats: int = 3) -> NetworkCost:
    """Run a network on a batch, in its present mode, and tell what its modules cost.

    Args:
        network: takes the batch as its only argument; on the device of `batch`.
        batch: one frame for figures per frame.
        repeats: timed passes, after one that warms up.
    """
    rows = {name: ModuleCost(name, _parameters(module)) for name, module in _parts(network).items()}
    with peak_memory(batch.images.device) as memory:
        _time(network, batch, rows, repeats)
    _count(network, batch, rows)
    whole = rows.pop("")
    return NetworkCost(tuple(rows.values()), whole, memory)


def _parts(network: nn.Module) -> dict[str, nn.Module]:
    """The modules that have a row, by name: the network itself, its children, and the children of those to split."""
    parts = {"": network}
    for name, child in network.named_children():
        parts[name] = child
        if name in SPLIT:
            parts.update({f"{name}.{inner}": module for inner, module in child.named_children()})
    return parts


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@contextmanager
def _watched(network: nn.Module, enter: Callable[[str], None], leave: Callable[[str, Any], None]) -> Iterator[None]:
    """Call `enter(name)` before and `leave(name, output)` after each call of a part.

    Of a container that is not called as a whole, the calls of its children count.
    """
    running: Counter[str] = Counter()  # a container that is called encloses its children's calls

    def before(name: str, module: nn.Module, arguments: Any) -> None:
        running[name] += 1
        if running[name] == 1:
            enter(name)

    def after(name: str, module: nn.Module, arguments: Any, output: Any) -> None:
        running[name] -= 1
        if running[name] == 0:
            leave(name, output)

    handles = []
    for name, part in _parts(network).items():
        for module in (part, *(part.children() if isinstance(part, CONTAINERS) else ())):
            handles.append(module.register_forward_pre_hook(partial(before, name)))
            handles.append(module.register_forward_hook(partial(after, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _time(network: nn.Module, batch: FrameBatch, rows: dict[str, ModuleCost], repeats: int) -> None:
    device = batch.images.device
    started: dict[str, float] = {}
    taken: dict[str, float] = {}

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def enter(name: str) -> None:
        started[name] = now()

    def leave(name: str, output: Any) -> None:
        taken[name] = taken.get(name, 0.0) + now() - started[name]

    best: dict[str, float] = {}
    with torch.no_grad(), _watched(network, enter, leave):
        network(batch)
        for _ in range(repeats):
            taken.clear()
            network(batch)
            best = {name: min(seconds, best.get(name, seconds)) for name, seconds in taken.items()}
    for name, seconds in best.items():
        rows[name].milliseconds = 1e3 * seconds


def _count(network: nn.Module, batch: FrameBatch, rows: dict[str, ModuleCost]) -> None:
    work = MultiplyAdds()
    live = LiveTensors()
    before: dict[str, int] = {}
    peaks: list[int] = []  # of each module that is running, outermost first

    def close_segment() -> None:
        peak = live.take_peak()
        peaks[:] = [max(value, peak) for value in peaks]

    def enter(name: str) -> None:
        close_segment()
        peaks.append(0)
        before[name] = work.total

    def leave(name: str, output: Any) -> None:
        close_segment()
        row = rows[name]
        row.used = True
        row.macs += work.total - before[name]
        row.tensor_mib = max(row.tensor_mib, peaks.pop() / MIB)
        row.output = tuple(_shapes(output))

    with torch.no_grad(), work, live, _watched(network, enter, leave):
        network(batch)


def _shapes(output: Any) -> Iterator[str]:
    """Shapes of a module's output: a tensor, or tensors in a list, tuple or dataclass."""
    if isinstance(output, torch.Tensor):
        yield "x".join(map(str, output.shape[1:]))
    elif isinstance(output, SparseTensor):
        sites, channels = output.features.shape
        yield f"{channels} at {sites:,} of {'x'.join(map(str, output.spatial_shape))}"
    elif isinstance(output, (list, tuple)):
        for item in output:
            yield from _shapes(item)
    elif dataclasses.is_dataclass(output):
        for item in dataclasses.fields(output):
            yield from _shapes(getattr(output, item.name))


def _macs_of_convolution(
    result: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias, stride, padding, dilation, transposed: bool, *_
) -> int:
    """Every cell of the output (transposed: of the input) meets the whole kernel."""
    cells = x if transposed else result
    return len(x) * math.prod(cells.shape[2:]) * weight.numel()


def _macs_of_product(result: torch.Tensor, a: torch.Tensor, *_) -> int:
    return result.numel() * a.shape[-1]


def _macs_of_sum_and_product(result: torch.Tensor, total: torch.Tensor, a: torch.Tensor, *_) -> int:
    return _macs_of_product(result, a)


def _macs_of_gather(result: tuple[torch.Tensor, ...], table: torch.Tensor, rows: torch.Tensor, *_) -> int:
    """Every row that is read is multiplied and added."""
    return rows.numel() * table.shape[1]


ATEN = torch.ops.aten
FORMULAS: dict[Any, Callable[..., int]] = {
    ATEN.convolution: _macs_of_convolution,
    ATEN.mm: _macs_of_product,
    ATEN.bmm: _macs_of_product,
    ATEN.addmm: _macs_of_sum_and_product,
    ATEN.addmm_: _macs_of_sum_and_product,
    ATEN.baddbmm: _macs_of_sum_and_product,
    ATEN._embedding_bag: _macs_of_gather,
    ATEN._embedding_bag_forward_only: _macs_of_gather,
}


class MultiplyAdds(TorchDispatchMode):
    """Counts what runs inside it.

    `torch.utils.flop_counter` knows neither weighted gathers nor sums in place, and before torch 2.4 stops at a product
    that is written to a given tensor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in FORMULAS:
            self.total += FORMULAS[func.overloadpacket](result, *args)
        return result


@dataclass
class _Storage:
    alive: StorageWeakRef
    size: int


class LiveTensors(TorchDispatchMode):
    """Adds up the memory of all tensors that were made inside it and are still referred to.

    A storage is counted once however many tensors view it. Tensors from before (weights, inputs) do not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, _Storage] = {}
        self._from_before: dict[int, StorageWeakRef] = {}
        self._peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for storage in _storages((args, kwargs)):
            if storage._cdata not in self._made:
                self._from_before[storage._cdata] = StorageWeakRef(storage)
        result = func(*args, **kwargs)
        for storage in _storages(result):
            if storage._cdata not in self._from_before:
                self._made[storage._cdata] = _Storage(StorageWeakRef(storage), storage.nbytes())
        self._peak = max(self._peak, self._held())
        return result

    def take_peak(self) -> int:
        """Bytes of the largest sum since the last call, or now; starts anew."""
        peak, self._peak = max(self._peak, self._held()), 0
        return peak

    def _held(self) -> int:
        self._made = {key: made for key, made in self._made.items() if not made.alive.expired()}
        return sum(made.size for made in self._made.values())


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    for value in tree_leaves(values):
        if isinstance(value, torch.Tensor) and value.layout == torch.strided:
            yield value.untyped_storage()
