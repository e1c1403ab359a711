"""Starting from another network's weights: what is taken, what stays, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from monotakd_ros.config import Config, ResidualConfig
from monotakd_ros.config_file import load_config
from monotakd_ros.errors import CheckpointError
from monotakd_ros.network.checkpoint import build_network, save_checkpoint
from monotakd_ros.network.inherit import start_from


@pytest.fixture(scope="module")
def config(repository) -> Config:
    return load_config(repository / "config" / "monotakd_small.yaml")


@pytest.fixture
def save(tmp_path):
    """Writes random weights of a kind; returns the path and the tensors."""

    def save(kind: str, config: Config):
        torch.manual_seed(3)
        network = build_network(kind, config)
        save_checkpoint(tmp_path / f"{kind}.pt", network.state_dict(), config, {}, kind)
        return tmp_path / f"{kind}.pt", network.state_dict()

    return save


def start(kind: str, config: Config, path) -> tuple[dict, dict, tuple[str, ...]]:
    """State before and after, and the parts that kept theirs."""
    torch.manual_seed(4)
    network = build_network(kind, config)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    kept = start_from(network, kind, path)
    return before, network.state_dict(), kept


OWN_PARTS = {"encoder.classifier", "residual", "fusion"}


@pytest.mark.parametrize(
    ("kind", "giver", "kept"),
    [
        ("student", "assistant", OWN_PARTS),
        ("student", "teacher", OWN_PARTS | {"encoder.backbone", "encoder.channel_reduce", "collapse", "adaptation"}),
        ("assistant", "student", set()),
        ("assistant", "teacher", {"encoder.backbone", "encoder.channel_reduce", "collapse", "adaptation"}),
        ("teacher", "student", {"lidar_encoder"}),
        ("teacher", "assistant", {"lidar_encoder"}),
    ],
)
def test_shared_parts_are_taken_and_the_rest_stays(save, config, kind, giver, kept):
    path, given = save(giver, config)
    before, after, parts = start(kind, config, path)
    assert set(parts) == kept
    taken = [key for key in after if not key.startswith(tuple(f"{part}." for part in kept))]
    assert {"head.conv_cls.weight", "bev_backbone.blocks.0.0.weight"} & set(taken)
    let_through = {key for key in after if key.startswith("fusion.") and (kind, giver) == ("student", "assistant")}
    for key in after.keys() - let_through:
        assert torch.equal(after[key], given[key] if key in taken else before[key]), key
    if let_through:
        assert torch.equal(
            after["fusion.mix.weight"], torch.nn.init.dirac_(torch.empty_like(after["fusion.mix.weight"]))
        )


def test_its_own_kind_gives_all(save, config):
    path, given = save("student", config)
    _, after, kept = start("student", config, path)
    assert kept == () and all(torch.equal(after[key], given[key]) for key in after)


def plain(config: Config) -> Config:
    """The same camera network without adaptation, residual branch and fusion."""
    bev = replace(config.student.bev, adaptation_blocks=0)
    return replace(config, student=replace(config.student, bev=bev, residual=None))


def test_a_student_grows_and_sees_what_it_saw(save, config):
    """Adaptation and fusion let the map through: with a silent residual branch the boxes are the giver's."""
    path, given = save("student", plain(config))
    torch.manual_seed(4)
    network = build_network("student", config)
    assert start_from(network, "student", path) == ("adaptation", "fusion", "residual")
    assert all(torch.equal(network.state_dict()[key], value) for key, value in given.items())
    bev = torch.rand(2, config.student.bev.collapse_channels, 12, 8)
    network.eval()
    torch.testing.assert_close(network.adaptation(bev), bev)
    torch.testing.assert_close(network.fusion(bev, torch.zeros_like(bev)), bev, atol=1e-4, rtol=1e-4)


def test_what_lets_through_learns(save, config):
    """Every new kernel moves, at the latest in the second step."""
    path, _ = save("student", plain(config))
    network = build_network("student", config)
    start_from(network, "student", path)
    parts = torch.nn.ModuleList([network.adaptation, network.fusion]).train()
    optimizer = torch.optim.SGD(parts.parameters(), lr=0.1)
    bev = torch.rand(2, config.student.bev.collapse_channels, 12, 8)
    for _ in range(2):
        before = {key: value.clone() for key, value in parts.named_parameters()}
        optimizer.zero_grad()
        (network.fusion(network.adaptation(bev), bev) - torch.rand_like(bev)).square().mean().backward()
        optimizer.step()
    kernels = {key: value for key, value in parts.named_parameters() if value.dim() == 4}
    assert not [key for key, value in kernels.items() if torch.equal(value, before[key])]


def test_an_assistant_grows_too(save, config):
    path, _ = save("student", plain(config))
    assert start("assistant", config, path)[2] == ("adaptation",)


def test_a_part_that_is_there_must_be_whole(tmp_path, config):
    torch.manual_seed(3)
    state = build_network("student", config).state_dict()
    save_checkpoint(
        tmp_path / "torn.pt", {k: v for k, v in state.items() if k != "fusion.mix.weight"}, config, {}, "student"
    )
    with pytest.raises(CheckpointError, match=r"1 missing: fusion\.mix\.weight"):
        start("student", config, tmp_path / "torn.pt")


def test_a_student_does_not_lose_parts(save, config):
    path, _ = save("student", config)
    with pytest.raises(CheckpointError, match="unexpected: adaptation"):
        start("student", plain(config), path)


def test_a_stranger_shares_nothing(save, config, tmp_path):
    _, state = save("student", config)
    save_checkpoint(tmp_path / "other.pt", state, config, {}, "radar")
    with pytest.raises(CheckpointError, match="expected teacher weights, got radar weights, which share no part"):
        start("teacher", config, tmp_path / "other.pt")


@pytest.mark.parametrize(("given", "wanted"), [(1, 2), (2, 1), (1, 0)])
@pytest.mark.parametrize(("kind", "giver"), [("student", "assistant"), ("assistant", "student")])
def test_another_kind_does_not_give_or_take_half_a_part(save, config, kind, giver, given, wanted):
    def blocks(number: int) -> Config:
        bev = replace(config.student.bev, adaptation_blocks=number)
        return replace(config, student=replace(config.student, bev=bev))

    path, _ = save(giver, blocks(given))
    match = rf"cannot start the {kind}: expected the same tensors in what both have, but one lacks adaptation\.[01]"
    with pytest.raises(CheckpointError, match=match):
        start(kind, blocks(wanted), path)


def test_other_sizes_are_refused_and_nothing_changes(save, config):
    path, _ = save("assistant", config)
    slim = replace(config.student, encoder=replace(config.student.encoder, channels=(16, 64, 96, 128)))
    student = replace(config, student=replace(slim, residual=ResidualConfig()), teacher=None)
    torch.manual_seed(4)
    network = build_network("student", student)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"cannot start the student: .* differ: encoder\.backbone"):
        start_from(network, "student", path)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
