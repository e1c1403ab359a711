"""On a GPU the networks give what they give on the CPU. Skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from monotakd_ros.config import Config
from monotakd_ros.config_file import load_config
from monotakd_ros.network.checkpoint import KINDS, build_network
from monotakd_ros.network.deformable_conv import deform_conv2d
from monotakd_ros.network.made_up_batch import make_batch
from monotakd_ros.network.precision import autocast
from monotakd_ros.network.rulebook import submanifold_rulebook
from monotakd_ros.network.sparse_conv import SparseConv3d, SubmanifoldConv3d
from monotakd_ros.network.sparse_tensor import SparseTensor
from monotakd_ros.network.voxelization import voxelize

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
TOLERANCE = {"off": 1e-3, "bf16": 0.15, "fp16": 0.03}
"""Of the class logits; TF32 is off by default for products and on for convolutions."""


@pytest.fixture(scope="module")
def config(repository) -> Config:
    return load_config(repository / "config" / "monotakd_small.yaml")


@pytest.mark.parametrize("amp", TOLERANCE)
@pytest.mark.parametrize("kind", KINDS)
def test_networks(kind, amp, config):
    torch.manual_seed(0)
    network = build_network(kind, config).eval()
    batch = make_batch(config)
    with torch.inference_mode():
        expected = network(batch)
        network = network.cuda()
        with autocast(amp, torch.device("cuda")):
            output = network(batch.to("cuda"))
        network.decode(output)
    torch.testing.assert_close(output.cls_logits.float().cpu(), expected.cls_logits, atol=TOLERANCE[amp], rtol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_training_step(kind, config):
    network = build_network(kind, config).cuda().train()
    output = network(make_batch(config, "cuda"))
    (
        output.cls_logits.square().mean() + output.box_codes.square().mean() + output.dir_logits.square().mean()
    ).backward()
    assert all(item.grad is not None and item.grad.isfinite().all() for item in network.parameters())


def test_voxels(config):
    cloud = make_batch(config).points_lidar[0]
    grid = config.teacher.grid.build()
    on_cpu, on_cuda = (voxelize((points,), grid, 5, 40000) for points in (cloud, cloud.cuda()))
    assert torch.equal(on_cuda.indices.cpu(), on_cpu.indices)
    torch.testing.assert_close(on_cuda.features.cpu(), on_cpu.features)


def test_sparse_convolutions():
    torch.manual_seed(0)
    indices = torch.nonzero(torch.rand(2, 6, 7, 8) < 0.3)
    features = torch.randn(len(indices), 5)
    layers = SubmanifoldConv3d(5, 6), SparseConv3d(6, 7, (3, 3, 3), (2, 2, 2), (1, 1, 1))
    results = []
    for device in ("cpu", "cuda"):
        leaf = features.to(device).detach().requires_grad_()
        x = SparseTensor(leaf, indices.to(device), (6, 7, 8), 2)
        first, second = (layer.to(device) for layer in layers)
        out = second(first(x, submanifold_rulebook(x))).dense()
        results.append([item.cpu() for item in (out, *torch.autograd.grad(out.square().sum(), [leaf, first.weight]))])
    for ours, expected in zip(results[1], results[0]):
        torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)


def test_deformable_convolution():
    generator = torch.Generator().manual_seed(0)
    x, offset, weight = (
        torch.randn(*size, generator=generator) for size in ((2, 4, 9, 8), (2, 18, 9, 8), (5, 4, 3, 3))
    )
    results = []
    for device in ("cpu", "cuda"):
        leaves = [item.to(device).detach().requires_grad_() for item in (x, offset, weight)]
        out = deform_conv2d(*leaves, padding=1)
        results.append([item.cpu() for item in (out, *torch.autograd.grad(out.square().sum(), leaves))])
    for ours, expected in zip(results[1], results[0]):
        torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)
