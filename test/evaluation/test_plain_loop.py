"""The vectorised metric against a loop over single boxes (benchmarks/kitti_ap.py), on random frames."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from monotakd_ros.evaluation.kitti_ap import kitti_ap


@pytest.fixture(scope="module")
def plain(repository: Path):
    pytest.importorskip("shapely")
    spec = importlib.util.spec_from_file_location("plain_kitti_ap", repository / "benchmarks" / "kitti_ap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(6))
def test_every_figure_equals_the_plain_loop(plain, seed: int) -> None:
    truth, results = plain.random_frames(25, seed)
    ours = kitti_ap(truth, results)
    assert any(value for value in ours["loose"]["Car"]["3d"]["R40"])
    assert plain.largest_difference(ours, plain.plain_kitti_ap(truth, results)) < 1e-9
