"""Files of tensors and plain values: written whole or not at all, read so that none can run code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from monotakd_ros.atomic import atomic_path
from monotakd_ros.errors import CheckpointError, OutputError


def read_tensor_file(
    path: Path,
    allowed: AbstractContextManager[object] | None = None,
    refused: str = "not a checkpoint, or a damaged one",
) -> Any:
    """The content of a file, on the CPU.

    Args:
        path: the file.
        allowed: a context in which further types may be read.
        refused: what to say of a file that holds anything but tensors and plain values.

    Raises:
        CheckpointError: no such file, damaged, or with content that could run code.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise CheckpointError(f"{path}: expected a checkpoint file, found {found}")
    try:
        with allowed or nullcontext():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's text advises to load it unsafely
        raise CheckpointError(f"{path}: {refused}") from error
    except Exception as error:  # a damaged pickle stream breaks torch's reader in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a checkpoint, or a damaged one: {reason}") from error


def no_weights(state: Mapping[Any, Any]) -> list[str]:
    """Keys of a state dict that are no names, or whose values are no dense tensors."""
    return [str(key) for key, value in state.items() if not (isinstance(key, str) and _is_dense(value))]


def _is_dense(value: Any) -> bool:
    """Whether it is a tensor of plain numbers that are there."""
    if not torch.is_tensor(value):
        return False
    return value.layout == torch.strided and not value.is_quantized and not value.is_meta


def write_tensor_file(path: Path, content: dict[str, Any]) -> None:
    """Write `content`, replacing an older file of that name in one step; the folder is made when missing.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's writer reports a full disk so
            raise OutputError(f"{path}: cannot write: {error}") from error
