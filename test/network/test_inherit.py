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
    ],
)
def test_shared_parts_are_taken_and_the_rest_stays(save, config, kind, giver, kept):
    path, given = save(giver, config)
    before, after, parts = start(kind, config, path)
    assert set(parts) == kept
    taken = [key for key in after if not key.startswith(tuple(f"{part}." for part in kept))]
    assert {"head.conv_cls.weight", "bev_backbone.blocks.0.0.weight"} & set(taken)
    for key, value in after.items():
        assert torch.equal(value, given[key] if key in taken else before[key]), key


def test_its_own_kind_gives_all(save, config):
    path, given = save("student", config)
    _, after, kept = start("student", config, path)
    assert kept == () and all(torch.equal(after[key], given[key]) for key in after)


def test_a_teacher_shares_nothing_with_a_student(save, config):
    path, _ = save("student", config)
    with pytest.raises(CheckpointError, match="expected teacher weights, got student weights, which share no part"):
        start("teacher", config, path)


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
