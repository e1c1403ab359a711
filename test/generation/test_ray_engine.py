"""A local Ray cluster of two workers, of which one is killed in the middle, makes the same set."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from monotakd_ros.errors import ConfigError
from monotakd_ros.generation.generate import generate
from monotakd_ros.generation.local_engine import run_here
from monotakd_ros.generation.ray_engine import run_on_ray

pytest.importorskip("ray", reason="needs Ray")


def workers() -> list[int]:
    """Process ids of Ray workers that are at work on segments."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in listed if "ray::_work" in line]


def test_a_worker_that_is_killed(request_for, drive, watcher, digests):
    here = request_for(drive, name="here")
    generate(here, run_here, watcher)
    killed = []

    def engine(settings, segments, on_image):
        for outcome in run_on_ray(settings, segments, 2, None, on_image):
            if not killed and workers():
                killed.append(workers()[0])
                os.kill(killed[0], signal.SIGKILL)
            yield outcome

    spread = request_for(drive, name="spread")
    result = generate(spread, engine, watcher)
    assert killed and not result.failed
    assert result.segments_done == 4
    assert digests(spread.out) == digests(here.out)


def test_no_cluster_at_the_address(request_for, drive, watcher):
    def engine(settings, segments, on_image):
        return run_on_ray(settings, segments, 2, "127.0.0.1:1", on_image)

    with pytest.raises(ConfigError, match="no Ray cluster"):
        generate(request_for(drive), engine, watcher)
