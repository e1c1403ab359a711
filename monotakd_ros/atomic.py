"""Outputs that are whole or absent: files and folders written under a temporary name, then renamed.

The temporary name lies in the folder of the final one, so that the rename never crosses a file system.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from monotakd_ros.errors import OutputError

OUR_FOLDERS = (
    {"metadata.yaml"},
    {"training", "ImageSets"},
    {"detections", "summary.json"},
    {"report.html", "report.json"},
    {"view.json"},
)
"""What a bag, a KITTI folder, a replay, a report and pictures to view hold; only such folders are ever replaced."""


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the final name, else it is removed.

    An existing file is replaced. The folder of `path` is made when missing.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    path = Path(path)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _flush(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


class PendingFolder:
    """A folder under construction at `.path`, beside its final place.

    `commit` gives it the final name (and only then removes what was there), `discard` removes it.

    Raises:
        OutputError: `target` exists and may not be replaced, or the place cannot be written.
    """

    def __init__(self, target: Path | str, overwrite: bool = False) -> None:
        self.target = Path(target)
        refuse_to_lose(self.target, overwrite)
        with output_errors(self.target):
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._room = Path(tempfile.mkdtemp(prefix=f".{self.target.name}.", dir=self.target.parent))
        self.path = self._room / self.target.name

    def commit(self) -> None:
        """Move the folder to its final name; what was there goes away."""
        with output_errors(self.target):
            replaced = self._room / "replaced"
            if self.target.exists():
                self.target.rename(replaced)
            try:
                self.path.rename(self.target)
            except OSError:
                if replaced.exists():
                    replaced.rename(self.target)
                raise
        self.discard()

    def discard(self) -> None:
        """Remove everything temporary."""
        shutil.rmtree(self._room, ignore_errors=True)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into an `OutputError` that says why."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror or error}") from error


def refuse_to_lose(target: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Check that a folder may be written to `target`, before the work that fills it.

    Args:
        target: what is to be written.
        overwrite: whether something of ours there may be replaced.
        inputs: what is read for it, which must not go away with what is replaced.

    Raises:
        OutputError: it exists and may not be replaced, is of another kind, or holds an input.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise OutputError(f"{target}: exists already; pass --overwrite to replace it, or choose another name")
    if not target.is_dir() or not _is_our_kind(target):
        raise OutputError(
            f"{target}: exists and is no bag, KITTI folder, replay, report or view; left alone, so that nothing is lost"
        )
    for path in inputs:
        if target.resolve() in (path.resolve(), *path.resolve().parents):
            raise OutputError(f"{target}: replacing it would delete what is read from it, {path}; choose another name")


def require_free_file(target: Path, overwrite: bool) -> None:
    """Check that a file may be written to `target`, before the work that makes its content.

    Raises:
        OutputError: it exists and may not be replaced, or is a folder.
    """
    if target.is_dir():
        raise OutputError(f"{target}: expected the name of a file to write, found a folder")
    if target.exists() and not overwrite:
        raise OutputError(f"{target}: exists already; pass --overwrite to replace it, or choose another name")


def _is_our_kind(folder: Path) -> bool:
    names = {item.name for item in folder.iterdir()}
    return not names or any(content <= names for content in OUR_FOLDERS)


def _flush(path: Path) -> None:
    """Put the content on the disk before the name, so that a power cut leaves the old file or the new one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
