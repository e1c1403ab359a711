"""A set of training data on disk: what made it, which segments are done, and the lists that readers of KITTI want.

    set.json              what made it: settings, networks, versions
    sources/NNN.json      a recording: its files' checksums and how it is cut into segments
    training/, teacher/, assistant/, truth/, frames/     the frames' files (`frame_files`)
    segments/NNN-NNNNN.json   a segment that is done: checksums of its files, frames left out and why
    ImageSets/, frames.csv, poses.txt, manifest.json     written when all segments are done

Every file appears whole, under its own name. A segment is done when its record is there; one that was interrupted is
worked on again and gives the same bytes. Nothing in a set tells when or on how many workers it was made.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import atomic_path, output_errors
from monotakd_ros.errors import OutputError, SourceError
from monotakd_ros.generation.segments import Segment, SourcePlan

SET_FILE = "set.json"
MANIFEST_FILE = "manifest.json"
SOURCE_DIR, SEGMENT_DIR, FRAME_DIR = "sources", "segments", "frames"
LOCK_FILE = ".lock"
SET_VERSION = 1


class SetFolder:
    """The folder of one set.

    Args:
        root: its path.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def begun(self, facts: Mapping[str, Any]) -> Iterator[None]:
        """Begin a set, or go on with one that the same settings, weights and code made; alone, while this lasts.

        Raises:
            OutputError: the folder holds something else, was made by something else, is being written by another
                process, or cannot be written.
        """
        facts = json.loads(json.dumps({"format": SET_VERSION, **facts}))
        path = self.root / SET_FILE
        if self.root.exists() and not path.is_file() and any(item.name != LOCK_FILE for item in _items(self.root)):
            raise OutputError(f"{self.root}: exists and is no generated set (no {SET_FILE}); choose another name")
        with output_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if path.is_file():
                _require_same(read_json(path), facts, path)
            else:
                write_json(path, facts)
            yield

    def sources(self) -> list[dict[str, Any]]:
        """The recordings of the set, by their number."""
        return [read_json(path) for path in self.records(SOURCE_DIR)]

    def records(self, place: str) -> list[Path]:
        """The records of recordings (`SOURCE_DIR`) or of segments (`SEGMENT_DIR`), in order."""
        return sorted((self.root / place).glob("*.json"))

    def add_source(self, number: int, path: Path, digests: Mapping[str, str], plan: SourcePlan) -> None:
        """Note a recording and its segments."""
        facts = {
            "number": number,
            "name": path.resolve().name,
            "files": dict(digests),
            "broken": plan.broken,
            "segments": [asdict(segment) for segment in plan.segments],
        }
        write_json(self.root / SOURCE_DIR / f"{number:03d}.json", facts)

    def is_done(self, segment: Segment) -> bool:
        """Whether a segment's record is there."""
        return self.segment_file(segment).is_file()

    def segment_file(self, segment: Segment) -> Path:
        """Where a segment's record lies once it is done."""
        return self.root / SEGMENT_DIR / f"{segment.key}.json"

    def put(self, files: Mapping[str, bytes]) -> dict[str, str]:
        """Write files, each whole or not at all, the last one last; returns their SHA-256 by path.

        Raises:
            OutputError: the disk is full, or the place cannot be written.
        """
        for name, content in files.items():
            path = self.root / name
            with output_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_name(f".{path.name}.{os.getpid()}")
                try:
                    temporary.write_bytes(content)
                    temporary.replace(path)
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise
        return {name: sha256(content).hexdigest() for name, content in files.items()}

    def finish_segment(self, segment: Segment, record: Mapping[str, Any]) -> None:
        """Declare a segment done, once its files are on the disk."""
        os.sync()
        write_json(self.segment_file(segment), dict(record))

    def segment_records(self) -> Iterator[dict[str, Any]]:
        """Records of the segments that are done, in the order of sources and time."""
        for path in self.records(SEGMENT_DIR):
            yield read_json(path)

    def planned(self) -> list[Segment]:
        """All segments of all recordings."""
        return [Segment(**segment) for source in self.sources() for segment in source["segments"]]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        path = self.root / LOCK_FILE
        with output_errors(path), path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(f"{self.root}: another process is writing this set; wait, or stop it") from error
            yield
            path.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a set.

    Raises:
        SourceError: missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: expected a JSON file of a generated set: {error}") from error


def json_text(facts: Mapping[str, Any]) -> str:
    """JSON as it stands in a set."""
    return json.dumps(facts, indent=1) + "\n"


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a JSON file whole."""
    with atomic_path(path) as temporary:
        temporary.write_text(json_text(facts), encoding="utf-8")


def signed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same facts with a checksum over them."""
    return {**facts, "sha256": sha256(json_text(facts).encode()).hexdigest()}


def is_signed(path: Path) -> bool:
    """Whether a file is, byte for byte, what `signed` facts are written as."""
    facts = read_json(path)
    unsigned = {name: value for name, value in facts.items() if name != "sha256"}
    return path.read_bytes() == json_text(signed(unsigned)).encode()


def differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Where two JSON values differ, as "settings.selection.max_rate_hz: 2.0, now 5.0"."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield f"{key}: {before!r}, now {now!r}"


def _require_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    found = list(differences(dict(before), dict(now)))
    if found:
        raise OutputError(
            f"{path}: this set was made by something else, so frames of one set would not be alike: "
            f"{'; '.join(found[:4])}{' ...' if len(found) > 4 else ''}; choose another name, or make it again there"
        )


def _items(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise OutputError(f"{folder}: expected a folder, found a file")
    return list(folder.iterdir())
