"""What a network costs: multiply-adds by hand, tensor memory by hand, rows of modules."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from monotakd_ros.config import BevConfig, Config, EncoderConfig, HeadConfig, PostprocessConfig, ResidualConfig
from monotakd_ros.frame import FrameBatch
from monotakd_ros.geometry.grid import VoxelGrid
from monotakd_ros.network.anchor_head import AnchorHead
from monotakd_ros.network.bev_adaptation import BevAdaptation
from monotakd_ros.network.bev_backbone import BevBackbone
from monotakd_ros.network.checkpoint import KINDS, build_network
from monotakd_ros.network.cost import LiveTensors, ModuleCost, MultiplyAdds, measure_cost
from monotakd_ros.network.feature_fusion import FeatureFusionModule
from monotakd_ros.network.image_encoder import ImageEncoder
from monotakd_ros.network.made_up_batch import make_batch
from monotakd_ros.network.rulebook import strided_rulebook
from monotakd_ros.network.sparse_conv import SparseConv3d, SubmanifoldConv3d
from monotakd_ros.network.spatial_alignment import SpatialAlignmentModule

BATCH = FrameBatch(torch.zeros(1, 3, 8, 10, dtype=torch.uint8), torch.zeros(1, 4), *torch.zeros(2, 1, 4, 4), ("a",))


class Branches(nn.Module):
    """A network whose modules are called in every way that a row has to cope with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.twice = nn.Conv2d(4, 4, 1)
        self.encoder = nn.ModuleDict({"steps": nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))})
        self.spare = nn.Linear(7, 5)

    def forward(self, batch: FrameBatch) -> tuple[torch.Tensor, list[torch.Tensor]]:
        x = self.twice(self.twice(self.conv(batch.images.float())))
        for step in self.encoder["steps"]:
            x = step(x)
        return x, [x.mean(dim=1)]


def macs_of(work) -> int:
    with torch.no_grad(), MultiplyAdds() as counter:
        work()
    return counter.total


@pytest.fixture(scope="module")
def branches() -> dict[str, ModuleCost]:
    cost = measure_cost(Branches().eval(), BATCH, repeats=1)
    return {row.name: row for row in (*cost.modules, cost.whole)}


def test_rows_are_the_children_and_the_parts_of_an_encoder(branches: dict[str, ModuleCost]) -> None:
    assert list(branches) == ["conv", "twice", "encoder", "encoder.steps", "spare", ""]


def test_multiply_adds_by_hand(branches: dict[str, ModuleCost]) -> None:
    cells = 8 * 10
    assert branches["conv"].macs == cells * 3 * 4 * 9
    assert branches["twice"].macs == 2 * cells * 4 * 4
    assert branches["encoder.steps"].macs == cells * (4 * 2 + 2 * 2)
    assert branches[""].macs == cells * (108 + 32 + 12)


def test_parameters_outputs_and_time(branches: dict[str, ModuleCost]) -> None:
    assert [row.parameters for row in branches.values()] == [108, 20, 16, 16, 40, 184]
    assert branches["conv"].output == ("4x8x10",)
    assert branches[""].output == ("2x8x10", "8x10")
    assert all((row.milliseconds > 0) == row.used for name, row in branches.items() if name != "encoder")


def test_a_module_that_is_not_called_is_not_used(branches: dict[str, ModuleCost]) -> None:
    assert branches["spare"] == ModuleCost("spare", 40)
    assert branches["encoder.steps"].used


def test_tensor_memory_of_a_module_counts_its_input(branches: dict[str, ModuleCost]) -> None:
    plane = 8 * 10 * 4 / 2**20
    assert branches["conv"].tensor_mib == pytest.approx((3 + 4) * plane)
    assert branches["twice"].tensor_mib == pytest.approx((4 + 4) * plane)


def test_hooks_are_gone_afterwards() -> None:
    network = Branches().eval()
    measure_cost(network, BATCH, repeats=1)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_failing_network_leaves_no_hooks() -> None:
    network = Branches().eval()
    network.twice = nn.Conv2d(5, 5, 1)
    with pytest.raises(RuntimeError):
        measure_cost(network, BATCH)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_gathers_and_products_in_place_are_counted() -> None:
    table, rows, weights = torch.rand(9, 6), torch.randint(0, 9, (5, 4)), torch.rand(5, 4)
    assert macs_of(lambda: F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)) == 5 * 4 * 6
    a, b, out = torch.rand(5, 6), torch.rand(6, 3), torch.zeros(5, 3)
    assert macs_of(lambda: out.addmm_(a, b)) == macs_of(lambda: torch.mm(a, b, out=out)) == 5 * 6 * 3


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2),
        nn.ConvTranspose2d(6, 4, 2, stride=2),
        nn.Conv2d(6, 8, (1, 5), dilation=2),
        nn.Linear(9, 7),
        nn.Linear(9, 7, bias=False),
    ],
)
def test_torchs_own_counter_agrees(module: nn.Module) -> None:
    x = torch.rand(2, 6, 11, 9)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(x)
    assert 2 * macs_of(lambda: module(x)) == counter.get_total_flops() > 0


