"""Peak memory of a piece of work, and the made-up frame that networks are measured with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from monotakd_ros.config import Config, InputConfig, StudentConfig
from monotakd_ros.network import peak_memory as module
from monotakd_ros.network.made_up_batch import make_batch
from monotakd_ros.network.peak_memory import peak_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process its peak")
def test_the_peak_is_seen_though_the_memory_is_gone_at_the_end() -> None:
    with peak_memory("cpu") as memory:
        block = torch.ones(2**24)  # 64 MiB
        del block
    assert 60 < memory.peak_mib - memory.before_mib < 100
    with peak_memory("cpu") as memory:
        pass
    assert memory.peak_mib - memory.before_mib < 10


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self, text: str) -> None:
        raise PermissionError

    monkeypatch.setattr(module.Path, "write_text", refuse)
    with peak_memory("cpu") as memory:
        pass
    assert memory.before_mib is memory.peak_mib is None
    assert Path is module.Path


@pytest.mark.parametrize(
    "config", [InputConfig(), InputConfig(width=832, height=256, focal_px=480.0, center_px=(406.0, 115.0))]
)
def test_the_made_up_frame_looks_like_kitti(config: InputConfig) -> None:
    batch = make_batch(Config("made up", student=StudentConfig(input=config)))
    assert batch.images.shape == (1, 3, config.height, config.width)
    points, pixels = batch.points_lidar[0], batch.points_img[0]
    assert 15_000 < len(points) == len(pixels) < 25_000
    assert torch.isfinite(points).all() and points[:, 0].min() > 2 and points[:, :3].norm(dim=1).max() < 81
    assert points[:, 2].min() == pytest.approx(-1.73, abs=0.05)
    cam = points[:, :3] @ batch.cam_T_lidar[0, :3, :3].T + batch.cam_T_lidar[0, :3, 3]
    homogeneous = cam @ batch.img_P_cam[0, :, :3].T
    torch.testing.assert_close(homogeneous[:, :2] / homogeneous[:, 2:], pixels[:, :2], atol=0.01, rtol=0)
    assert pixels[:, 0].max() < config.width and pixels[:, 1].max() < config.height


def test_the_made_up_frame_depends_on_the_seed_only() -> None:
    config = Config("made up")
    first, again, other = (make_batch(config, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images) and torch.equal(first.points_lidar[0], again.points_lidar[0])
    assert not torch.equal(first.images, other.images)
