"""Stamp and frame of a message from its first bytes, without decoding the rest: an image's pixels are not touched.

Source: the CDR encoding (OMG DDS-XTypes, 4 bytes of encapsulation, then the fields in order), and ROS 1's
serialization (no encapsulation; a header begins with a sequence number).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAX_NAME = 1024


class MessageHead(NamedTuple):
    """A std_msgs/Header at the beginning of a message; `size` bytes long."""

    stamp_ns: int
    frame_id: str
    size: int


def read_head(data: bytes, is_ros1: bool) -> MessageHead | None:
    """The header at the start of a message; None where the bytes hold none."""
    order = "<" if is_ros1 or bytes(data[1:2]) == b"\x01" else ">"
    try:
        seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", data, 4)
    except struct.error:
        return None
    end = 16 + length
    if length > MAX_NAME or end > len(data) or nanoseconds >= 1_000_000_000:
        return None
    name = bytes(data[16:end]).rstrip(b"\0").decode("utf-8", errors="replace")
    return MessageHead(seconds * 1_000_000_000 + nanoseconds, name, end)
