"""Sparse convolution against dense conv3d, which it equals at its active sites."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.network.rulebook import strided_rulebook, submanifold_rulebook
from monotakd_ros.network.sparse_conv import SparseConv3d, SubmanifoldConv3d
from monotakd_ros.network.sparse_tensor import SparseTensor, indices_of_keys, linear_keys

KERNELS = ((3, 3, 3), (1, 1, 1), (3, 1, 1), (1, 3, 1), (1, 1, 5), (3, 5, 3))
STRIDED = (
    ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ((3, 3, 3), (2, 2, 2), (0, 1, 1)),
    ((3, 1, 1), (2, 1, 1), (0, 0, 0)),
    ((2, 3, 1), (1, 3, 2), (1, 0, 0)),
    ((1, 1, 1), (1, 1, 1), (0, 0, 0)),
)


def random_sites(seed: int, shape=(5, 6, 7), batch=2, share=0.3, channels=3, dtype=torch.float64) -> SparseTensor:
    generator = torch.Generator().manual_seed(seed)
    active = torch.rand((batch, *shape), generator=generator) < share
    indices = torch.nonzero(active)
    features = torch.randn(len(indices), channels, generator=generator, dtype=dtype)
    return SparseTensor(features, indices, shape, batch)


def at_sites(dense: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """(N, C) values of (B, C, Z, Y, X) at the sites."""
    batch, z, y, x = indices.T
    return dense[batch, :, z, y, x]


def dense_weight(conv: torch.nn.Module) -> torch.Tensor:
    return conv.weight.permute(0, 4, 1, 2, 3)


def active_mask(x: SparseTensor) -> torch.Tensor:
    return x.with_features(x.features.new_ones(len(x.indices), 1)).dense()


cases = given(
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(3, 6), st.integers(3, 6), st.integers(3, 7)),
    batch=st.integers(1, 3),
    share=st.sampled_from([0.0, 0.02, 0.2, 0.6, 1.0]),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    data=st.data(),
)


@cases
@settings(max_examples=40)
def test_submanifold_equals_dense(seed, shape, batch, share, channels, data):
    torch.manual_seed(seed)
    kernel = data.draw(st.sampled_from(KERNELS))
    x = random_sites(seed, shape, batch, share, channels[0])
    conv = SubmanifoldConv3d(*channels, kernel, bias=data.draw(st.booleans())).double()
    out = conv(x, submanifold_rulebook(x, kernel))
    padding = tuple(size // 2 for size in kernel)
    dense = F.conv3d(x.dense(), dense_weight(conv), conv.bias, padding=padding)
    assert out.indices is x.indices
    torch.testing.assert_close(out.features, at_sites(dense, x.indices))


@cases
@settings(max_examples=40)
def test_strided_equals_dense(seed, shape, batch, share, channels, data):
    torch.manual_seed(seed)
    kernel, stride, padding = data.draw(st.sampled_from(STRIDED))
    x = random_sites(seed, shape, batch, share, channels[0])
    conv = SparseConv3d(*channels, kernel, stride, padding, bias=data.draw(st.booleans())).double()
    out = conv(x)
    dense = F.conv3d(x.dense(), dense_weight(conv), conv.bias, stride, padding)
    reached = F.conv3d(active_mask(x), torch.ones(1, 1, *kernel, dtype=torch.float64), None, stride, padding)
    torch.testing.assert_close(out.indices, torch.nonzero(reached[:, 0] > 0))
    assert out.spatial_shape == dense.shape[2:] and out.batch_size == batch
    torch.testing.assert_close(out.features, at_sites(dense, out.indices))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.4])
def test_gradients_equal_dense(share):
    torch.manual_seed(0)
    x = random_sites(3, share=share)
    features = x.features.requires_grad_()
    first, second = SubmanifoldConv3d(3, 4).double(), SparseConv3d(4, 2, (3, 3, 3), (2, 2, 2), (1, 1, 1), True).double()
    out = second(first(x, submanifold_rulebook(x)))
    cotangent = torch.randn_like(out.features)
    leaves = [features, *first.parameters(), *second.parameters()]
    sparse = torch.autograd.grad((out.features * cotangent).sum(), leaves)
    mask = active_mask(x).detach()
    hidden = F.conv3d(x.dense(), dense_weight(first), first.bias, padding=1) * mask
    dense = F.conv3d(hidden, dense_weight(second), second.bias, 2, 1)
    expected = torch.autograd.grad((at_sites(dense, out.indices) * cotangent).sum(), leaves)
    for ours, theirs in zip(sparse, expected):
        torch.testing.assert_close(ours, theirs)


def test_gradcheck():
    torch.manual_seed(1)
    x = random_sites(5, (3, 3, 4), 1, 0.4, 2)
    conv = SubmanifoldConv3d(2, 3).double()
    rulebook = submanifold_rulebook(x)

    def run(features, weight, bias):
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x.with_features(features), rulebook))

    def features_of(*leaves):
        return run(*leaves).features

    assert torch.autograd.gradcheck(features_of, (x.features.requires_grad_(), conv.weight, conv.bias))


def test_backward_keeps_no_gathered_copies():
    x = random_sites(2, share=0.8)
    conv = SubmanifoldConv3d(3, 4).double()
    rulebook, saved = submanifold_rulebook(x), []

    def pack(tensor):
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        conv(x.with_features(x.features.requires_grad_()), rulebook)
    assert sum(saved) <= x.features.numel() + conv.weight.numel()


def test_a_full_block_by_hand():
    indices = torch.tensor([(0, *site) for site in itertools.product(range(3), repeat=3)])
    x = SparseTensor(torch.ones(27, 1), indices, (3, 3, 3), 1)
    rulebook = submanifold_rulebook(x)
    assert rulebook.num_pairs == 7**3  # per axis the taps meet 2 + 3 + 2 sites
    conv = SubmanifoldConv3d(1, 1, bias=False)
    torch.nn.init.ones_(conv.weight)
    counts = conv(x, rulebook).features.view(3, 3, 3)
    assert counts[1, 1, 1] == 27 and counts[0, 0, 0] == 8 and counts[0, 1, 1] == 18


def test_taps_are_ordered_as_a_cross_correlation():
    conv = SubmanifoldConv3d(1, 1, bias=False)
    torch.nn.init.zeros_(conv.weight)
    conv.weight.data[0, 1, 1, 2, 0] = 1.0  # the tap at x + 1
    x = SparseTensor(torch.tensor([[1.0], [10.0]]), torch.tensor([[0, 0, 0, 1], [0, 0, 0, 2]]), (1, 1, 4), 1)
    assert conv(x, submanifold_rulebook(x)).features.flatten().tolist() == [10.0, 0.0]


def test_edges_and_frames_do_not_touch():
    """Last cell of a row and first of the next, of a plane, of a frame: neighbours in memory only."""
    sites = torch.tensor([[0, 0, 1, 3], [0, 0, 2, 0], [0, 0, 4, 3], [0, 1, 0, 0], [0, 2, 4, 3], [1, 0, 0, 0]])
    x = SparseTensor(torch.ones(6, 1), sites, (3, 5, 4), 2)
    assert submanifold_rulebook(x).num_pairs == 6


def test_a_tap_repeats_no_site():
    x = random_sites(9, share=0.5)
    rulebooks = submanifold_rulebook(x), strided_rulebook(x, (3, 3, 3), (2, 2, 2), (1, 1, 1))[0]
    for pairs in itertools.chain.from_iterable(rulebook.steps for rulebook in rulebooks):
        for rows in (pairs.inputs, pairs.outputs):
            assert len(rows) == len(rows.unique()) > 0


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_site(count):
    indices = torch.tensor([[1, 2, 3, 4]])[:count]
    x = SparseTensor(torch.ones(count, 3, requires_grad=True), indices, (5, 6, 7), 2)
    conv, strided = SubmanifoldConv3d(3, 4), SparseConv3d(4, 2, (3, 3, 3), (2, 2, 2), (1, 1, 1))
    out = strided(conv(x, submanifold_rulebook(x)))
    out.features.sum().backward()
    assert out.dense().shape == (2, 2, 3, 3, 4)
    assert out.indices.tolist() == [[1, 1, 1, 2], [1, 1, 2, 2]][: 2 * count]
    assert torch.isfinite(conv.weight.grad).all() and x.features.grad.shape == (count, 3)


def test_dense_places_and_zeros():
    x = random_sites(4, channels=2)
    dense = x.dense()
    torch.testing.assert_close(at_sites(dense, x.indices), x.features)
    assert torch.equal((dense != 0).any(dim=1), active_mask(x)[:, 0] > 0)


def test_linear_keys_are_positions():
    indices = torch.tensor([[0, 0, 0], [1, 2, 3], [4, 0, 1]])
    assert linear_keys(indices, (5, 6, 7)).tolist() == linear_keys(indices, (6, 7)).tolist() == [0, 59, 169]
    x = random_sites(1)
    assert torch.equal(indices_of_keys(linear_keys(x.indices, x.spatial_shape), x.spatial_shape), x.indices)


def test_float32_under_autocast_and_no_grad():
    x = random_sites(6, dtype=torch.float32)
    conv = SubmanifoldConv3d(3, 4)
    rulebook = submanifold_rulebook(x)
    expected = conv(x, rulebook).features
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(x.with_features(x.features.bfloat16()), rulebook).features
        same = conv(x, rulebook).features
    assert out.dtype == torch.float32
    assert torch.equal(same, expected)
    with torch.inference_mode():
        assert torch.equal(conv(x, submanifold_rulebook(x)).features, expected)


def test_same_bits_every_time():
    x = random_sites(8, (9, 20, 20), share=0.2, channels=8, dtype=torch.float32)
    conv = SubmanifoldConv3d(8, 8)
    runs = [conv(x, submanifold_rulebook(x)).features for _ in range(3)]
    assert all(torch.equal(run, runs[0]) for run in runs)


def test_layout_and_initialisation():
    conv = SparseConv3d(4, 6, (3, 1, 1), (2, 1, 1), bias=True)
    assert conv.weight.shape == (6, 3, 1, 1, 4) and conv.bias.shape == (6,)
    bound = 1 / math.sqrt(3 * 4)
    assert 0.8 * bound < conv.weight.abs().max() <= bound
    assert set(SubmanifoldConv3d(4, 6, bias=False).state_dict()) == {"weight"}
    with pytest.raises(AssertionError, match="odd"):
        SubmanifoldConv3d(4, 6, (2, 3, 3))