def test_torchs_own_counter_agrees_on_batched_products() -> None:
    a, b, c = torch.rand(3, 4, 5), torch.rand(3, 5, 6), torch.rand(3, 4, 6)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        torch.baddbmm(c, a, b) + a @ b
    assert 2 * macs_of(lambda: torch.baddbmm(c, a, b) + a @ b) == counter.get_total_flops() > 0


OFFICIAL_BEV = (1, 128, 188, 140)


@pytest.mark.parametrize(
    ("make", "shape", "giga"),
    [
        (lambda: ImageEncoder(EncoderConfig(), 120).backbone, (1, 3, 375, 1242), 178.4),
        (lambda: ImageEncoder(EncoderConfig(), 120).classifier, (1, 2048, 47, 156), 114.6),
        (lambda: ImageEncoder(EncoderConfig(), 120).channel_reduce, (1, 1024, 47, 156), 0.5),
        (lambda: BevAdaptation(128, 4), OFFICIAL_BEV, 15.3),
        (lambda: BevBackbone(128, BevConfig()), OFFICIAL_BEV, 47.2),
        (lambda: AnchorHead(512, HeadConfig(), PostprocessConfig(), VoxelGrid((0, 0, 0, 2, 2, 2), (1, 1, 1))),
         (1, 512, 188, 140), 1.0),
    ],
    ids=["resnet50", "depth head", "channel reduction", "scnet", "bev backbone", "head"],
)  # fmt: skip
def test_the_official_split(make, shape: tuple[int, ...], giga: float) -> None:
    with torch.device("meta"):
        module, x = make().eval(), torch.empty(shape)
    assert macs_of(lambda: module(x)) == pytest.approx(1e9 * giga, abs=0.05e9)


def test_the_official_split_of_the_residual_branch() -> None:
    share, bev = 16, torch.rand(1, 128, 188 // 4, 140 // 4)
    fusion, alignment = FeatureFusionModule(128).eval(), SpatialAlignmentModule(128).eval()
    assert share * macs_of(lambda: fusion(bev, bev)) == pytest.approx(12.5e9, abs=0.05e9)
    lookups = 2 * 188 * 140 * 9 * 4 * 128  # two passes, nine taps, four corners: not in the official figure
    assert share * macs_of(lambda: alignment(bev)) - lookups == pytest.approx((21.6 + 7.8) * 1e9, abs=0.1e9)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_networks(kind: str, tiny_config_of_three: Config) -> None:
    network = build_network(kind, tiny_config_of_three).eval()
    cost = measure_cost(network, make_batch(tiny_config_of_three), repeats=1)
    top = [row for row in cost.modules if "." not in row.name]
    assert cost.whole.parameters == sum(row.parameters for row in top)
    assert cost.whole.macs == sum(row.macs for row in top) > 0
    assert cost.whole.tensor_mib >= max(row.tensor_mib for row in top) > 0
    assert all(row.used for row in cost.modules)


def test_the_lift_counts_its_plan(tiny_config_of_three: Config) -> None:
    student, batch = build_network("student", tiny_config_of_three).eval(), make_batch(tiny_config_of_three)
    cost = measure_cost(student, batch, repeats=1)
    row = next(row for row in cost.modules if row.name == "view_transform")
    assert row.macs == len(student.lift_plan(batch).cells) * tiny_config_of_three.student.encoder.feature_channels


def test_sparse_convolutions_count_the_pairs_that_meet(tiny_config_of_three: Config) -> None:
    teacher, batch = build_network("teacher", tiny_config_of_three).eval(), make_batch(tiny_config_of_three)
    pairs: list[int] = []

    def tally(conv, arguments, output) -> None:
        x, *rulebook = arguments
        if isinstance(conv, SparseConv3d):
            rulebook = strided_rulebook(x, conv.kernel, conv.stride, conv.padding)
        pairs.append(rulebook[0].num_pairs * conv.weight.shape[0] * conv.weight.shape[-1])

    for module in teacher.modules():
        if isinstance(module, (SparseConv3d, SubmanifoldConv3d)):
            module.register_forward_hook(tally)
    with torch.no_grad():
        teacher(batch)
    expected = sum(pairs)
    cost = measure_cost(teacher, batch, repeats=1)
    assert next(row for row in cost.modules if row.name == "lidar_encoder").macs == expected > 0


def test_a_branch_beside_the_detector_is_not_used(tiny_config_of_three: Config) -> None:
    student = replace(tiny_config_of_three.student, residual=ResidualConfig("off"))
    config = replace(tiny_config_of_three, student=student)
    cost = measure_cost(build_network("student", config).eval(), make_batch(config), repeats=1)
    unused = {row.name for row in cost.modules if not row.used}
    assert unused == {"residual", "residual.collapse", "residual.alignment"}
    assert all(row.parameters > 0 for row in cost.modules if not row.used)


def test_live_tensors_by_hand() -> None:
    before = torch.zeros(256)
    with LiveTensors() as live:
        first = before + 1
        view = first.view(16, 16)
        before.view(16, 16).mul_(2)  # memory from before: not counted
        second = view * 2
        del first, view
        third = second + 1
        del second, third
    assert live.take_peak() == 2 * 1024
    assert live.take_peak() == 0


def test_live_tensors_counts_what_stays_alive() -> None:
    with LiveTensors() as live:
        kept = [torch.zeros(256) for _ in range(3)]
    assert len(kept) == 3
    assert live.take_peak() == live.take_peak() == 3 * 1024
