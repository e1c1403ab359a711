"""Which frames a step sees however it is split, and that several small batches teach what one large batch does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from monotakd_ros.config import DistillationConfig, ResidualConfig
from monotakd_ros.errors import ConfigError
from monotakd_ros.network.checkpoint import build_network
from monotakd_ros.training.guides import Guides
from monotakd_ros.training.loop import TrainingRun
from monotakd_ros.training.losses import LossTerm, shares
from monotakd_ros.training.step_split import StepSplit


class TestStepSplit:
    @given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 5))
    def test_a_step_sees_the_same_frames_however_they_are_split(self, batch_size, accumulate, processes, step):
        splits = [StepSplit(batch_size, accumulate, processes, rank) for rank in range(processes)]
        batches = range(step * accumulate, (step + 1) * accumulate)
        seen = [sample for split in splits for batch in batches for sample in split.samples(batch)]
        whole = StepSplit(batch_size * accumulate * processes)
        assert seen == list(whole.samples(step)) and whole.frames == splits[0].frames

    def test_hand_numbers(self):
        split = StepSplit(batch_size=2, accumulate=2, processes=2, rank=1)
        assert [list(split.samples(batch)) for batch in range(3)] == [[4, 5], [6, 7], [12, 13]]

    def test_accumulate_of_nothing(self, tiny_config):
        with pytest.raises(ConfigError, match=r"training\.accumulate must be >= 1"):
            replace(tiny_config.training, accumulate=0)


class TestShares:
    def test_hand_numbers(self):
        terms = {
            "cls": LossTerm(torch.tensor(6.0), 2.0, "positive", "labelled"),
            "imd": LossTerm(torch.tensor(6.0), 1.0, "cloud"),
        }
        counts = {"frame": 2, "labelled": 2, "positive": 3, "cloud": 0}
        totals = {"frame": 4, "labelled": 3, "positive": 9, "cloud": 2}
        taken = shares(terms, counts, totals)
        assert {name: (term.value.item(), term.weight) for name, term in taken.items()} == {
            "cls": (2.0, 1.5),
            "imd": (3.0, 1.0),
        }

    def test_a_batch_of_its_own_is_left_as_it_is(self):
        term = LossTerm(torch.tensor(6.0), 2.0, "cell")
        assert shares({"depth": term}, {"cell": 0, "frame": 1}, {"cell": 0, "frame": 1})["depth"] is term


@pytest.fixture
def unequal(training_frames):
    """Frames of which one has no cloud, one no box, and one a teacher's labels: the parts of a step differ."""
    bare, empty, *others = (frame.prepared for frame in training_frames)
    bare = replace(bare, points_img=bare.points_img[:0], points_lidar=bare.points_lidar[:0])
    empty = replace(empty, boxes_lidar=empty.boxes_lidar[:0], labels=empty.labels[:0])
    found = replace(others[0], label_scores=np.full(len(others[0].labels), 0.5, np.float32))  # by a teacher
    prepared = [bare, empty, found, *others[1:]]
    return [replace(frame, prepared=item) for frame, item in zip(training_frames, prepared)]


@pytest.fixture
def taught(tiny_config):
    """Every term of a student without dropout."""
    student = replace(
        tiny_config.student,
        residual=ResidualConfig("adapted"),
        encoder=replace(tiny_config.student.encoder, dropout=0.0),
    )
    terms = ("imd", "cmrd", "logit_cls", "logit_box", "logit_direction")
    distillation = replace(DistillationConfig(), **{f"{term}_weight": 0.1 for term in terms}, direct_weight=1e-3)
    return replace(tiny_config, student=student, training=replace(tiny_config.training, distillation=distillation))


def uncouple(network: nn.Module) -> None:
    """Let batch norms use their running statistics in training too, so that frames do not see each other."""
    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            norm.eval().train = lambda mode=True, norm=norm: norm


def test_small_batches_have_the_gradients_of_a_large_one(taught, unequal, tmp_path):
    guides = Guides(*(build_network(kind, taught) for kind in ("teacher", "assistant")))
    figures, gradients = [], []
    for batch_size, accumulate in ((4, 1), (2, 2), (1, 4)):
        training = replace(taught.training, batch_size=batch_size, accumulate=accumulate)
        config = replace(taught, training=training)
        run = TrainingRun("student", config, unequal, [], tmp_path, guides=guides)
        uncouple(run.network)
        figures.append(run.take_step(*(run.batches[index] for index in range(accumulate))))
        gradients.append({name: item.grad for name, item in run.network.named_parameters()})
    assert {"loss_box", "loss_pseudo_box", "loss_cmrd", "loss_depth"} <= figures[0].keys()
    for figure, gradient in zip(figures[1:], gradients[1:]):
        assert figure == pytest.approx(figures[0], rel=1e-4)
        assert gradient.keys() == gradients[0].keys()
        for name, expected in gradients[0].items():
            assert (gradient[name] - expected).abs().max() <= 1e-3 * expected.abs().max() + 1e-7, name
