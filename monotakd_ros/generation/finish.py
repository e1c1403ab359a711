"""The last step of a set: the lists by which KITTI's readers find frames, and the manifest over everything."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monotakd_ros.data.kitti_records import FRAMES_COLUMNS, FRAMES_FILE, POSES_FILE
from monotakd_ros.data.kitti_text import format_matrix
from monotakd_ros.errors import SourceError
from monotakd_ros.generation.label_quality import label_quality
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


def finish_set(folder: SetFolder, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Write the lists and the manifest of a set of which all segments are done; returns the manifest.

    Args:
        folder: the set.
        thresholds: score per class from which the teacher's boxes may be labels.

    Raises:
        SourceError: a record is damaged.
        OutputError: the place cannot be written.
    """
    names: list[str] = []
    poses, table = io.StringIO(), io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(FRAMES_COLUMNS)
    skipped: Counter[str] = Counter()
    boxes: Counter[str] = Counter()
    records: dict[str, str] = {}
    for record in folder.segment_records():
        records[f"segments/{record['segment']}.json"] = ""
        skipped.update(item["reason"] for item in record["skipped"])
        for name in record["frames"]:
            facts = _frame_facts(folder, name)
            names.append(name)
            rows.writerow([facts[column] for column in FRAMES_COLUMNS])
            poses.write(f"{facts['world_T_lidar'] or NO_POSE}\n")
            boxes.update(f"{box['class']} {box['status']}" for box in facts["boxes"])
    lists = {
        LIST_FILE: "".join(f"{name}\n" for name in names).encode(),
        FRAMES_FILE: table.getvalue().encode(),
        POSES_FILE: poses.getvalue().encode(),
    }
    digests = folder.put(lists)
    kept = [SET_FILE, *(f"{SOURCE_DIR}/{path.name}" for path in sorted((folder.root / SOURCE_DIR).glob("*.json")))]
    files = {name: file_digest(folder.root / name) for name in (*kept, *records)} | digests
    manifest = signed(
        {
            "frames": len(names),
            "skipped": dict(sorted(skipped.items())),
            "boxes": dict(sorted(boxes.items())),
            "quality": label_quality(folder.root, names, thresholds),
            "files": files,
        }
    )
    write_json(folder.root / MANIFEST_FILE, manifest)
    return manifest


def _frame_facts(folder: SetFolder, name: str) -> dict[str, Any]:
    path: Path = folder.root / FRAME_DIR / f"{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: the record of a frame is missing or damaged: {error}") from error
