"""What the simulator's tests share: Open3D or a visible skip, and one small drive."""

from __future__ import annotations

import pytest

from monotakd_ros.frame import Frame
from monotakd_ros.simulation.drive import DriveSettings, SimulatedDrive


@pytest.fixture(scope="session")
def open3d():
    """Open3D; tests that cast rays skip where it is not installed."""
    return pytest.importorskip("open3d", reason="Open3D casts the simulator's rays")


@pytest.fixture(scope="session")
def small_settings() -> DriveSettings:
    """A drive of three frames with a quarter of KITTI's resolution."""
    return DriveSettings(frames=3, seed=4, rate_hz=0.5, width=320, height=96, focal_px=186.0, edge_samples=0)


@pytest.fixture(scope="session")
def small_frames(open3d, small_settings: DriveSettings) -> list[Frame]:
    """The frames of `small_settings`."""
    return list(SimulatedDrive(small_settings).frames())
