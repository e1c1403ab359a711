"""An MCAP file that was cut off, or never closed, read up to its last whole chunk.

A recorder that dies leaves no summary at the end, and readers refuse such a file. Here the summary is made up in memory
from the chunks and message indexes that are there, and the file with it behind goes to the usual reader: nothing is
written, and seeking by time works as in a whole file.

Source: the MCAP specification, https://mcap.dev/spec (records, chunk index, statistics, footer).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rosbags.rosbag2.storage_mcap import decompress

from monotakd_ros.data.pieced_file import PiecedPath

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX = range(1, 8)
CHUNK_INDEX, STATISTICS, DATA_END = 0x08, 0x0B, 0x0F
_RECORD = struct.Struct("<BQ")
_CHUNK_HEAD = struct.Struct("<QQQI")


class CutMcap(PiecedPath):
    """A path-like object, whose `open` gives the readable part of a cut file with a summary behind it.

    Args:
        path: the file.

    Attributes:
        end: byte after the last record that can be read.
        size: bytes in the file.
    """

    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        with path.open("rb") as file:
            found = _Contents.of(file, self.size)
        self.end = found.end
        super().__init__(path, [range(found.end), found.summary()], ".mcap")


class _Chunk(NamedTuple):
    start: int
    length: int
    head: tuple[int, int, int, int]
    """Start and end time, uncompressed size, checksum."""
    compression: str
    compressed_size: int


def is_closed(path: Path) -> bool:
    """Whether the file ends as a whole one does."""
    with path.open("rb") as file:
        file.seek(0, io.SEEK_END)
        file.seek(max(file.tell() - len(MAGIC), 0))
        return file.read() == MAGIC


@dataclass
class _Contents:
    """What a scan over a file's records found; `end` moves on only past what is complete."""

    end: int = 0
    schemas: dict[int, bytes] = field(default_factory=dict)
    channels: dict[int, bytes] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    indexed: list[tuple[_Chunk, dict[int, int], int]] = field(default_factory=list)

    @classmethod
    def of(cls, file: BinaryIO, size: int) -> _Contents:
        """Scan; stops at the first record that is not whole, or at the end of the data."""
        contents = cls()
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("the file does not begin as an MCAP file does")
        contents.end = len(MAGIC)
        waiting: _Chunk | None = None
        offsets: dict[int, int] = {}
        while (record := _next_record(file, size)) is not None:
            kind, start, length = record
            if waiting is not None and kind != MESSAGE_INDEX:
                contents._close_chunk(file, waiting, offsets, start)
                waiting = None
            if kind in (DATA_END, FOOTER):
                break
            if kind == CHUNK:
                waiting, offsets = _read_chunk(file, start, length), {}
            elif kind == MESSAGE_INDEX and waiting is not None:
                channel, index_size = struct.unpack("<HI", _read_at(file, start + _RECORD.size, 6))
                if index_size:
                    offsets[channel] = start
                    contents.counts[channel] = contents.counts.get(channel, 0) + index_size // 16
            else:
                contents._take(kind, file, start, length)
                contents.end = start + _RECORD.size + length
            file.seek(start + _RECORD.size + length)
        if waiting is not None and offsets:
            contents._close_chunk(file, waiting, offsets, _end_of_indexes(file, offsets))
        return contents

    def summary(self) -> bytes:
        """The end of a closed file: data end, schemas, channels, chunk indexes, statistics, footer, magic."""
        data_end = _record(DATA_END, struct.pack("<I", 0))
        if not any(offsets for _, offsets, _ in self.indexed):  # no chunks, or no indexes: readers scan such files
            return data_end + _record(FOOTER, struct.pack("<QQI", 0, 0, 0)) + MAGIC
        parts = [_record(SCHEMA, body) for body in self.schemas.values()]
        parts += [_record(CHANNEL, body) for body in self.channels.values()]
        parts += [_record(CHUNK_INDEX, _chunk_index(*item)) for item in self.indexed]
        parts.append(_record(STATISTICS, self._statistics()))
        footer = _record(FOOTER, struct.pack("<QQI", self.end + len(data_end), 0, 0))
        return b"".join([data_end, *parts, footer, MAGIC])

    def _statistics(self) -> bytes:
        starts, ends = zip(*((chunk.head[0], chunk.head[1]) for chunk, _, _ in self.indexed))
        sizes = (len(self.schemas), len(self.channels), 0, 0, len(self.indexed))
        counts = b"".join(struct.pack("<HQ", *item) for item in sorted(self.counts.items()))
        total = sum(self.counts.values())
        return struct.pack("<QHIIIIQQI", total, *sizes, min(starts), max(ends), len(counts)) + counts

    def _take(self, kind: int, file: BinaryIO, start: int, length: int) -> None:
        if kind in (SCHEMA, CHANNEL):
            body = _read_at(file, start + _RECORD.size, length)
            (self.schemas if kind == SCHEMA else self.channels)[struct.unpack_from("<H", body)[0]] = body

    def _close_chunk(self, file: BinaryIO, chunk: _Chunk, offsets: dict[int, int], end: int) -> None:
        """A chunk whose message indexes are over. Schemas and channels lie in it, before their first message."""
        if any(channel not in self.channels for channel in offsets):
            data = _chunk_data(file, chunk)
            for kind, start, length in _records_of(data):
                self._take(kind, io.BytesIO(data), start, length)
        self.indexed.append((chunk, offsets, end - chunk.start - chunk.length))
        self.end = end


