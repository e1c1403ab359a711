"""One drive rendered by several processes: a frame depends on the settings and its number only."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

from monotakd_ros.allocator import keep_freed_memory
from monotakd_ros.errors import SourceError
from monotakd_ros.frame import Frame
from monotakd_ros.simulation.drive import DriveSettings, SimulatedDrive

MAX_JOBS = 8
FRAMES_PER_JOB = 10
"""A process takes about 3 s to start: fewer frames than this are not worth one."""

_drive: SimulatedDrive | None = None
"""The drive of a worker process."""


def default_jobs(frames: int) -> int:
    """How many processes pay for a drive of so many frames on this machine."""
    return max(1, min(os.cpu_count() or 1, MAX_JOBS, frames // FRAMES_PER_JOB))


def rendered_frames(settings: DriveSettings, jobs: int) -> Iterator[Frame]:
    """The frames of `SimulatedDrive(settings)` in time order, the same bit for bit, rendered by `jobs` processes.

    At most three frames per process are held in memory. Closing the iterator ends the processes.

    Raises:
        MissingDependencyError: no Open3D.
        SourceError: a process was killed.
    """
    if jobs <= 1:
        yield from SimulatedDrive(settings).frames()
        return
    with _single_threaded_libraries():
        pool = ProcessPoolExecutor(jobs, get_context("spawn"), _open_drive, (settings,))
        pending: deque[Future[Frame]] = deque()
        try:
            for index in range(settings.frames):
                pending.append(pool.submit(_render, index))
                if len(pending) > 2 * jobs:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise SourceError("a rendering process was killed (out of memory?); fewer processes: --jobs 1") from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _single_threaded_libraries() -> Iterator[None]:
    """Processes started meanwhile use one OpenMP thread each; they would only wait for each other."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = before or "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]


def _open_drive(settings: DriveSettings) -> None:
    global _drive
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    keep_freed_memory()
    _drive = SimulatedDrive(settings)


def _render(index: int) -> Frame:
    assert _drive is not None, "the initializer opened it"
    return _drive.frame(index)
