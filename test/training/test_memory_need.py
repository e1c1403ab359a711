"""What a step is said to need: counted parts, comparison with what is free."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from monotakd_ros.config import AugmentConfig, DistillationConfig, ResidualConfig
from monotakd_ros.errors import ConfigError, TrainingError
from monotakd_ros.network.checkpoint import build_network
from monotakd_ros.network.lift_plan import LiftPlanCache
from monotakd_ros.network.made_up_batch import make_batch
from monotakd_ros.training.memory_need import GIB, MemoryNeed, check_memory, free_memory, memory_need


@pytest.mark.parametrize("kind", ["student", "assistant", "teacher"])
def test_state_is_five_times_the_weights(tiny_config, kind):
    need = memory_need(kind, tiny_config)
    weights = sum(item.numel() for item in build_network(kind, tiny_config).parameters())
    assert need.state == 5 * 4 * weights
    assert need.frame > 0 and need.batch_size == 2
    assert need.total == need.state + need.plans + 2 * need.frame
    assert (need.plans == 0) == (kind == "teacher")


def test_the_plans_of_every_camera_are_kept_mirrored_too_and_in_validation(tiny_config):
    def plans(cameras, validation_cameras=0, **settings) -> int:
        config = replace(tiny_config, training=replace(tiny_config.training, **settings))
        return memory_need("student", config, None, cameras, validation_cameras).plans

    straight = AugmentConfig(flip_probability=0.0)
    one = plans(1, augment=straight)
    assert one > 0 and plans(1, augment=AugmentConfig()) == 2 * one
    assert plans(3, 2, augment=straight) == 5 * one
    assert plans(30, 20, augment=straight, lift_plans=4) == 8 * one
    assert plans(1, augment=replace(straight, crop=0.1), lift_plans=6) == 6 * one


def test_a_plan_is_counted_as_large_as_it_gets(tiny_config):
    """Every tensor that hangs on it after a backward pass."""
    student = build_network("student", tiny_config).train()
    student(make_batch(tiny_config)).bev.sum().backward()
    (plan,) = student.view_transform.plans._plans.values()
    held = [value for value in vars(plan).values() if isinstance(value, torch.Tensor)]
    assert len(held) == 8, "5 that it is made of, 3 for the gradient"
    assert plan.nbytes == student.view_transform.plans.nbytes == sum(tensor.nbytes for tensor in held)


def test_guides_are_held_too(tiny_config):
    teacher = build_network("teacher", tiny_config)
    with_guide, alone = (memory_need("student", tiny_config, guides) for guides in ({"teacher": teacher}, None))
    size = sum(item.numel() * item.element_size() for item in teacher.state_dict().values())
    assert with_guide.state - alone.state == size and with_guide.frame == alone.frame


def test_larger_images_need_more_and_half_precision_less(tiny_config):
    camera = replace(tiny_config.student.input, width=256)
    wide = replace(tiny_config, student=replace(tiny_config.student, input=camera))
    half = replace(tiny_config, training=replace(tiny_config.training, amp="bf16"))
    plain = memory_need("student", tiny_config).frame
    assert memory_need("student", wide).frame > 1.3 * plain
    assert memory_need("student", half).frame < plain
    fp16 = replace(tiny_config, training=replace(tiny_config.training, amp="fp16"))
    assert memory_need("student", fp16).frame == memory_need("student", half).frame


def test_an_assistant_of_the_students_own_counts(tiny_config):
    student = replace(tiny_config.student, residual=ResidualConfig("off", assistant_branch=True))
    beside = replace(tiny_config, student=student)
    terms = DistillationConfig(assistant="branch", imd_weight=1.0)
    taught = replace(beside, training=replace(beside.training, distillation=terms))
    assert memory_need("student", taught).frame > 1.05 * memory_need("student", beside).frame


def test_it_counts_what_the_backward_pass_reads(monkeypatch, tiny_config):
    """A layer whose input is the only thing kept: 4 bytes a number."""

    class Square(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        view_transform = SimpleNamespace(plans=LiftPlanCache())

        def forward(self, batch):
            values = torch.ones(1000) * 2 * self.weight
            return type("Output", (), {"bev": values.square()})

    monkeypatch.setattr("monotakd_ros.training.memory_need.build_network", lambda kind, config: Square())
    need = memory_need("assistant", tiny_config)
    assert need.state == 20
    assert need.frame == 4000 + 4000, "the input of the square, and that of the product with the weight"


def test_a_config_without_teacher(tiny_config):
    with pytest.raises(ConfigError, match="no `teacher` section"):
        memory_need("teacher", replace(tiny_config, teacher=None))


class TestCheck:
    NEED = MemoryNeed(state=int(GIB), frame=int(GIB / 2), batch_size=4)

    def test_too_much_names_the_batch_that_fits(self):
        with pytest.raises(
            TrainingError, match=r"at least 3\.00 GiB on cpu \(1\.00 of the run, 0\.500 for each of 4 frame"
        ):
            check_memory(self.NEED, "cpu", free=int(2.2 * GIB))
        with pytest.raises(TrainingError, match=r"fit with training\.batch_size of at most 2"):
            check_memory(self.NEED, "cpu", free=int(2.2 * GIB))
        with pytest.raises(TrainingError, match="a smaller network or another device"):
            check_memory(self.NEED, "cpu", free=int(1.1 * GIB))

    def test_processes_share_what_is_free(self):
        with pytest.raises(TrainingError, match=r"2\.00 GiB are free for each of 2 processes"):
            check_memory(self.NEED, "cpu", free=int(4 * GIB), processes=2)
        check_memory(self.NEED, "cpu", free=int(8 * GIB), processes=2)

    def test_tight_is_a_warning_and_enough_is_silent(self, caplog):
        check_memory(self.NEED, "cpu", free=int(3.5 * GIB))
        assert "memory may not suffice" in caplog.text
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            check_memory(self.NEED, "cpu", free=int(30 * GIB))
        assert caplog.text == ""

    def test_what_this_machine_has(self):
        free = free_memory("cpu")
        assert free is None or free > 1e8
