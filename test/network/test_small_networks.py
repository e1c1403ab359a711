"""The three small networks of config/monotakd_small.yaml: one BEV map, and gradients to every parameter."""

from __future__ import annotations

import pytest
import torch

from monotakd_ros.config import Config
from monotakd_ros.config_file import load_config
from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.checkpoint import KINDS, build_network
from monotakd_ros.network.made_up_batch import make_batch


@pytest.fixture(scope="module")
def config(repository) -> Config:
    return load_config(repository / "config" / "monotakd_small.yaml")


@pytest.fixture(scope="module")
def batch(config) -> FrameBatch:
    return make_batch(config)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_teach_every_parameter(kind, config, batch):
    torch.manual_seed(0)
    network = build_network(kind, config).train()
    output = network(batch)
    (
        output.cls_logits.square().mean() + output.box_codes.square().mean() + output.dir_logits.square().mean()
    ).backward()
    assert [name for name, item in network.named_parameters() if item.grad is None or not item.grad.any()] == []
    assert all(item.grad.isfinite().all() for item in network.parameters())


def test_maps_compare_cell_by_cell(config, batch):
    outputs = []
    for kind in KINDS:
        with torch.inference_mode():
            outputs.append(build_network(kind, config).eval()(batch))
    for name in ("bev", "cls_logits", "box_codes", "dir_logits"):
        assert len({tuple(getattr(output, name).shape) for output in outputs}) == 1, name
    assert outputs[0].residual_bev.shape == outputs[2].bev.shape


def test_anchors_are_the_same(config):
    anchors = [build_network(kind, config).head.anchors for kind in KINDS]
    assert all(torch.equal(other, anchors[0]) for other in anchors[1:])


def test_they_are_small(config):
    sizes = [sum(item.numel() for item in build_network(kind, config).parameters()) for kind in KINDS]
    assert max(sizes) < 5_000_000
