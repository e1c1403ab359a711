"""Reads the weights files of the official MonoTAKD code, with `weights_only=True`, so that they cannot run code."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monotakd_ros.errors import CheckpointError
from monotakd_ros.network.tensor_file import no_weights, read_tensor_file

PARALLEL_PREFIX = "module."
SAFE_GLOBALS_SINCE = (2, 6)
FACTS = ("epoch", "it", "version")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class OfficialFile:
    """What a published file holds.

    Attributes:
        name: of the file.
        sha256: of the file, 64 hexadecimal digits.
        model_state: official key -> tensor on the CPU.
        facts: what else it says about itself: `epoch`, `it`, `version`, where present.
    """

    name: str
    sha256: str
    model_state: dict[str, torch.Tensor]
    facts: dict[str, int | float | str]


def read_official(path: Path | str) -> OfficialFile:
    """Read a published file (a dict with `model_state`), or a bare state dict, onto the CPU.

    Raises:
        CheckpointError: no such file, unreadable, or of another form.
    """
    path = Path(path)
    content = read_tensor_file(path, _numpy_numbers_allowed(), _why_unreadable())
    expected = f"{path}: expected a dict with 'model_state', or a state dict"
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{expected}; it holds a {type(content).__name__}")
    state = content.get("model_state", content)
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{expected}; 'model_state' is {'empty' if not state else type(state).__name__}")
    if strangers := no_weights(state):
        raise CheckpointError(f"{expected}; these entries are no dense tensors: {', '.join(strangers)}")
    return OfficialFile(path.name, _sha256(path), _without_parallel_prefix(state), _facts(content))


def _numpy_numbers_allowed() -> AbstractContextManager:
    """Lets the safe reader rebuild numpy numbers: the official optimiser keeps its learning rate as one."""
    if torch.__version__ < SAFE_GLOBALS_SINCE:
        return contextlib.nullcontext()
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # as numpy 1 and 2 write it
    dtypes = [type(np.dtype(code)) for code in ("f8", "f4", "i8", "i4")]
    return torch.serialization.safe_globals([*((scalar, name) for name in names), np.dtype, *dtypes])


def _why_unreadable() -> str:
    text = "not a checkpoint, a damaged one, or one that would run code"
    if torch.__version__ < SAFE_GLOBALS_SINCE:
        text += (
            f", or one with numpy numbers beside its weights, which torch {torch.__version__} cannot read safely: "
            "torch 2.6 and newer can"
        )
    return text


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _facts(content: Mapping[str, Any]) -> dict[str, int | float | str]:
    if "model_state" not in content:
        return {}
    values = {name: content[name] for name in FACTS if name in content}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    return {name: value for name, value in plain.items() if isinstance(value, (int, float, str))}


def _without_parallel_prefix(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Keys as the network itself names them: DataParallel puts `module.` in front of all."""
    wrapped = all(key.startswith(PARALLEL_PREFIX) for key in state)
    return {key[len(PARALLEL_PREFIX) :] if wrapped else key: tensor for key, tensor in state.items()}
