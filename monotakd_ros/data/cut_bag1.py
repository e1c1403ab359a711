"""A ROS 1 bag that was cut off, or whose recorder was killed, read up to its last whole message.

Such a file has no index at its end, and readers refuse it. Here the index is made up in memory from the chunks and
their indexes, and the file with it behind goes to the usual reader. Of a last chunk that is not whole, the messages
before the cut are read if it is not compressed.

Source: the bag format 2.0, https://wiki.ros.org/Bags/Format/2.0 (records, chunk, connection, index data, chunk info).
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from rosbags.rosbag1.reader import decompressors

from monotakd_ros.data.pieced_file import Piece, PiecedPath

MESSAGE, BAG_HEADER, INDEX_DATA, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7
_MAGIC = re.compile(rb"#ROSBAG V2\.0\n")
_LONGEST_HEADER = 1 << 20
"""Bytes; what is longer is no header."""
_ENTRY = np.dtype([("sec", "<u4"), ("nsec", "<u4"), ("offset", "<u4")])


class CutBag1(PiecedPath):
    """A path-like object, whose `open` gives the readable part of a cut bag with an index behind it.

    Args:
        path: the file.

    Attributes:
        end: byte after the last record that can be read.
        size: bytes in the file.

    Raises:
        ValueError: there is no message in it.
    """

    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        with path.open("rb") as file:
            found = _Contents.of(file, self.size)
        if not found.chunks:
            raise ValueError("the file ends before its first message")
        self.end = found.end
        super().__init__(path, found.pieces(), ".bag")


class _Record(NamedTuple):
    start: int
    fields: dict[bytes, bytes]
    data: range
    """Where its data lies."""

    @property
    def op(self) -> int:
        return self.fields[b"op"][0]

    def number(self, name: bytes) -> int:
        return int.from_bytes(self.fields[name], "little")


class _ChunkInfo(NamedTuple):
    start: int
    index: dict[int, np.ndarray]
    """Of each connection: time and place of its messages."""

    def record(self) -> bytes:
        counts = [(connection, len(entries)) for connection, entries in self.index.items()]
        times = np.concatenate(list(self.index.values()))[["sec", "nsec"]]
        first, last = (tuple(pick(times.tolist())) for pick in (min, max))
        fields = {b"op": bytes([CHUNK_INFO]), b"ver": _u4(1), b"chunk_pos": struct.pack("<Q", self.start)}
        fields |= {b"start_time": struct.pack("<II", *first), b"end_time": struct.pack("<II", *last)}
        data = b"".join(struct.pack("<II", *item) for item in counts)
        return _header({**fields, b"count": _u4(len(counts))}) + _u4(len(data)) + data


@dataclass
class _Contents:
    """What a scan over a file's records found; `end` moves on only past what is complete."""

    head: _Record
    end: int
    connections: dict[int, bytes] = field(default_factory=dict)
    chunks: list[_ChunkInfo] = field(default_factory=list)
    last: list[Piece] = field(default_factory=list)
    """The last chunk and its index, where they are not as in the file."""
    body_end: int = 0

    @classmethod
    def of(cls, file: BinaryIO, size: int) -> _Contents:
        """Scan; stops at the first record that is not whole, or at the end of the chunks."""
        if not _MAGIC.fullmatch(file.readline(64)):
            raise ValueError("the file does not begin as a bag of version 2.0 does")
        head = _next_record(file, size)
        if head is None or head.op != BAG_HEADER:
            raise ValueError("the file ends before its first message")
        contents = cls(head, head.data.stop, body_end=head.data.stop)
        file.seek(head.data.stop)
        while (chunk := _next_record(file, size, whole=False)) is not None and chunk.op == CHUNK:
            if not contents._take_indexed(file, size, chunk):
                contents._take_last(file, size, chunk)
                break
        return contents

    def pieces(self) -> list[Piece]:
        """A closed bag: header that names the index, chunks, connections, chunk infos."""
        connections = list(self.connections.values())
        index_start = self.body_end + sum(len(piece) for piece in self.last)
        counts = {b"conn_count": _u4(len(connections)), b"chunk_count": _u4(len(self.chunks))}
        fields = {**self.head.fields, b"index_pos": struct.pack("<Q", index_start), **counts}
        head = _header(fields)
        assert len(head) == self.head.data.start - 4 - self.head.start, "positions in the file must stay"
        body = range(self.head.start + len(head), self.body_end)
        index = b"".join([*connections, *(chunk.record() for chunk in self.chunks)])
        return [range(self.head.start), head, body, *self.last, index]

    def _take_indexed(self, file: BinaryIO, size: int, chunk: _Record) -> bool:
        """A chunk with its index, behind which another one begins; False if it is not that."""
        index: dict[int, np.ndarray] = {}
        if chunk.data.stop > size:
            return False
        file.seek(chunk.data.stop)
        while (record := _next_record(file, size, whole=False)) is not None and record.op == INDEX_DATA:
            if record.data.stop > size:
                return False
            index[record.number(b"conn")] = np.frombuffer(_read(file, record.data), _ENTRY)
            file.seek(record.data.stop)
        if record is None or record.op != CHUNK or not index:
            return False
        if any(connection not in self.connections for connection in index):
            self.connections.update(_Messages.of(*_contents(file, chunk)).connections)
        self.chunks.append(_ChunkInfo(chunk.start, index))
        self.end = self.body_end = record.start
        file.seek(record.start)
        return True

    def _take_last(self, file: BinaryIO, size: int, chunk: _Record) -> None:
        """The chunk at the end: its index is not all there, and its own end may be missing."""
        is_whole = len(chunk.data) > 0 and chunk.data.stop <= size  # a chunk in the making says that it is empty
        data = chunk.data if is_whole else range(chunk.data.start, size)
        try:
            found = _Messages.of(*_contents(file, chunk._replace(data=data)))
        except (OSError, EOFError, ValueError, RuntimeError):  # a part of a compressed chunk
            return
        if not found.index:
            return
        if chunk.fields[b"compression"] == b"none":
            data = range(data.start, found.end)
        index = {connection: np.array(entries, _ENTRY) for connection, entries in found.index.items()}
        self.connections.update(found.connections)
        self.chunks.append(_ChunkInfo(chunk.start, index))
        self.end = data.stop
        head = _header({**chunk.fields, b"size": _u4(found.end - found.start)}) + _u4(len(data))
        self.last = [head, data, *(_index_data(*item) for item in index.items())]


