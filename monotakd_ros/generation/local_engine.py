"""Segments on the cores of one machine: in this process, or in several that each hold the networks.

A worker that dies (out of memory, killed) takes its segment with it; the segment is given to another one, a few times.
Whoever is told of images may also wait, which holds the work up, or raise, which ends it.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from monotakd_ros.errors import MonotakdError, OutputError, SourceError
from monotakd_ros.generation.runner import Busy, RunnerSettings, SegmentRunner
from monotakd_ros.generation.segments import Segment

logger = logging.getLogger(__name__)

MAX_DEATHS = 3
"""How often workers may die before it is taken for a fault that will not go away."""

_POLL_S = 0.2
"""How often, while workers are busy, it is asked whether to go on."""

_runner: SegmentRunner | None = None
"""Of a worker process; set once when it starts."""

Outcome = tuple[Segment, Busy | MonotakdError]


def local_engine(jobs: int) -> Callable[[RunnerSettings, Sequence[Segment], Callable[[int], None]], Iterator[Outcome]]:
    """The engine of this machine: `jobs` processes, or this one where one is enough."""

    def run(
        settings: RunnerSettings, segments: Sequence[Segment], on_image: Callable[[int], None]
    ) -> Iterator[Outcome]:
        if jobs == 1 or len(segments) == 1:
            return run_here(settings, segments, on_image)
        return run_in_processes(settings, segments, jobs, on_image)

    return run


def run_here(
    settings: RunnerSettings, segments: Iterable[Segment], on_image: Callable[[int], None]
) -> Iterator[Outcome]:
    """Work on the segments in this process; yields each with its times, or with the error of its recording.

    Raises:
        OutputError: the set cannot be written.
    """
    runner = SegmentRunner(settings)
    for segment in segments:
        try:
            yield segment, runner.run(segment, on_image)
        except OutputError:
            raise
        except MonotakdError as error:
            yield segment, error


def run_in_processes(
    settings: RunnerSettings, segments: Iterable[Segment], jobs: int, on_image: Callable[[int], None]
) -> Iterator[Outcome]:
    """As `run_here`, in `jobs` processes; segments come, and their images are told, as they are done.

    In between it tells of 0 images. While that waits, the workers get no further segment; when it raises, they end.

    Raises:
        OutputError: the set cannot be written.
        SourceError: workers keep dying.
    """
    open_segments = {segment.key: segment for segment in segments}
    deaths = 0
    while open_segments:
        try:
            for segment, outcome in _one_pool(settings, list(open_segments.values()), jobs, on_image):
                del open_segments[segment.key]
                on_image(len(segment))
                yield segment, outcome
        except BrokenProcessPool as error:
            deaths += 1
            if deaths >= MAX_DEATHS:
                raise SourceError(
                    f"workers died {deaths} times (killed, or out of memory?) with {len(open_segments)} segments to "
                    "go; what is done is kept: run again with fewer --jobs"
                ) from error
            logger.warning("a worker died; its segment is begun again (%d left)", len(open_segments))


def _one_pool(
    settings: RunnerSettings, segments: list[Segment], jobs: int, on_image: Callable[[int], None]
) -> Iterator[Outcome]:
    context = multiprocessing.get_context("spawn")  # forked processes and torch's threads do not go together
    pool = ProcessPoolExecutor(min(jobs, len(segments)), context, _begin_worker, (settings,))
    coming = iter(segments)
    waiting: dict[Future[Busy], Segment] = {}
    try:
        while True:
            waiting |= {pool.submit(_work, segment): segment for segment in islice(coming, jobs - len(waiting))}
            if not waiting:
                return
            done, _ = wait(waiting, _POLL_S, FIRST_COMPLETED)
            on_image(0)
            for future in done:
                segment = waiting.pop(future)
                yield segment, _outcome(future)
    except BaseException:
        _stop(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _outcome(future: Future[Busy]) -> Busy | MonotakdError:
    try:
        return future.result()
    except (BrokenProcessPool, OutputError):
        raise
    except MonotakdError as error:
        return error


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers now: what they have not finished is begun again by the next run."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()


def _begin_worker(settings: RunnerSettings) -> None:
    global _runner
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that leads
    _runner = SegmentRunner(settings)


def _work(segment: Segment) -> Busy:
    assert _runner is not None, "the worker was begun"
    return _runner.run(segment)
