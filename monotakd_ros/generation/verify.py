"""Whether a set is what its manifest says: every file there, unchanged, and none besides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monotakd_ros.errors import SourceError
from monotakd_ros.generation.set_folder import LOCK_FILE, MANIFEST_FILE, SET_FILE, SetFolder, is_signed, read_json
from monotakd_ros.provenance import file_sha256


@dataclass
class Verification:
    """What was found.

    Attributes:
        files: number of files that were read.
        problems: one sentence each, starting with the file; empty for a set that is whole.
    """

    files: int = 0
    problems: list[str] = field(default_factory=list)


def verify_set(root: Path, on_file: Callable[[int], None] = lambda count: None) -> Verification:
    """Read every file of a set again.

    Args:
        root: of the set.
        on_file: called with 1 for every file that was read.

    Raises:
        SourceError: the folder is no generated set.
    """
    if not (root / SET_FILE).is_file():
        raise SourceError(f"{root}: expected a generated set (a folder with {SET_FILE})")
    result = Verification()
    folder = SetFolder(root)
    known = {SET_FILE}
    for name, digest in _expected(folder, result):
        known.add(name)
        result.files += 1
        on_file(1)
        problem = _problem(root / name, digest)
        if problem:
            result.problems.append(f"{name}: {problem}")
    result.problems += [f"{name}: not a file of this set" for name in _strangers(root, known)]
    return result


def count_files(root: Path) -> int:
    """Number of files in a folder."""
    return sum(item.is_file() for item in root.rglob("*"))


def _expected(folder: SetFolder, result: Verification) -> Iterator[tuple[str, str]]:
    """Name and checksum of every file that a set should hold."""
    manifest = _readable(folder.root / MANIFEST_FILE, result)
    if manifest is None:
        result.problems.append(f"{MANIFEST_FILE}: missing or damaged: the set is not finished; generate it again")
        return
    if not is_signed(folder.root / MANIFEST_FILE):
        result.problems.append(f"{MANIFEST_FILE}: changed: its content does not have its own sha256")
    yield MANIFEST_FILE, ""
    for name, digest in manifest.get("files", {}).items():
        yield name, digest
        if name.startswith("segments/"):
            record = _readable(folder.root / name, result) or {}
            for files in (record.get("files", {}), *record.get("frames", {}).values()):
                yield from files.items()


def _readable(path: Path, result: Verification) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except SourceError:
        return None


def _problem(path: Path, digest: str) -> str | None:
    try:
        found = file_sha256(path)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return f"changed: sha256 {found[:12]}..., expected {digest[:12]}..." if digest and found != digest else None


def _strangers(root: Path, known: set[str]) -> list[str]:
    found = (str(item.relative_to(root)) for item in sorted(root.rglob("*")) if item.is_file())
    return [name for name in found if name not in known and name != LOCK_FILE]
