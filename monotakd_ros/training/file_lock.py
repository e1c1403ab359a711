"""One process at a time: what several runs share on disk is made by one of them, while the others wait."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def locked(path: Path) -> Iterator[TextIO]:
    """A file, open for reading and appending, while no other process (or thread) has it so; made when missing.

    Whoever removes it before the end lets one of those in that wait for it, with a file of its own: they look again
    whether there is work left.
    """
    while True:
        with path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, path):
                yield file
                return


def _is_at(file: TextIO, path: Path) -> bool:
    """Whether an open file is the one of that name: it may have been removed while its lock was waited for."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
