"""The files that decide what a source yields: its own, and those it reads elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from monotakd_ros.data.source import DEFAULT_OPTIONS, SourceOptions


def files_in(path: Path) -> list[Path]:
    """The file `path`, or all files of that folder, sorted; also those in linked folders, each folder once."""
    return sorted(_walk(path)) if path.is_dir() else [path]


def files_beside(path: Path, options: SourceOptions = DEFAULT_OPTIONS) -> list[Path]:
    """The files outside `path` that a source there reads, as far as they exist; see `open_source`.

    They are what `options` name, and what lies beside: labels of a bag that is a single file, lists and records of a
    KITTI folder's `training` or `testing`, the calibration of a raw drive.

    Args:
        path: of the source, as it says it itself (`FrameSource.path`).
        options: it is read with.
    """
    places = [options.label_dir, options.calibration]
    if path.is_file():
        places.append(path.parent / "label_2")
    elif path.resolve().name in ("training", "testing"):
        places += [path.parent / name for name in ("ImageSets", "frames.csv", "poses.txt")]
    elif (path / "image_02" / "data").is_dir():
        places += sorted(path.parent.glob("calib_*.txt"))
    return [file for place in places if place is not None and place.exists() for file in files_in(place)]


def _walk(folder: Path) -> Iterator[Path]:
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        here = os.path.realpath(root)
        if here in seen:  # a link to where we come from
            folders.clear()
            continue
        seen.add(here)
        folders.sort()  # so that the same name stands for a folder that two lead to
        yield from (Path(root) / name for name in files)
