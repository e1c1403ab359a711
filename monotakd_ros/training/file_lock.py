"""One process at a time: what several runs share on disk is made by one of them, while the others wait."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def locked(path: Path) -> Iterator[TextIO]:
    """A file, open for reading and appending, while no other process (or thread) has it so; made when missing.

    Whoever removes it before the end lets those in that wait for it: they look again whether there is work left.
    """
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
