from dataclasses import replace

import pytest
import torch
from torch import nn

from monotakd_ros.config import TrainingConfig
from monotakd_ros.training.optim import MovingAverage, build_optimizer, learning_rate_at, set_learning_rate

CONFIG = TrainingConfig(steps=100, learning_rate=1e-2, warmup_fraction=0.3)


class TestLearningRate:
    @pytest.mark.parametrize(("step", "expected"), [(0, 1e-3), (15, 5.5e-3), (30, 1e-2), (65, 5.005e-3), (100, 1e-5)])
    def test_hand_numbers(self, step, expected):
        assert learning_rate_at(step, CONFIG) == pytest.approx(expected)

    @pytest.mark.parametrize(("step", "expected"), [(0, 1e-3), (10, 4e-3), (30, 1e-2), (65, 5.005e-3), (100, 1e-5)])
    def test_cosine_by_hand(self, step, expected):
        assert learning_rate_at(step, replace(CONFIG, schedule="cosine")) == pytest.approx(expected)

    @pytest.mark.parametrize(("step", "expected"), [(0, 1e-3), (15, 5.5e-3), (20, 7e-3), (30, 1e-2), (99, 1e-2)])
    def test_constant_by_hand(self, step, expected):
        assert learning_rate_at(step, replace(CONFIG, schedule="constant")) == pytest.approx(expected)

    @pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
    def test_rises_then_falls(self, schedule):
        config = replace(CONFIG, schedule=schedule)
        rates = [learning_rate_at(step, config) for step in range(101)]
        assert rates[:31] == sorted(rates[:31]) and rates[30:] == sorted(rates[30:], reverse=True)

    @pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
    @pytest.mark.parametrize("warmup", [0.0, 1.0])
    def test_without_one_of_the_halves(self, warmup, schedule):
        config = replace(CONFIG, warmup_fraction=warmup, schedule=schedule)
        assert all(learning_rate_at(step, config) > 0 for step in range(100))


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


class TestOptimizer:
    def test_norms_and_biases_do_not_decay(self):
        optimizer = build_optimizer(small_network(), CONFIG)
        decay = {group["weight_decay"]: {p.ndim for p in group["params"]} for group in optimizer.param_groups}
        assert decay == {CONFIG.weight_decay: {4}, 0.0: {1}}

    def test_frozen_weights_are_left_out(self):
        network = small_network()
        network[0].requires_grad_(False)
        assert sum(len(group["params"]) for group in build_optimizer(network, CONFIG).param_groups) == 2

    def test_the_rate_reaches_every_group(self):
        optimizer = build_optimizer(small_network(), CONFIG)
        set_learning_rate(optimizer, 0.5)
        assert {group["lr"] for group in optimizer.param_groups} == {0.5}


class TestMovingAverage:
    def test_follows_weights_and_buffers(self):
        network = small_network()
        average = MovingAverage(network, 0.75)
        with torch.no_grad():
            network[0].bias += 1.0
            network[1].running_mean += 2.0
            network[1].num_batches_tracked += 7
        before = average.model[0].bias.clone()
        average.update(network, step=1000)
        assert torch.allclose(average.model[0].bias, before + 0.25)
        assert torch.allclose(average.model[1].running_mean, torch.full((4,), 0.5))
        assert average.model[1].num_batches_tracked == 7

    def test_early_steps_count_more(self):
        network = small_network()
        average = MovingAverage(network, 0.999)
        with torch.no_grad():
            network[0].bias.fill_(1.0)
            average.model[0].bias.fill_(0.0)
        average.update(network, step=0)
        assert torch.allclose(average.model[0].bias, torch.tensor(0.9))

    def test_the_copy_is_for_inference(self):
        average = MovingAverage(small_network(), 0.9)
        assert not average.model.training
        assert not any(parameter.requires_grad for parameter in average.model.parameters())
