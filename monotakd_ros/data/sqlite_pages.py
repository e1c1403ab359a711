"""The pages of an SQLite file and the rows in them, read without SQLite, which refuses a file that was cut off.

Pages that a killed writer left in the write-ahead log stand for those in the file. What is not there reads as nothing,
and what is no row is none; nothing is written.

Source: https://www.sqlite.org/fileformat2.html (database header, b-tree pages, overflow pages).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np

from monotakd_ros.data.sqlite_records import Value, values_of, varint
from monotakd_ros.data.sqlite_wal import pages_in_log

INTERIOR, LEAF = 0x05, 0x0D
_MAGIC = b"SQLite format 3\0"
_HEADER_SIZE = 100


class Cell(NamedTuple):
    """A row of a table, as a leaf page has it."""

    row_id: int
    size: int
    """Bytes of the record."""
    local: bytes
    """Those that lie in the page itself."""
    overflow: int
    """Page that holds the next ones; 0 if there are no more."""


class DatabasePages:
    """A database file, page by page; pages are numbered from 1.

    Args:
        path: the file.
        log: its write-ahead log; need not exist.

    Attributes:
        count: number of pages that are there.
        promised: number of pages that the file says it has.

    Raises:
        ValueError: it is no database, or was cut off within its first page.
    """

    def __init__(self, path: Path, log: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._log = log.open("rb") if log.exists() else None
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DatabasePages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._log is not None:
            self._log.close()

    def read(self, number: int, length: int | None = None) -> bytes:
        """The first bytes of a page, all of them by default; fewer, or none, if they are not there."""
        length = self._page_size if length is None else length
        at = self._in_log.get(number)
        if at is not None:
            return _read_at(self._log, at, length)
        return _read_at(self._file, (number - 1) * self._page_size, length) if number > 0 else b""

    def cells(self, number: int) -> list[Cell]:
        """The rows of a leaf page; none if it is no such page."""
        page = self.read(number)
        start = _HEADER_SIZE if number == 1 else 0
        if len(page) < self._page_size or page[start] != LEAF:
            return []
        (count,) = struct.unpack_from(">H", page, start + 3)
        if start + 8 + 2 * count > len(page):
            return []
        cells = (self._cell(page, at) for at in struct.unpack_from(f">{count}H", page, start + 8))
        return [cell for cell in cells if cell is not None]

    def rows(self, root: int) -> Iterator[tuple[int, list[Value]]]:
        """Row ids and values of a table, as far as they are there."""
        waiting, seen = [root], set()
        while waiting:
            number = waiting.pop()
            if number in seen:
                continue
            seen.add(number)
            waiting += reversed(self._children(number))
            for cell in self.cells(number):
                record = self.record(cell)
                if record is not None:
                    yield cell.row_id, values_of(record)

    def record(self, cell: Cell) -> bytes | None:
        """All bytes of a row; None if some are not there."""
        missing = cell.size - len(cell.local)
        if not missing:
            return cell.local
        count = self.overflow_pages(cell)
        if count > self.count:
            return None
        run = np.frombuffer(self._run(cell.overflow, count), np.uint8)
        if len(run) == count * self._page_size:
            pages = run.reshape(count, self._page_size)
            following = np.ascontiguousarray(pages[:, :4]).view(">u4").ravel()
            if (following[:-1] == np.arange(1, count) + cell.overflow).all() and following[-1] == 0:
                return cell.local + pages[:, 4 : self._usable].tobytes()[:missing]
        chain = self._chain(cell.overflow, count)
        parts = (self.read(number)[4 : self._usable] for number in chain)
        return None if chain is None else cell.local + b"".join(parts)[:missing]

    def overflow_pages(self, cell: Cell) -> int:
        """Number of pages that the record takes beyond its leaf page."""
        return -(-(cell.size - len(cell.local)) // (self._usable - 4))

    def is_run(self, first: int, count: int) -> bool:
        """Whether a chain of pages lies in one piece, by its last two."""
        last = first + count - 1
        leads_on = count < 2 or self._next(last - 1) == last
        return last <= self.count and leads_on and self._next(last) == 0

    def is_whole(self, cell: Cell) -> bool:
        """Whether all pages of a record are there."""
        count = self.overflow_pages(cell)
        return not count or self.is_run(cell.overflow, count) or self._chain(cell.overflow, count) is not None

    def _read_header(self) -> None:
        header = _read_at(self._file, 0, _HEADER_SIZE)
        self._page_size, self._in_log = (0, {}) if self._log is None else pages_in_log(self._log)
        self._page_size = self._page_size or (struct.unpack_from(">H", header, 16)[0] if len(header) > 18 else 0)
        self._page_size = 65536 if self._page_size == 1 else self._page_size
        if self._page_size < 512 or self._page_size & (self._page_size - 1):
            raise ValueError("the file is no SQLite database, or ends before its first page")
        size = self._file.seek(0, io.SEEK_END)
        self.count = max(size // self._page_size, max(self._in_log, default=0))
        first = self.read(1)
        if len(first) < self._page_size or not first.startswith(_MAGIC):
            raise ValueError("the file is no SQLite database, or ends before its first page")
        self._usable = self._page_size - first[20]
        (promised,) = struct.unpack_from(">I", first, 28)
        says_it = promised and first[24:28] == first[92:96]  # else written by an SQLite that did not say it
        self.promised = promised if says_it else self.count

    def _cell(self, page: bytes, at: int) -> Cell | None:
        size, at = varint(page, at)
        row_id, at = varint(page, at)
        length = self._local_size(size)
        if at + length + (4 if length < size else 0) > len(page):
            return None
        (overflow,) = struct.unpack_from(">I", page, at + length) if length < size else (0,)
        return Cell(row_id, size, page[at : at + length], overflow)

    def _local_size(self, size: int) -> int:
        most = self._usable - 35
        if size <= most:
            return size
        least = (self._usable - 12) * 32 // 255 - 23
        fitting = least + (size - least) % (self._usable - 4)
        return fitting if fitting <= most else least

    def _children(self, number: int) -> list[int]:
        page = self.read(number)
        start = _HEADER_SIZE if number == 1 else 0
        if len(page) < self._page_size or page[start] != INTERIOR:
            return []
        count, last = struct.unpack_from(">3xH3xI", page, start)
        places = struct.unpack_from(f">{min(count, (len(page) - start - 12) // 2)}H", page, start + 12)
        return [struct.unpack_from(">I", page, at)[0] for at in places if at + 4 <= len(page)] + [last]

    def _run(self, first: int, count: int) -> bytes:
        if not first or any(number in self._in_log for number in range(first, first + count) if self._in_log):
            return b"".join(self.read(number) for number in range(first, first + count))
        return _read_at(self._file, (first - 1) * self._page_size, count * self._page_size)

    def _chain(self, first: int, count: int) -> list[int] | None:
        """The pages of a chain; None if it is shorter or longer, or leaves what is there."""
        chain: list[int] = []
        while len(chain) < count:
            if not 0 < first <= self.count or count > self.count:
                return None
            chain.append(first)
            first = self._next(first)
        return None if first else chain

    def _next(self, number: int) -> int:
        """The page that follows in a chain of overflow pages."""
        return int.from_bytes(self.read(number, 4), "big")


def _read_at(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
