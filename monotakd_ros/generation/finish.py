"""The last step of a set: the lists by which KITTI's readers find frames, and the manifest over everything."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monotakd_ros.atomic import atomic_path
from monotakd_ros.data.kitti_records import FRAMES_COLUMNS, FRAMES_FILE, POSES_FILE
from monotakd_ros.data.kitti_text import format_matrix
from monotakd_ros.data.tar_shards import RECORD, shard_members
from monotakd_ros.errors import SourceError
from monotakd_ros.generation.label_quality import FrameTexts, label_quality
from monotakd_ros.generation.set_folder import (
    FRAME_DIR,
    MANIFEST_FILE,
    SEGMENT_DIR,
    SET_FILE,
    SOURCE_DIR,
    SetFolder,
    signed,
    write_json,
)
from monotakd_ros.provenance import file_sha256

LISTS = ("ImageSets/all.txt", FRAMES_FILE, POSES_FILE)
NO_POSE = format_matrix(np.full((3, 4), np.nan))
MAX_SCORED_FRAMES = 4000
"""More frames would say no more about the labels: so many are taken, evenly spread."""
_TEXTS = {"truth.txt": "truth", "teacher.txt": "teacher", "label_2.txt": "training/label_2", RECORD: FRAME_DIR}
"""What is read of every frame again: kind in a shard, folder in a KITTI set."""


@dataclass
class _Tally:
    """What is counted over all frames."""

    frames: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    scored: list[FrameTexts] = field(default_factory=list)

    def add(self, name: str, texts: Mapping[str, str], facts: Mapping[str, Any], every: int) -> None:
        if "truth.txt" in texts and self.frames % every == 0:
            self.scored.append(FrameTexts(name, texts["truth.txt"], texts["teacher.txt"], texts["label_2.txt"]))
        self.frames += 1
        self.boxes.update(f"{box['class']} {box['status']}" for box in facts["boxes"])


def finish_set(folder: SetFolder, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Write the lists and the manifest of a set of which all segments are done; returns the manifest.

    Args:
        folder: the set.
        thresholds: score per class from which the teacher's boxes may be labels.

    Raises:
        SourceError: a record is damaged.
        LabelError: a label file is damaged.
        OutputError: the place cannot be written.
    """
    tally = _write_lists(folder)
    manifest = signed(
        {
            "frames": tally.frames,
            "skipped": dict(sorted(tally.skipped.items())),
            "boxes": dict(sorted(tally.boxes.items())),
            "quality": label_quality(tally.scored, thresholds),
            "files": _digests(folder),
        }
    )
    write_json(folder.root / MANIFEST_FILE, manifest)
    return manifest


def _write_lists(folder: SetFolder) -> _Tally:
    """Write the lists, frame by frame: a set may be too large for memory."""
    total = sum(len(record["frames"]) for record in folder.segment_records())
    every = -(-max(total, 1) // MAX_SCORED_FRAMES)
    tally = _Tally()
    with ExitStack() as stack:
        names, table, poses = (
            stack.enter_context(stack.enter_context(atomic_path(folder.root / name)).open("w", newline=""))
            for name in LISTS
        )
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(FRAMES_COLUMNS)
        for record in folder.segment_records():
            tally.skipped.update(item["reason"] for item in record["skipped"])
            for name, texts in _stored_texts(folder, record):
                facts = _facts(folder, name, texts)
                names.write(f"{name}\n")
                rows.writerow([facts[column] for column in FRAMES_COLUMNS])
                poses.write(f"{facts['world_T_lidar'] or NO_POSE}\n")
                tally.add(name, texts, facts, every)
    return tally


def _digests(folder: SetFolder) -> dict[str, str]:
    """SHA-256 of the files that say what made the set, of the segments' records and of the lists."""
    records = [f"{place}/{path.name}" for place in (SOURCE_DIR, SEGMENT_DIR) for path in folder.records(place)]
    return {name: file_sha256(folder.root / name) for name in (SET_FILE, *records, *LISTS)}


def _stored_texts(folder: SetFolder, record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and texts, by kind, of every frame of a segment, from its folders or its shard."""
    if record["files"]:
        for shard in record["files"]:
            for name, members in shard_members(folder.root / shard, tuple(_TEXTS)):
                yield name, {kind: content.decode() for kind, content in members.items()}
        return
    for name in record["frames"]:
        suffix = {RECORD: "json"}
        paths = {kind: folder.root / place / f"{name}.{suffix.get(kind, 'txt')}" for kind, place in _TEXTS.items()}
        try:
            yield name, {kind: path.read_text(encoding="utf-8") for kind, path in paths.items() if path.is_file()}
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{folder.root}: frame {name} cannot be read: {error}") from error


def _facts(folder: SetFolder, name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    try:
        return json.loads(texts[RECORD])
    except (KeyError, ValueError) as error:
        raise SourceError(f"{folder.root}: the record of frame {name} is missing or damaged: {error}") from error
