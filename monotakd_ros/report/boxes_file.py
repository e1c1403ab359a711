"""All boxes of an evaluation in one file of the report's folder, so that two reports can be compared frame by frame."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from monotakd_ros.errors import SourceError
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame

BOXES_NAME = "boxes.npz"
_COLUMNS = tuple(field.name for field in fields(KittiFrame))


def write_boxes(path: Path, frames: Sequence[EvaluationFrame]) -> None:
    """Write both sides of `frames`; `read_boxes` gives them back bit for bit, without covariance and stamps."""
    arrays = {"names": np.array([frame.name for frame in frames], dtype=np.str_)}
    for side in ("truth", "results"):
        records = [getattr(frame, side) for frame in frames]
        arrays[f"{side}/counts"] = np.array([len(record) for record in records], dtype=np.int64)
        for column in _COLUMNS:
            parts = [np.asarray(getattr(record, column)) for record in (*records, KittiFrame.empty())]
            dtype = np.str_ if column == "names" else parts[-1].dtype
            arrays[f"{side}/{column}"] = np.concatenate([part.astype(dtype) for part in parts])
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_boxes(path: Path) -> list[EvaluationFrame]:
    """Read what `write_boxes` wrote.

    Raises:
        SourceError: missing, or not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        sides = [_side(arrays, side) for side in ("truth", "results")]
        return [EvaluationFrame(str(name), *pair) for name, *pair in zip(arrays["names"], *sides)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path}: cannot read the boxes of a report: {error}") from error


def _side(arrays: dict[str, np.ndarray], side: str) -> list[KittiFrame]:
    ends = np.cumsum(arrays[f"{side}/counts"])
    columns = {column: np.split(arrays[f"{side}/{column}"], ends)[: len(ends)] for column in _COLUMNS}
    columns["names"] = [tuple(str(name) for name in names) for names in columns["names"]]
    return [KittiFrame(**dict(zip(columns, values))) for values in zip(*columns.values())]
