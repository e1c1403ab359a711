"""Deformable convolution: hand numbers, F.conv2d, finite differences, and torchvision's where that is installed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monotakd_ros.network.deformable_conv import DeformableConv2d, deform_conv2d

SETTINGS = [
    {"stride": 1, "padding": 1, "dilation": 1},
    {"stride": 2, "padding": 0, "dilation": 1},
    {"stride": 1, "padding": 3, "dilation": 2},
]


def make_case(kernel=(3, 3), stride=1, padding=1, dilation=1, spread=2.0, dtype=torch.float32):
    """Input, offsets and weight of seed 0; offsets reach beyond the map."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 5, 9, 11, dtype=dtype), torch.randn(4, 5, *kernel, dtype=dtype)
    size = F.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation).shape[2:]
    offset = spread * torch.randn(2, 2 * kernel[0] * kernel[1], *size, dtype=dtype)
    return x, offset, weight


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (2, 3)])
def test_without_offsets_it_is_a_convolution(settings, kernel):
    x, offset, weight = make_case(kernel, **settings, spread=0.0)
    expected = F.conv2d(x, weight, **settings)
    torch.testing.assert_close(deform_conv2d(x, offset, weight, **settings), expected, atol=1e-5, rtol=1e-5)


def test_whole_offsets_move_the_map():
    x, offset, weight = make_case(spread=0.0)
    offset[:, 0::2], offset[:, 1::2] = 1.0, -2.0  # every tap reads one row below, two columns to the left
    moved = F.pad(x, (2, -2, -1, 1))
    inner = (slice(None), slice(None), slice(1, -2), slice(3, -1))  # there the padding differs from the map's edge
    expected = F.conv2d(moved, weight, padding=1)
    torch.testing.assert_close(deform_conv2d(x, offset, weight, padding=1)[inner], expected[inner], atol=1e-5, rtol=0)


def test_half_a_cell_is_the_mean_and_outside_is_zero():
    x = torch.tensor([[1.0, 3.0, 9.0]])[None, None]  # one row
    weight = torch.ones(1, 1, 1, 1)
    offset = torch.zeros(1, 2, 1, 3)
    offset[0, 1] = 0.5
    assert deform_conv2d(x, offset, weight).flatten().tolist() == [2.0, 6.0, 4.5]
    offset[0, 0] = -0.75  # a quarter of the row is left, three quarters are outside
    assert deform_conv2d(x, offset, weight).flatten().tolist() == [0.5, 1.5, 1.125]
    offset[0, 0] = 1e9
    assert deform_conv2d(x, offset, weight).flatten().tolist() == [0.0, 0.0, 0.0]


def test_every_tap_has_its_own_offset_row_first():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    weight = torch.tensor([1.0, 100.0]).view(1, 1, 1, 2)
    offset = torch.zeros(1, 4, 3, 3)
    offset[:, 0], offset[:, 3] = 1.0, 1.0  # first tap: one row down; second tap: one column right
    out = deform_conv2d(x, offset, weight)
    assert out[0, 0, 0].tolist() == [4 + 100 * 2, 5 + 100 * 3, 6 + 0]


def test_gradients_by_finite_differences():
    torch.manual_seed(0)
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    # Away from whole cells, where the bilinear value has a kink.
    whole = torch.randint(-2, 3, (2, 18, 4, 3))
    offset = (whole + torch.rand(2, 18, 4, 3, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *inputs: deform_conv2d(*inputs, padding=1), (x, offset, weight))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0])
def test_equals_torchvision(settings, spread):
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is the oracle here")
    inputs = [tensor.requires_grad_() for tensor in make_case(**settings, spread=spread)]
    got, expected = deform_conv2d(*inputs, **settings), ops.deform_conv2d(*inputs, **settings)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    direction = torch.randn_like(got)
    for own, theirs in zip(
        torch.autograd.grad(got, inputs, direction), torch.autograd.grad(expected, inputs, direction)
    ):
        torch.testing.assert_close(own, theirs, atol=1e-5, rtol=1e-5)


def test_a_nan_offset_is_not_hidden():
    x, offset, weight = make_case()
    offset[0, 3, 2, 2] = float("nan")
    bad = deform_conv2d(x, offset, weight, padding=1).isnan()
    assert bad[0, :, 2, 2].all() and bad.sum() == 4


def test_no_frames():
    x, offset, weight = make_case()
    assert deform_conv2d(x[:0], offset[:0], weight, padding=1).shape == (0, 4, 9, 11)


def test_offsets_of_another_size_are_refused():
    x, offset, weight = make_case()
    with pytest.raises(AssertionError, match="expected offsets"):
        deform_conv2d(x, offset[:, :2], weight, padding=1)


def test_the_layer_starts_as_a_convolution_and_learns_offsets():
    torch.manual_seed(0)
    layer, x = DeformableConv2d(6), torch.randn(2, 6, 7, 8)
    out = layer(x)
    torch.testing.assert_close(out, F.conv2d(x, layer.weight, padding=1), atol=1e-5, rtol=1e-5)
    out.square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


def test_mixed_precision():
    torch.manual_seed(0)
    layer, x = DeformableConv2d(6), torch.randn(2, 6, 7, 8)
    torch.nn.init.normal_(layer.offsets.weight, std=0.1)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = layer(x)
    torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.05)
    assert deform_conv2d(x.bfloat16(), layer.offsets(x), layer.weight, padding=1).dtype == torch.bfloat16
