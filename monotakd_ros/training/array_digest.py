"""Telling arrays and frames from others by content: for caches named by what they were made of, and to find copies."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

from monotakd_ros.data.preprocess import PreparedFrame

_SEEN_FIELDS = ("image", "valid_px", "img_P_cam", "cam_T_lidar", "points_img", "points_lidar")


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes | memoryview, /) -> object: ...


def add_array(digest: Digest, name: str, array: np.ndarray) -> None:
    """Let a digest depend on an array's name, type, shape and values, whatever its layout in memory."""
    digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
    digest.update(np.ascontiguousarray(array).data)


def frame_digest(frame: PreparedFrame) -> str:
    """32 hex digits over everything that networks see of a frame: its image, cloud and calibration, not its labels."""
    digest = hashlib.blake2b(digest_size=16)
    for name in _SEEN_FIELDS:
        add_array(digest, name, getattr(frame, name))
    return digest.hexdigest()
