"""LiDAR encoder: BEV layout, few and no sites, and spconv on a real cloud; recorded outputs: test_parity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from monotakd_ros.config import LidarEncoderConfig, TeacherConfig
from monotakd_ros.network.lidar_encoder import LidarEncoder
from monotakd_ros.network.rulebook import submanifold_rulebook
from monotakd_ros.network.sparse_conv import SparseConv3d, SubmanifoldConv3d
from monotakd_ros.network.sparse_tensor import SparseTensor, linear_keys
from monotakd_ros.network.voxelization import voxelize

SMALL = LidarEncoderConfig(channels=(4, 6, 8), blocks=1, out_channels=5)
SMALL_SHAPE = (25, 16, 12)


pytestmark = pytest.mark.usefixtures("one_thread")


def random_voxels(count: int, batch: int = 2, shape=SMALL_SHAPE, seed: int = 0) -> SparseTensor:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(batch * int(np.prod(shape)), generator=generator)[:count].sort().values
    indices = torch.from_numpy(np.stack(np.unravel_index(cells.numpy(), (batch, *shape)), axis=1))
    return SparseTensor(torch.randn(count, 4, generator=generator), indices, shape, batch)


def test_map_layout():
    """Channel c * heights + z; cells without a site exactly 0 although the norm shifts every site."""
    torch.manual_seed(0)
    encoder = LidarEncoder(SMALL, 4).eval()
    for norm in (module for module in encoder.modules() if isinstance(module, nn.BatchNorm1d)):
        nn.init.constant_(norm.bias, 0.3)
    voxels = random_voxels(40)
    captured = []
    encoder.conv_out.register_forward_hook(lambda module, inputs, output: captured.append(output))
    bev = encoder(voxels)
    (sites,) = captured
    heights = sites.spatial_shape[0]
    assert heights == 2 and bev.shape == (2, 5 * heights, 4, 3) and bev.dtype == torch.float32
    expected = torch.zeros_like(bev)
    for (frame, z, y, x), feature in zip(sites.indices.tolist(), sites.features):
        expected[frame, z::heights, y, x] = feature
    assert torch.equal(bev, expected)
    assert (bev == 0).any()


def test_stages_and_their_padding():
    encoder = LidarEncoder(LidarEncoderConfig(), 4)
    strided = [module for module in encoder.modules() if isinstance(module, SparseConv3d)]
    assert [conv.padding for conv in strided] == [(1, 1, 1), (1, 1, 1), (0, 1, 1), (0, 0, 0)]
    assert sum(p.numel() for p in encoder.parameters()) == 1_219_296
    assert LidarEncoder(LidarEncoderConfig(blocks=0), 4)(random_voxels(5, 1, (41, 16, 16))).shape == (1, 128, 2, 2)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_sites(count, training):
    encoder = LidarEncoder(SMALL, 4).train(training)
    indices = torch.tensor([[0, 12, 8, 6], [1, 12, 8, 6]])[:count]
    bev = encoder(SparseTensor(torch.randn(count, 4), indices, SMALL_SHAPE, 2))
    assert bev.shape == (2, 10, 4, 3) and torch.isfinite(bev).all()
    assert count > 0 or not bev.any()
    bev.sum().backward()


def test_frames_of_a_batch_do_not_mix():
    encoder = LidarEncoder(SMALL, 4).eval()
    both = random_voxels(80)
    bev = encoder(both)
    for frame in range(2):
        own = both.indices[:, 0] == frame
        indices = both.indices[own] * torch.tensor([0, 1, 1, 1])
        single = encoder(SparseTensor(both.features[own], indices, SMALL_SHAPE, 1))
        torch.testing.assert_close(bev[frame : frame + 1], single, atol=1e-6, rtol=1e-5)


def test_gradient_reaches_every_parameter():
    encoder = LidarEncoder(SMALL, 4).train()
    bev = encoder(random_voxels(150))
    (bev * torch.randn_like(bev)).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def spconv_encoder(encoder: LidarEncoder):
    """The same encoder on spconv with the same weights; returns its forward, (voxels) -> BEV map."""
    spconv = pytest.importorskip("spconv.pytorch")
    state = dict(encoder.named_parameters())

    def conv(x, name: str, module, key: str | None = None):
        in_channels, out_channels = module.weight.shape[-1], len(module.weight)
        if key is None:
            layer = spconv.SparseConv3d(
                in_channels, out_channels, module.kernel, module.stride, module.padding, bias=False
            )
        else:
            layer = spconv.SubMConv3d(in_channels, out_channels, 3, padding=1, bias=False, indice_key=key)
        layer.weight = state[f"{name}.weight"]
        out = layer(x)
        return out if module.bias is None else out.replace_feature(out.features + state[f"{name}.bias"])

    def norm(x, module, shortcut=None):
        values = F.batch_norm(x.features, None, None, module.weight, module.bias, True, 0.0, module.eps)
        return x.replace_feature(F.relu(values if shortcut is None else values + shortcut))

    def blocks(x, prefix: str, modules, start: int, key: str):
        for index, block in enumerate(modules, start=start):
            out = norm(conv(x, f"{prefix}.{index}.conv1", block.conv1, key), block.bn1)
            out = conv(out, f"{prefix}.{index}.conv2", block.conv2, key)
            x = norm(out, block.bn2, x.features)
        return x

    def forward(voxels: SparseTensor) -> torch.Tensor:
        x = spconv.SparseConvTensor(voxels.features, voxels.indices.int(), voxels.spatial_shape, voxels.batch_size)
        x = norm(conv(x, "conv_input.0", encoder.conv_input[0], "1"), encoder.conv_input[1])
        x = blocks(x, "conv1", encoder.conv1, 0, "1")
        for number in range(2, encoder.num_stages + 1):
            (halve, batch_norm), *others = getattr(encoder, f"conv{number}")
            x = norm(conv(x, f"conv{number}.0.0", halve), batch_norm)
            x = blocks(x, f"conv{number}", others, 1, str(number))
        x = norm(conv(x, "conv_out.0", encoder.conv_out[0]), encoder.conv_out[1])
        return x.dense().flatten(1, 2)

    return forward


@pytest.fixture
def real_voxels(data_dir, monkeypatch) -> SparseTensor:
    """A KITTI cloud, the view ahead, for a comparison with spconv."""
    pytest.importorskip("spconv.pytorch")
    from spconv.pytorch import ops

    monkeypatch.setattr(ops, "get_current_stream", lambda: 0)  # its backward asks for a CUDA stream on a CPU too
    points = np.fromfile(data_dir / "kitti" / "training" / "velodyne" / "000003.bin", np.float32).reshape(-1, 4)
    points = torch.from_numpy(points[np.abs(points[:, 1]) < 0.8 * points[:, 0]])
    config = TeacherConfig()
    voxels = voxelize((points,), config.grid.build(), config.max_points_per_voxel, config.max_voxels)
    assert len(voxels.indices) > 10_000
    return voxels


def both_ways(forwards, features: torch.Tensor, parameters):
    """Per forward: its output, and the gradients of a random product of it, features first."""
    results = []
    for forward in forwards:
        leaf = features.clone().requires_grad_()
        out = forward(leaf)
        cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
        results.append((out.detach(), torch.autograd.grad(out, [leaf, *parameters], cotangent)))
    return results


def nearest(voxels: SparseTensor, cells: int) -> SparseTensor:
    """The voxels at most so many cells ahead."""
    kept = voxels.indices[:, 3] < cells
    return SparseTensor(voxels.features[kept], voxels.indices[kept], voxels.spatial_shape, voxels.batch_size)


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_real_cloud_equals_spconv(real_voxels, dtype):
    """The paper's encoder with batch statistics.

    In float32 a few of the millions of ReLU inputs near 0 fall on either side, which the gradient shows: it is compared
    in float64, and layer by layer below.
    """
    torch.manual_seed(0)
    encoder = LidarEncoder(LidarEncoderConfig(), 4).train().to(dtype)
    voxels = real_voxels if dtype == torch.float32 else nearest(real_voxels, 200)
    parameters = dict(encoder.named_parameters())
    runs = (encoder, spconv_encoder(encoder))
    forwards = [lambda leaf, run=run: run(voxels.with_features(leaf)) for run in runs]
    results = both_ways(forwards, voxels.features.to(dtype), parameters.values())
    (ours, our_gradients), (theirs, their_gradients) = results
    assert relative_error(ours, theirs) < (1e-4 if dtype == torch.float32 else 1e-12)
    if dtype == torch.float64:
        largest = max(gradient.abs().max() for gradient in their_gradients)
        for name, mine, other in zip(["features", *parameters], our_gradients, their_gradients):
            # A bias before a norm has no gradient but rounding.
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12 * float(largest), msg=name)


@pytest.mark.parametrize("kind", ["submanifold", "strided"])
def test_layer_on_a_real_cloud_equals_spconv(real_voxels, kind):
    spconv = pytest.importorskip("spconv.pytorch")
    torch.manual_seed(0)
    features = torch.randn(len(real_voxels.indices), 16)
    geometry = ((3, 3, 3), (2, 2, 2), (0, 1, 1))
    if kind == "submanifold":
        rulebook = submanifold_rulebook(real_voxels)
        conv, oracle = SubmanifoldConv3d(16, 32, bias=False), spconv.SubMConv3d(16, 32, 3, padding=1, bias=False)
    else:
        rulebook = None
        conv, oracle = SparseConv3d(16, 32, *geometry), spconv.SparseConv3d(16, 32, *geometry, bias=False)
    oracle.weight = conv.weight

    def ours(leaf: torch.Tensor) -> torch.Tensor:
        x = real_voxels.with_features(leaf)
        return (conv(x) if rulebook is None else conv(x, rulebook)).features

    def theirs(leaf: torch.Tensor) -> torch.Tensor:
        x = spconv.SparseConvTensor(leaf, real_voxels.indices.int(), real_voxels.spatial_shape, 1)
        out = oracle(x)
        return out.features[linear_keys(out.indices.long(), tuple(out.spatial_shape)).argsort()]

    (out, gradients), (expected, expected_gradients) = both_ways((ours, theirs), features, [conv.weight])
    assert relative_error(out, expected) < 1e-5
    for mine, other in zip(gradients, expected_gradients):
        assert relative_error(mine, other) < 1e-5
