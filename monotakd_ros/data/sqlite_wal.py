"""What a killed writer left in SQLite's write-ahead log, and whether it left anything.

Source: https://www.sqlite.org/fileformat2.html (section 4, write-ahead log; section 3, rollback journal).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

_MAGIC = 0x377F0682
"""With little-endian checksums; the next number is that with big-endian ones."""
_HEADER, _FRAME_HEADER = struct.Struct(">IIIIIIII"), struct.Struct(">IIIIII")
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


def log_of(database: Path) -> Path:
    """Where SQLite keeps a database's write-ahead log."""
    return database.with_name(database.name + "-wal")


def unfinished(database: Path) -> str | None:
    """Name of the log or journal from which a database would have to be completed; None if it is closed."""
    log, journal = log_of(database), database.with_name(database.name + "-journal")
    if log.is_file() and log.stat().st_size > _HEADER.size:
        return log.name
    if journal.is_file():
        with journal.open("rb") as file:
            return journal.name if file.read(len(_JOURNAL_MAGIC)) == _JOURNAL_MAGIC else None
    return None


def pages_in_log(file: BinaryIO) -> tuple[int, dict[int, int]]:
    """The newest state of each page in a write-ahead log, up to the first frame that is not whole.

    Pages of a transaction that was not committed count, too, as far as they have their checksums: a recorder only
    appends.

    Returns:
        Bytes a page, 0 if it is no log; place of each page in the file.
    """
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return 0, {}
    magic, _, page_size, _, *salts, sum_0, sum_1 = _HEADER.unpack(header)
    order = {_MAGIC: "<u4", _MAGIC + 1: ">u4"}.get(magic)
    if order is None or _checksum(header[:24], order, (0, 0)) != (sum_0, sum_1):
        return 0, {}
    pages: dict[int, int] = {}
    sums = (sum_0, sum_1)
    while len(frame := file.read(_FRAME_HEADER.size + page_size)) == _FRAME_HEADER.size + page_size:
        number, _, *frame_salts, sum_0, sum_1 = _FRAME_HEADER.unpack_from(frame)
        sums = _checksum(frame[:8] + frame[_FRAME_HEADER.size :], order, sums)
        if frame_salts != salts or sums != (sum_0, sum_1):  # left from before the log began anew, or half written
            break
        pages[number] = file.tell() - page_size
    return page_size, pages


def _checksum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    """SQLite's running sums: for each pair of words a, b, s0 += a + s1 and s1 += b + s0, modulo 2**32.

    Written out, each word counts as often as a Fibonacci number says, so that it is one product.
    """
    words = np.frombuffer(data, order).astype(np.uint64)
    words[0] += np.uint64(sums[0])
    words = np.concatenate([np.array([sums[1]], np.uint64), words]).astype(np.uint32)
    weights = _fibonacci(len(words) + 1)
    first = np.sum(words * weights[-2::-1], dtype=np.uint32)
    second = np.sum(words * weights[:0:-1], dtype=np.uint32)
    return int(first), int(second)


@lru_cache(maxsize=8)
def _fibonacci(count: int) -> np.ndarray:
    """F(0), F(1), ... modulo 2**32."""
    numbers = [0, 1]
    while len(numbers) < count:
        numbers.append((numbers[-1] + numbers[-2]) & 0xFFFFFFFF)
    return np.array(numbers[:count], np.uint32)
