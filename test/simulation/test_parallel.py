from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np

from monotakd_ros.frame import Frame
from monotakd_ros.simulation.drive import DriveSettings
from monotakd_ros.simulation.parallel import FRAMES_PER_JOB, MAX_JOBS, default_jobs, rendered_frames


def test_processes_do_not_change_a_bit(open3d, small_frames: list[Frame], small_settings: DriveSettings):
    rendered = list(rendered_frames(small_settings, jobs=2))
    assert [frame.name for frame in rendered] == [frame.name for frame in small_frames]
    for frame, alone in zip(rendered, small_frames):
        np.testing.assert_array_equal(frame.image, alone.image)
        np.testing.assert_array_equal(frame.points_lidar, alone.points_lidar)
        np.testing.assert_array_equal(frame.labels.boxes_lidar, alone.labels.boxes_lidar)
        np.testing.assert_array_equal(frame.world_T_lidar, alone.world_T_lidar)


def test_closing_early_ends_the_processes(open3d, small_frames: list[Frame], small_settings: DriveSettings):
    with closing(rendered_frames(replace(small_settings, frames=1000), jobs=2)) as frames:
        np.testing.assert_array_equal(next(frames).image.shape, small_frames[0].image.shape)


def test_jobs_pay_for_their_start(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert default_jobs(1) == default_jobs(2 * FRAMES_PER_JOB - 1) == 1
    assert default_jobs(2 * FRAMES_PER_JOB) == 2
    assert default_jobs(10_000) == MAX_JOBS
