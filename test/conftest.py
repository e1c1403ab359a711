"""What tests of several rooms share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]

settings.register_profile("no_deadline", deadline=None)  # a loaded machine is no failure
settings.load_profile("no_deadline")


@pytest.fixture(scope="session", autouse=True)
def heed_ctrl_c() -> None:
    """Tests of Ctrl-C hold also where SIGINT was ignored at the start, as in a shell's background jobs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def one_thread():
    """Small operations, which several threads on a busy machine slow down; and spconv's kernels race with them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with real recordings (see docs/conventions.md); tests that need it skip visibly where it is absent."""
    folder = Path(os.environ.get("MONOTAKD_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder} (set MONOTAKD_DATA to its folder)")
    return folder
