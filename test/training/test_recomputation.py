"""Activation checkpointing: the same gradients, statistics and dropout, and less kept between forward and backward."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from monotakd_ros.config import ResidualConfig
from monotakd_ros.network.checkpoint import build_network
from monotakd_ros.network.made_up_batch import make_batch
from monotakd_ros.training.loop import TrainingRun
from monotakd_ros.training.memory_need import memory_need
from monotakd_ros.training.recomputation import heavy_parts, recompute_activations


def with_training(config, **changes):
    return replace(config, training=replace(config.training, **changes))


@pytest.fixture
def config(tiny_config):
    """With every part that is computed again, and dropout."""
    student = replace(
        tiny_config.student,
        residual=ResidualConfig("adapted"),
        bev=replace(tiny_config.student.bev, adaptation_blocks=1),
    )
    return replace(tiny_config, student=student)


class TestARun:
    @pytest.mark.parametrize(("kind", "amp"), [("student", "off"), ("student", "bf16"), ("teacher", "off")])
    def test_takes_the_very_same_steps(self, config, training_frames, tmp_path, kind, amp):
        states = []
        for on in (False, True):
            changed = with_training(config, amp=amp, activation_checkpointing=on, accumulate=2)
            run = TrainingRun(kind, changed, training_frames, [], tmp_path)
            for step in range(2):
                run.take_step(run.batches[2 * step], run.batches[2 * step + 1])
            states.append({f"average.{name}": item for name, item in run.average.model.state_dict().items()})
            states[-1] |= run.network.state_dict()
        assert states[0].keys() == states[1].keys()
        assert [name for name, item in states[0].items() if not torch.equal(item, states[1][name])] == []
        assert states[1]["bev_backbone.blocks.0.2.num_batches_tracked"] == 4


class TestParts:
    def test_of_a_student(self, config):
        assert heavy_parts(build_network("student", config)) == [
            *(f"encoder.backbone.layer{number}" for number in range(1, 5)),
            "encoder.classifier.0",
            "collapse",
            "adaptation",
            "residual.collapse",
            "residual.alignment",
            "bev_backbone",
        ]

    @pytest.mark.parametrize("kind", ["student", "assistant", "teacher"])
    def test_less_is_kept(self, config, kind):
        checkpointed = with_training(config, activation_checkpointing=True)
        assert memory_need(kind, checkpointed).frame < 0.9 * memory_need(kind, config).frame

    def test_a_copy_computes_with_its_own_weights(self, config):
        network = build_network("student", config)
        recompute_activations(network)
        other = copy.deepcopy(network)
        with torch.no_grad():
            other.bev_backbone.blocks[0][1].weight.zero_()
        batch = make_batch(config)
        with torch.no_grad():
            first, second = (item.eval()(batch).cls_logits for item in (network, other))
        assert not torch.equal(first, second)
