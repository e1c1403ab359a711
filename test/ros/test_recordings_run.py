"""The pipeline in a thread: to its end, paused, cancelled and gone on with, failing. Needs no ROS."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monotakd_ros.errors import SourceError
from monotakd_ros.generation.generate import GenerationResult
from monotakd_ros.generation.verify import verify_set
from monotakd_ros.ros.disk_quota import DiskQuota
from monotakd_ros.ros.recordings_run import RecordingsRun
from monotakd_ros.ros.run_status import RunStatus


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Networks run here."""


def run_of(request, **changes) -> RecordingsRun:
    return RecordingsRun(request, 1, DiskQuota(request.out, lambda: (0.0, 0.0)), **changes)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def end_of(run: RecordingsRun) -> RunStatus:
    until(lambda: run.status().exit_code is not None)
    run.close()
    return run.status()


def test_to_the_end(request_for, drive, make_frame) -> None:
    request = request_for(drive)
    run = run_of(request)
    assert run.status().message == "loading the networks" and run.preview() is None
    run.start()
    end = end_of(run)
    assert (end.level, end.message, end.exit_code, end.share_done) == ("ok", "done: 10 frames", 0, 1.0)
    assert end.values["frames"] == 10 and end.values["images"] == 10 and end.values["segments done"] == 4
    assert verify_set(request.out).problems == []
    shown = run.preview()
    assert shown is not None and set(shown.boxes) >= {"labels", "teacher", "assistant", "truth"}
    np.testing.assert_array_equal(shown.frame.image, make_frame(9).image)
    assert shown.frame.stamp_ns == make_frame(9).stamp_ns
    assert run.preview() is None  # nothing new


def test_a_pause_holds_the_work_and_a_cancelled_run_is_gone_on_with(request_for, drive) -> None:
    request = request_for(drive)
    run = run_of(request)
    run.start()
    until(lambda: run.status().values["images"] >= 4)
    assert "pauses after the image" in run.pause()
    assert run.status().message in ("pauses", "paused")
    until(lambda: run.status().message == "paused")  # the image at hand is done: the thread waits
    assert run.status().values["images"] < 10 and run.status().exit_code is None and not run.cancelled
    run.cancel()
    assert run.cancelled
    end = end_of(run)
    assert (end.level, end.exit_code) == ("warn", 0) and "cancelled" in end.message
    again = run_of(request)
    again.start()
    end = end_of(again)
    assert end.message == "done: 10 frames" and end.values["segments done before"] >= 1


def test_closing_cancels(request_for, drive) -> None:
    run = run_of(request_for(drive))
    run.close()  # never began
    run.start()
    until(lambda: run.status().values["images"] >= 1)
    run.close()
    assert run.status().message.startswith("cancelled")


def test_failures_have_their_reason(request_for, drive, tmp_path: Path) -> None:
    def fails(*_):
        raise SourceError("the disk was pulled out")

    def breaks(*_):
        raise ZeroDivisionError

    def misses(*_):
        return GenerationResult(failed={"000-00001": "topic gone"})

    for work, message in ((fails, "pulled out"), (breaks, "ZeroDivisionError"), (misses, "not finished: topic gone")):
        run = run_of(request_for(drive), work=work)
        run.start()
        end = end_of(run)
        assert (end.level, end.exit_code) == ("error", 1) and message in end.message


def test_the_quota_ends_it(request_for, drive) -> None:
    request = request_for(drive)
    run = RecordingsRun(request, 1, DiskQuota(request.out, lambda: (0.0, 1e9)))
    run.start()
    end = end_of(run)
    assert end.exit_code == 1 and "min_free_gib" in end.message