def _next_record(file: BinaryIO, size: int) -> tuple[int, int, int] | None:
    """Kind, place and length of the record that begins here; None when it is not whole."""
    start = file.tell()
    head = file.read(_RECORD.size)
    if len(head) < _RECORD.size:
        return None
    kind, length = _RECORD.unpack(head)
    return None if start + _RECORD.size + length > size or kind == 0 else (kind, start, length)


def _records_of(data: bytes) -> list[tuple[int, int, int]]:
    records, file = [], io.BytesIO(data)
    while (record := _next_record(file, len(data))) is not None:
        records.append(record)
        file.seek(record[1] + _RECORD.size + record[2])
    return records


def _read_at(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _read_chunk(file: BinaryIO, start: int, length: int) -> _Chunk:
    head = _read_at(file, start + _RECORD.size, _CHUNK_HEAD.size)
    (name_length,) = struct.unpack("<I", file.read(4))
    compression = file.read(name_length).decode()
    (compressed_size,) = struct.unpack("<Q", file.read(8))
    return _Chunk(start, _RECORD.size + length, _CHUNK_HEAD.unpack(head), compression, compressed_size)


def _chunk_data(file: BinaryIO, chunk: _Chunk) -> bytes:
    data = _read_at(file, chunk.start + chunk.length - chunk.compressed_size, chunk.compressed_size)
    return decompress(data, chunk.compression, chunk.head[2], chunk.head[3])


def _end_of_indexes(file: BinaryIO, offsets: dict[int, int]) -> int:
    last = max(offsets.values())
    (length,) = struct.unpack("<Q", _read_at(file, last + 1, 8))
    return last + _RECORD.size + length


def _chunk_index(chunk: _Chunk, offsets: dict[int, int], index_length: int) -> bytes:
    places = b"".join(struct.pack("<HQ", *item) for item in offsets.items())
    head = struct.pack("<QQQQI", chunk.head[0], chunk.head[1], chunk.start, chunk.length, len(places))
    name = chunk.compression.encode()
    sizes = struct.pack("<QQ", chunk.compressed_size, chunk.head[2])
    return head + places + struct.pack("<QI", index_length, len(name)) + name + sizes


def _record(kind: int, body: bytes) -> bytes:
    return _RECORD.pack(kind, len(body)) + body
