"""Pausing, cancelling and the disk's say, by hand-made clocks and folders. Needs no ROS."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from monotakd_ros.errors import OutputError
from monotakd_ros.ros.disk_quota import GIB, DiskQuota
from monotakd_ros.ros.generation_control import Cancelled, GenerationControl, GenerationWatch


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def free(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=int(gib * GIB)))


def test_work_waits_while_it_is_paused() -> None:
    control, steps = GenerationControl(), []

    def work() -> None:
        for step in range(3):
            control.step()
            steps.append(step)

    control.pause()
    assert control.paused and not control.holds
    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: control.holds)
    assert steps == []
    control.resume()
    thread.join(20)
    assert steps == [0, 1, 2] and not control.holds


def test_cancelled_work_ends_even_while_it_is_paused() -> None:
    control, ended = GenerationControl(), []

    def work() -> None:
        try:
            control.step()
        except Cancelled:
            ended.append(True)

    control.pause()
    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: control.holds)
    control.cancel()
    thread.join(20)
    assert ended == [True]
    control.pause()
    assert not control.paused


def test_progress_by_hand(tmp_path: Path) -> None:
    clock = Clock()
    watch = GenerationWatch(GenerationControl(), DiskQuota(tmp_path, lambda: (0.0, 0.0)), clock)
    assert (watch.share_done, watch.left_s) == (0.0, None)
    watch.planning(tmp_path / "drive")
    assert watch.reading == "drive"
    clock.now_s = 50.0
    watch.planned(10)
    assert watch.reading == "" and watch.left_s is None
    clock.now_s = 52.0
    watch.images(0)
    watch.images(4)
    assert (watch.share_done, watch.images_per_s, watch.left_s) == (0.4, 2.0, 3.0)
    watch.planned(0)
    assert watch.share_done == 1.0


def test_a_pause_is_no_work(tmp_path: Path) -> None:
    clock = Clock()
    control = GenerationControl()
    control.step = lambda: setattr(clock, "now_s", clock.now_s + 100.0)  # type: ignore[method-assign]
    watch = GenerationWatch(control, DiskQuota(tmp_path, lambda: (0.0, 0.0)), clock)
    watch.planned(10)
    clock.now_s += 2.0
    watch.images(4)
    clock.now_s += 2.0
    watch.images(4)
    assert watch.images_per_s == 2.0


def test_a_nearly_full_disk_ends_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = GenerationWatch(GenerationControl(), DiskQuota(tmp_path, lambda: (0.0, 2.0)))
    free(monkeypatch, 2.5)
    watch.images(1)
    free(monkeypatch, 1.5)
    with pytest.raises(OutputError, match=r"has 1\.50 GiB free: min_free_gib is 2"):
        watch.images(1)


def test_a_folder_has_its_size(tmp_path: Path) -> None:
    clock, limits = Clock(), [1.0, 0.0]
    quota = DiskQuota(tmp_path / "out", lambda: (limits[0], limits[1]), clock)
    assert quota.used_gib is None
    assert quota.free_gib > 0  # of the folder above, while this one is not there
    assert quota.objection() is None and quota.used_gib == 0.0
    (tmp_path / "out" / "part").mkdir(parents=True)
    (tmp_path / "out" / "part" / "a").write_bytes(bytes(3 * 2**20))
    (tmp_path / "out" / "part" / "link").symlink_to(tmp_path / "out" / "part" / "a")
    (tmp_path / "out" / "round").symlink_to(tmp_path / "out")
    assert quota.objection() is None and quota.used_gib == 0.0
    clock.now_s = 2.0
    assert quota.objection() is None and quota.used_gib == pytest.approx(3 / 1024)
    limits[0] = 2 / 1024
    assert "max_gib is" in (quota.objection() or "")
    limits[0] = 4 / 1024
    assert quota.objection() is None
    (tmp_path / "out" / "part" / "a").unlink()
    assert quota.objection() is None and quota.used_gib == pytest.approx(3 / 1024)
    quota.measure_anew()
    assert quota.objection() is None and quota.used_gib == 0.0


def test_a_folder_without_a_limit_is_never_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = DiskQuota(tmp_path, lambda: (0.0, 0.0))
    monkeypatch.setattr("monotakd_ros.ros.disk_quota._sizes", lambda folder: pytest.fail("measured"))
    assert quota.objection() is None and quota.used_gib is None


def test_only_who_asks_whether_to_write_measures_and_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, measured = Clock(), []
    begun, go_on = threading.Event(), threading.Event()
    quota = DiskQuota(tmp_path, lambda: (1.0, 0.0), clock)

    def sizes(folder: Path) -> list[int]:
        measured.append(threading.current_thread())
        if len(measured) > 1:
            begun.set()
            assert go_on.wait(20)
        return [len(measured) * 2**20]

    monkeypatch.setattr("monotakd_ros.ros.disk_quota._sizes", sizes)
    assert quota.objection() is None
    clock.now_s = 100.0
    assert quota.used_gib == 1 / 1024 and len(measured) == 1  # to look at it measures nothing
    writer = threading.Thread(target=quota.objection)
    writer.start()
    assert begun.wait(20)
    assert quota.objection() is None and quota.used_gib == 1 / 1024  # nor waits
    go_on.set()
    writer.join(20)
    assert quota.used_gib == 2 / 1024 and measured[1:] == [writer]
