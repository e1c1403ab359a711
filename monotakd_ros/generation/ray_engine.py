"""Segments on a Ray cluster: each is a task, retried when its worker or machine dies. An extra: `pip install ray`.

Every machine must see the recordings, the weights and the set under the same paths, and have this package installed.
Results are the same as on one machine.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from monotakd_ros.errors import ConfigError, MissingDependencyError, MonotakdError, OutputError, SourceError
from monotakd_ros.generation.local_engine import Outcome
from monotakd_ros.generation.runner import Busy, RunnerSettings, SegmentRunner
from monotakd_ros.generation.segments import Segment

MAX_RETRIES = 3
"""How often a segment is begun again after its worker died."""

ANSWER_S = 5.0

_runners: dict[RunnerSettings, SegmentRunner] = {}
"""Of a worker process: networks are loaded once and serve all its segments."""


def run_on_ray(
    settings: RunnerSettings,
    segments: Sequence[Segment],
    jobs: int,
    address: str | None,
    on_image: Callable[[int], None],
) -> Iterator[Outcome]:
    """Work on the segments on a cluster; they come, and their images are told, as they are done.

    Args:
        settings: for every worker.
        segments: to work on.
        jobs: workers of a cluster that is started here for the time being; at another address its own size counts.
        address: of a running cluster ("auto", "ray://host:10001"); None starts one on this machine.
        on_image: called with the number of images of each segment that is done.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: there is no cluster at the address.
        OutputError: the set cannot be written.
    """
    ray = import_ray()
    _connect(ray, jobs, address)
    try:
        work = ray.remote(_work).options(
            max_retries=MAX_RETRIES, num_cpus=1, num_gpus=0 if settings.device == "cpu" else 1
        )
        shared = ray.put(settings)
        waiting: dict[Any, Segment] = {work.remote(shared, segment): segment for segment in segments}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            segment = waiting.pop(done)
            outcome = _outcome(ray, done, segment)
            if isinstance(outcome, Busy):
                on_image(len(segment))
            yield segment, outcome
    finally:
        ray.shutdown()


def import_ray() -> Any:
    """The `ray` module.

    Raises:
        MissingDependencyError: not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "--engine ray needs Ray, which is not installed here: `pip install ray` (or 'monotakd_ros[ray]')"
        ) from error
    return ray


def _connect(ray: Any, jobs: int, address: str | None) -> None:
    usual = {"log_to_driver": False, "configure_logging": False}
    if address is None:
        ray.init(address="local", num_cpus=jobs, include_dashboard=False, **usual)
        return
    try:
        _require_answer(address)
        ray.init(address=address, **usual)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--address {address}: no Ray cluster answers there: {error}") from error


def _require_answer(address: str) -> None:
    """Knock first: Ray itself would try for minutes.

    Raises:
        OSError: nothing listens at the address.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()


def _outcome(ray: Any, done: Any, segment: Segment) -> Busy | MonotakdError:
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, MonotakdError) and not isinstance(cause, OutputError):
            return cause
        raise cause or error from error
    except ray.exceptions.RayError as error:
        return SourceError(f"segment {segment.key}: its worker died more than {MAX_RETRIES} times: {error}")


def _work(settings: RunnerSettings, segment: Segment) -> Busy:
    if settings not in _runners:
        _runners.clear()
        _runners[settings] = SegmentRunner(settings)
    return _runners[settings].run(segment)
