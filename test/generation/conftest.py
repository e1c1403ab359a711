"""What tests of this room share; the tiny networks and the short drive are in `test/conftest.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test of this room."""


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """SHA-256 of every file of a folder."""

    def of(root: Path) -> dict[str, str]:
        files = sorted(item for item in root.rglob("*") if item.is_file())
        return {str(item.relative_to(root)): hashlib.sha256(item.read_bytes()).hexdigest() for item in files}

    return of


class Silent:
    """A watcher that only counts."""

    def __init__(self) -> None:
        self.total = self.seen = 0

    def planning(self, source: Path) -> None:
        pass

    def planned(self, images_to_do: int) -> None:
        self.total = images_to_do

    def images(self, count: int) -> None:
        self.seen += count


@pytest.fixture
def watcher() -> Silent:
    return Silent()
