"""Telling arrays from others by their content, for caches that are named by what they were made of."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes | memoryview, /) -> object: ...


def add_array(digest: Digest, name: str, array: np.ndarray) -> None:
    """Let a digest depend on an array's name, type, shape and values, whatever its layout in memory."""
    digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
    digest.update(np.ascontiguousarray(array).data)
