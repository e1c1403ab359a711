"""The Feature Fusion Module: the sum inside, norms of its own or the published shared one, size, training and use."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monotakd_ros.network.feature_fusion import FeatureFusionModule


@pytest.mark.parametrize("shared_norm", [False, True])
def test_formula_with_a_norm_of_its_own_and_with_the_shared_one(shared_norm):
    torch.manual_seed(0)
    fusion = FeatureFusionModule(4, shared_norm).eval()
    last_norm = fusion.norm if shared_norm else fusion.reduce_norm
    fusion.norm.running_mean.normal_()
    last_norm.weight.data.uniform_(0.5, 1.5)
    visual, residual = torch.randn(2, 2, 4, 6, 7)
    x = F.conv2d(visual + residual, fusion.mix.weight, fusion.mix.bias, padding=1)
    x = fusion.expand_norm(F.conv2d(fusion.norm(x).relu(), fusion.expand.weight, fusion.expand.bias)).relu()
    expected = last_norm(F.conv2d(x, fusion.reduce.weight, fusion.reduce.bias, padding=1)).relu()
    torch.testing.assert_close(fusion(visual, residual), expected, atol=1e-5, rtol=1e-5)


def test_published_size():
    with torch.device("meta"):
        fusion = FeatureFusionModule(128, shared_norm=True)
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 476_416


def test_the_shared_norm_counts_both_convolutions():
    fusion = FeatureFusionModule(4, shared_norm=True).train()
    fusion(torch.randn(1, 4, 6, 7), torch.randn(1, 4, 6, 7))
    assert (fusion.norm.num_batches_tracked, fusion.expand_norm.num_batches_tracked) == (2, 1)


def _difference_in_use(shared_norm: bool) -> float:
    """Largest difference between training and use, once the running statistics have settled on a steady input."""
    torch.manual_seed(0)
    fusion = FeatureFusionModule(8, shared_norm).train()
    maps = 5 * torch.rand(2, 4, 8, 12, 12)
    with torch.no_grad():
        for _ in range(60):
            trained = fusion(*maps)
        return float((fusion.eval()(*maps) - trained).abs().max() / trained.abs().max())


def test_what_is_used_is_what_was_trained():
    assert _difference_in_use(shared_norm=False) < 0.05
    assert _difference_in_use(shared_norm=True) > 0.5, "the reason why the published norm is not shared here"


def test_gradients_reach_both_maps_and_every_parameter():
    torch.manual_seed(0)
    fusion = FeatureFusionModule(4)
    visual, residual = torch.randn(2, 1, 4, 6, 7).requires_grad_().unbind()
    before = visual.clone()
    visual.retain_grad(), residual.retain_grad()
    fusion(visual, residual).square().mean().backward()
    assert torch.equal(visual, before)
    assert visual.grad.abs().sum() > 0 and torch.equal(visual.grad, residual.grad)
    assert [name for name, parameter in fusion.named_parameters() if parameter.grad is None] == []


def test_mixed_precision():
    torch.manual_seed(0)
    fusion, maps = FeatureFusionModule(4).eval(), torch.randn(2, 1, 4, 6, 7)
    expected = fusion(*maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = fusion(*maps)
    torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.05)
