"""Which frames are kept: rate, motion, novelty, stamps, clouds."""

from __future__ import annotations

import numpy as np
import pytest

from monotakd_ros.errors import ConfigError
from monotakd_ros.generation.selection import FrameSelector
from monotakd_ros.generation.settings import SelectionSettings
from monotakd_ros.geometry.transforms import make_transform, rotation_about_z

GREY = np.full((128, 256, 3), 90, dtype=np.uint8)
HALF = np.where(np.arange(256)[None, :, None] < 128, 40, 140).astype(np.uint8) * np.ones((128, 1, 3), dtype=np.uint8)


def kept(frames, num_points: int = 100, **settings) -> list[int]:
    usual = {"max_rate_hz": 0.0, "min_motion_m": 0.0, "min_novelty": 0.0, "min_points": 50, **settings}
    selector = FrameSelector(SelectionSettings(**usual))
    return [index for index, frame in enumerate(frames) if selector.objection(frame, lambda: num_points) is None]


def standing(make_frame, index: int, **changes):
    return make_frame(index, image=GREY, world_T_lidar=np.eye(4), **changes)


def test_at_most_so_many_a_second(make_frame):
    frames = [make_frame(index) for index in range(11)]  # 10 Hz
    assert kept(frames) == list(range(11))
    assert kept(frames, max_rate_hz=2.0) == [0, 5, 10]
    assert kept(frames, max_rate_hz=10.0) == list(range(11))
    late = [make_frame(index, stamp_ns=make_frame(index).stamp_ns - 20_000_000 * (index == 5)) for index in range(11)]
    assert kept(late, max_rate_hz=2.0) == [0, 5, 10]  # 20 ms early is jitter


def test_motion(make_frame):
    frames = [make_frame(index, image=GREY) for index in range(7)]  # 2 m a frame
    assert kept(frames, min_motion_m=4.0, min_novelty=0.5) == [0, 2, 4, 6]
    turning = [
        make_frame(
            index, image=GREY, world_T_lidar=make_transform(rotation_about_z(np.radians(2 * index)), np.zeros(3))
        )
        for index in range(7)
    ]
    assert kept(turning, min_motion_m=1.0, min_turn_deg=3.9, min_novelty=0.5) == [0, 2, 4, 6]


def test_a_red_light_is_kept_once_until_the_picture_changes(make_frame):
    frames = [standing(make_frame, index) for index in range(6)]
    assert kept(frames, min_motion_m=1.0, min_novelty=0.1) == [0]
    frames[3] = make_frame(3, image=HALF, world_T_lidar=np.eye(4))
    assert kept(frames, min_motion_m=1.0, min_novelty=0.1) == [0, 3, 4]
    brighter = [standing(make_frame, 0), make_frame(1, image=GREY + 50, world_T_lidar=np.eye(4))]
    assert kept(brighter, min_motion_m=1.0, min_novelty=0.1) == [0]  # another exposure is no other scene


def test_without_a_pose_the_picture_decides(make_frame):
    frames = [make_frame(index, image=GREY, world_T_lidar=None) for index in range(3)]
    assert kept(frames, min_motion_m=1.0, min_novelty=0.1) == [0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"points_lidar": None, "points_stamp_ns": None}, "no cloud near enough in time"),
        ({"points_lidar": None, "points_stamp_ns": None, "cam_T_lidar": None}, "no LiDAR pose or no cloud"),
    ],
)
def test_frames_that_cannot_be_labelled(make_frame, changes, reason):
    assert FrameSelector(SelectionSettings()).objection(make_frame(0, **changes), lambda: 0) == reason


def test_too_few_points(make_frame):
    assert (
        FrameSelector(SelectionSettings()).objection(make_frame(0), lambda: 49)
        == "fewer than 50 LiDAR points in the image"
    )


def test_stamps_that_do_not_go_on(make_frame):
    selector = FrameSelector(SelectionSettings(max_rate_hz=0, min_motion_m=0))
    stamps_s = [10.0, 10.1, 10.1, 10.05, 10.2, 3.0, 3.1]  # repeated, out of order, and a clock that was set
    found = [selector.objection(make_frame(0, stamp_ns=int(stamp * 1e9)), lambda: 100) for stamp in stamps_s]
    assert found == [None, None, "stamp repeated", "stamp goes back", None, None, None]


def test_settings_out_of_range():
    with pytest.raises(ConfigError, match="max_rate_hz"):
        SelectionSettings(max_rate_hz=-1)