@dataclass
class _Messages:
    """What a chunk holds; `end` is behind its last whole message, in the stream from which it was read."""

    start: int
    end: int
    connections: dict[int, bytes] = field(default_factory=dict)
    index: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, stream: BinaryIO, start: int, stop: int) -> _Messages:
        """Read records up to the first that is not whole, or none of a chunk's."""
        found = cls(start, start)
        stream.seek(start)
        while (record := _next_record(stream, stop)) is not None and record.op in (MESSAGE, CONNECTION):
            connection = record.number(b"conn")
            if record.op == CONNECTION:
                found.connections[connection] = _read(stream, range(record.start, record.data.stop))
            else:
                time = struct.unpack("<II", record.fields[b"time"])
                found.index.setdefault(connection, []).append((*time, record.start - start))
                found.end = record.data.stop
            stream.seek(record.data.stop)
        return found


def _contents(file: BinaryIO, chunk: _Record) -> tuple[BinaryIO, int, int]:
    """The stream of a chunk's records, and where they begin and end in it."""
    compression = chunk.fields[b"compression"].decode()
    if compression == "none":
        return file, chunk.data.start, chunk.data.stop
    data = decompressors[compression](_read(file, chunk.data))
    return io.BytesIO(data), 0, len(data)


def _next_record(file: BinaryIO, size: int, whole: bool = True) -> _Record | None:
    """The record that begins here; None when there is none, or it is not whole (unless only its header must be)."""
    start = file.tell()
    length = int.from_bytes(file.read(4), "little")
    if not 0 < length <= min(size - start - 8, _LONGEST_HEADER):
        return None
    fields = _fields(file.read(length))
    data_start = start + 8 + length
    data = range(data_start, data_start + int.from_bytes(file.read(4), "little"))
    if len(fields.get(b"op", b"")) != 1 or (whole and data.stop > size):
        return None
    return _Record(start, fields, data)


def _fields(header: bytes) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    at = 0
    while at + 4 <= len(header):
        (length,) = struct.unpack_from("<I", header, at)
        name, _, value = header[at + 4 : at + 4 + length].partition(b"=")
        fields[name] = value
        at += 4 + length
    return fields


def _read(file: BinaryIO, part: range) -> bytes:
    file.seek(part.start)
    return file.read(len(part))


def _header(fields: dict[bytes, bytes]) -> bytes:
    parts = (name + b"=" + value for name, value in fields.items())
    body = b"".join(_u4(len(part)) + part for part in parts)
    return _u4(len(body)) + body


def _index_data(connection: int, index: np.ndarray) -> bytes:
    fields = {b"op": bytes([INDEX_DATA]), b"ver": _u4(1), b"conn": _u4(connection), b"count": _u4(len(index))}
    return _header(fields) + _u4(index.nbytes) + index.tobytes()


def _u4(number: int) -> bytes:
    return struct.pack("<I", number)
