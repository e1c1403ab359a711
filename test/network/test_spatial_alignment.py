"""The Spatial Alignment Module: wiring, published size, batches of one, gradients, mixed precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monotakd_ros.network.norm import PooledBatchNorm2d
from monotakd_ros.network.spatial_alignment import SpatialAlignmentModule


@pytest.fixture
def alignment() -> SpatialAlignmentModule:
    torch.manual_seed(0)
    module = SpatialAlignmentModule(6)
    torch.nn.init.normal_(module.shift.offsets.weight, std=0.1)
    return module.eval()


def test_wiring(alignment):
    """The gate weighs the input, and the deformable convolution runs twice with the same weights."""
    x = torch.randn(2, 6, 9, 14)
    context = alignment.context(x).mean(dim=(2, 3))
    first, second, third = (alignment.gate[index].weight for index in (0, 2, 4))
    gate = torch.sigmoid(((context @ first.T).relu() @ second.T).relu() @ third.T)
    merged = x * gate[:, :, None, None] + alignment.shift(alignment.shift(x))
    hidden = F.conv2d(merged, alignment.merge[0].weight, padding=1).relu()
    expected = F.conv2d(hidden, alignment.merge[2].weight, padding=1).relu()
    torch.testing.assert_close(alignment(x), expected, atol=1e-5, rtol=1e-5)


def test_the_context_of_an_even_map_is_even(alignment):
    """Without edges in view, three convolutions and the mean of a constant map give one value everywhere."""
    x = torch.ones(1, 6, 40, 41)
    context = alignment.context(x)[..., 13:-13, 13:-13]
    torch.testing.assert_close(context, context[..., :1, :1].expand_as(context))


def test_published_size():
    with torch.device("meta"):
        module = SpatialAlignmentModule(128)
    assert sum(parameter.numel() for parameter in module.parameters()) == 1_004_928
    shapes = {tuple(parameter.shape) for parameter in module.shift.parameters()}
    assert shapes == {(18, 128, 3, 3), (128, 128, 3, 3)}


def test_gradients_reach_every_parameter_also_in_a_batch_of_one(alignment):
    alignment.train()(torch.randn(1, 6, 9, 14)).square().mean().backward()
    assert [name for name, parameter in alignment.named_parameters() if parameter.grad is None] == []


def test_batches_change_the_statistics_of_the_whole_map(alignment):
    norm = alignment.context.whole[2]
    before = norm.running_mean.clone()
    alignment.train()(torch.randn(1, 6, 9, 14))
    assert torch.equal(norm.running_mean, before)
    alignment(torch.randn(2, 6, 9, 14))
    assert not torch.equal(norm.running_mean, before)


def test_pooled_norm_of_one_value_uses_the_running_statistics():
    norm = PooledBatchNorm2d(3).train()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    norm.running_var.fill_(4.0 - norm.eps)
    one = torch.tensor([3.0, 2.0, -1.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(norm(one).flatten(), torch.tensor([1.0, 0.0, -2.0]))
    pair = torch.cat([one, one + 2])
    torch.testing.assert_close(
        norm(pair), torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1), atol=1e-4, rtol=0
    )


def test_mixed_precision(alignment):
    x = torch.randn(1, 6, 9, 14)
    expected = alignment(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = alignment(x)
    torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.05)
