"""The last step of a set: the lists by which KITTI's readers find frames, and the manifest over everything."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monotakd_ros.data.kitti_records import FRAMES_COLUMNS, FRAMES_FILE, POSES_FILE
from monotakd_ros.data.kitti_text import format_matrix
from monotakd_ros.data.tar_shards import RECORD, shard_members
from monotakd_ros.errors import SourceError
from monotakd_ros.generation.label_quality import FrameTexts, label_quality
from monotakd_ros.generation.segments import file_digest
from monotakd_ros.generation.set_folder import (
    FRAME_DIR,
    MANIFEST_FILE,
    SET_FILE,
    SOURCE_DIR,
    SetFolder,
    signed,
    write_json,
)

LIST_FILE = "ImageSets/all.txt"
NO_POSE = format_matrix(np.full((3, 4), np.nan))
MAX_SCORED_FRAMES = 4000
"""More frames would say no more about the labels: so many are taken, evenly spread."""
_TEXTS = {"truth.txt": "truth", "teacher.txt": "teacher", "label_2.txt": "training/label_2", RECORD: FRAME_DIR}
"""What is read of every frame again: kind in a shard, folder in a KITTI set."""


@dataclass
class _Tables:
    """What is gathered from all frames."""

    names: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    poses: list[str] = field(default_factory=list)
    boxes: Counter[str] = field(default_factory=Counter)
    scored: list[FrameTexts] = field(default_factory=list)

    def add(self, name: str, texts: Mapping[str, str], facts: Mapping[str, Any], every: int) -> None:
        if "truth.txt" in texts and len(self.names) % every == 0:
            self.scored.append(FrameTexts(name, texts["truth.txt"], texts["teacher.txt"], texts["label_2.txt"]))
        self.names.append(name)
        self.rows.append([facts[column] for column in FRAMES_COLUMNS])
        self.poses.append(facts["world_T_lidar"] or NO_POSE)
        self.boxes.update(f"{box['class']} {box['status']}" for box in facts["boxes"])

    def files(self) -> dict[str, bytes]:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(FRAMES_COLUMNS)
        writer.writerows(self.rows)
        return {
            LIST_FILE: "".join(f"{name}\n" for name in self.names).encode(),
            FRAMES_FILE: table.getvalue().encode(),
            POSES_FILE: "".join(f"{pose}\n" for pose in self.poses).encode(),
        }


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
    records = list(folder.segment_records())
    every = -(-max(sum(len(record["frames"]) for record in records), 1) // MAX_SCORED_FRAMES)
    tables = _Tables()
    for record in records:
        for name, texts in _stored_texts(folder, record):
            tables.add(name, texts, _facts(folder, name, texts), every)
    digests = folder.put(tables.files())
    skipped = Counter(item["reason"] for record in records for item in record["skipped"])
    manifest = signed(
        {
            "frames": len(tables.names),
            "skipped": dict(sorted(skipped.items())),
            "boxes": dict(sorted(tables.boxes.items())),
            "quality": label_quality(tables.scored, thresholds),
            "files": _digests(folder, records) | digests,
        }
    )
    write_json(folder.root / MANIFEST_FILE, manifest)
    return manifest


def _digests(folder: SetFolder, records: list[dict[str, Any]]) -> dict[str, str]:
    """SHA-256 of the files that say what made the set and of the segments' records."""
    sources = sorted((folder.root / SOURCE_DIR).glob("*.json"))
    names = [SET_FILE, *(f"{SOURCE_DIR}/{path.name}" for path in sources)]
    names += [f"segments/{record['segment']}.json" for record in records]
    return {name: file_digest(folder.root / name) for name in names}


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
