"""SQLite's records: the values of a row as they are stored.

Source: https://www.sqlite.org/fileformat2.html (section 2.1, record format; varints).
"""

from __future__ import annotations

Value = int | str | bytes | None
_INT_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in SQLite's encoding, up to the data's end, and the place behind it."""
    number = 0
    for index, byte in enumerate(data[at : at + 9]):
        if index == 8:
            return (number << 8 | byte) - (1 << 64 if number >> 55 else 0), at + 9
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, at + index + 1
    return 0, len(data)


def values_of(record: bytes, count: int | None = None) -> list[Value]:
    """A record's values, or the first ones; fewer if they are not there. Floats are left out."""
    kinds, at = record_kinds(record)
    values: list[Value] = []
    for kind in kinds[:count]:
        size = size_of(kind)
        if at + size > len(record):
            break
        values.append(_value(kind, record[at : at + size]))
        at += size
    return values


def record_kinds(record: bytes) -> tuple[list[int], int]:
    """The serial types of a record's values, and where these begin."""
    end, at = varint(record, 0)
    kinds = []
    while at < min(end, len(record)):
        kind, at = varint(record, at)
        kinds.append(kind)
    return kinds, end


def size_of(kind: int) -> int:
    """Bytes that a value of a serial type takes."""
    return (kind - 12) // 2 if kind >= 12 else 8 if kind == 7 else _INT_SIZES.get(kind, 0)


def _value(kind: int, data: bytes) -> Value:
    if kind in _INT_SIZES:
        return int.from_bytes(data, "big", signed=True)
    if kind in (8, 9):
        return kind - 8
    if kind >= 12:
        return data if kind % 2 == 0 else data.decode(errors="replace")
    return None
