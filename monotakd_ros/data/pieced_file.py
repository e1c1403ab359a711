"""A file as it would be if other bytes stood before, between or behind its parts; nothing is written."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

Piece = bytes | range
"""Bytes as they are, or those of the file from the range's start to its stop."""


class PiecedPath:
    """A path-like object, of which `rosbags` reads pieces of a file instead of the file.

    Args:
        path: the file.
        pieces: what `open` gives, in its order.
        suffix: what kind of file it is taken for.
    """

    def __init__(self, path: Path, pieces: Sequence[Piece], suffix: str) -> None:
        self.suffix = suffix
        self._path, self._pieces = path, pieces

    def exists(self) -> bool:
        """Part of what `rosbags` asks of a path."""
        return True

    def is_dir(self) -> bool:
        """Part of what `rosbags` asks of a path."""
        return False

    def open(self, mode: str = "rb") -> BinaryIO:
        """The pieces as one file."""
        assert mode == "rb", mode
        return io.BufferedReader(_PiecedFile(self._path, self._pieces))

    def __str__(self) -> str:
        return str(self._path)


class _PiecedFile(io.RawIOBase):
    def __init__(self, path: Path, pieces: Sequence[Piece]) -> None:
        self._file = path.open("rb")
        self._pieces = [piece for piece in pieces if len(piece)]
        self._starts = [0, *accumulate(len(piece) for piece in self._pieces)]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _read(self, size: int) -> bytes:
        """At most `size` bytes, up to the end of a piece."""
        index = bisect_right(self._starts, self._at) - 1
        if index == len(self._pieces):
            return b""
        piece = self._pieces[index]
        part = piece[self._at - self._starts[index] :][:size]
        if isinstance(part, bytes):
            return part
        self._file.seek(part.start)
        return self._file.read(len(part))
