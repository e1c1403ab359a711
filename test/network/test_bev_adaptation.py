"""The self-calibrated blocks: formula, published sizes, identity, gradients, mixed precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monotakd_ros.network.bev_adaptation import BevAdaptation, SelfCalibratedBlock


def randomize_norms(module: torch.nn.Module) -> None:
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.8, 1.2)


def by_hand(block: SelfCalibratedBlock, x: torch.Tensor) -> torch.Tensor:
    """The block's formula, written out."""

    def norm(x, layer):
        scale = layer.weight / torch.sqrt(layer.running_var + 1e-5)
        return (x - layer.running_mean[:, None, None]) * scale[:, None, None] + layer.bias[:, None, None]

    def conv(x, sequence, index=0):
        layer = sequence[index]
        return norm(F.conv2d(x, layer.weight, layer.bias, padding=1), sequence[index + 1])

    plain = norm(F.conv2d(x, block.conv1_a.weight), block.bn1_a).relu()
    plain = conv(plain, block.k1).relu()
    calibrated = norm(F.conv2d(x, block.conv1_b.weight), block.bn1_b).relu()
    rows, columns = x.shape[2] // 4, x.shape[3] // 4
    pooled = calibrated.unflatten(2, (rows, 4)).unflatten(4, (columns, 4)).mean(dim=(3, 5))
    wide = conv(pooled, block.scconv.k2, 1).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    gate = 1 / (1 + torch.exp(-(calibrated + wide)))
    calibrated = conv(conv(calibrated, block.scconv.k3) * gate, block.scconv.k4).relu()
    merged = norm(F.conv2d(torch.cat([plain, calibrated], 1), block.conv3.weight), block.bn3)
    return (merged + x).relu()


def test_the_formula():
    torch.manual_seed(0)
    adaptation = BevAdaptation(8, 2).eval()
    randomize_norms(adaptation)
    x = torch.randn(2, 8, 12, 16)
    expected = by_hand(adaptation[1], by_hand(adaptation[0], x))
    torch.testing.assert_close(adaptation(x), expected, atol=1e-5, rtol=1e-5)


def test_no_blocks_is_the_identity():
    x = torch.randn(1, 8, 5, 6)
    assert BevAdaptation(8, 0)(x) is x
    assert not list(BevAdaptation(8, 0).parameters())


def test_published_size():
    with torch.device("meta"):
        adaptation = BevAdaptation(128, 4)
    assert sum(parameter.numel() for parameter in adaptation.parameters()) == 726_016


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (47, 35)])
def test_any_map_of_four_cells_or_more(size):
    assert BevAdaptation(6, 1).eval()(torch.zeros(1, 6, *size)).shape == (1, 6, *size)


def test_input_is_left_alone_and_gradients_reach_every_parameter():
    torch.manual_seed(0)
    adaptation, x = BevAdaptation(8, 2), torch.randn(1, 8, 8, 12)
    before = x.clone()
    adaptation(x).square().mean().backward()
    assert torch.equal(x, before)
    assert [name for name, parameter in adaptation.named_parameters() if parameter.grad is None] == []


def test_mixed_precision():
    torch.manual_seed(0)
    adaptation, x = BevAdaptation(8, 2).eval(), torch.randn(1, 8, 8, 12)
    expected = adaptation(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = adaptation(x)
    torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.05)
