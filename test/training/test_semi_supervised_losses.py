"""Detection losses of batches that people and a teacher labelled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from monotakd_ros.config import SemiSupervisedConfig
from monotakd_ros.network.checkpoint import build_network
from monotakd_ros.training.batches import BatchBuilder
from monotakd_ros.training.losses import box_loss, class_loss, detection_terms, direction_loss, total
from monotakd_ros.training.semi_supervised_losses import labelled_terms

TERMS = ("cls", "box", "direction")


@pytest.fixture
def prepared(training_frames):
    """Four frames, the second and last labelled by a teacher."""
    frames = [frame.prepared for frame in training_frames]
    for index in (1, 3):
        scores = np.array([0.5, 0.8, 0.2], dtype=np.float32)
        frames[index] = replace(frames[index], label_scores=scores)
    return frames


@pytest.fixture
def student(tiny_config):
    torch.manual_seed(0)
    return build_network("student", tiny_config).eval()


def settings_of(config, **changes):
    return replace(config.training, semi_supervised=SemiSupervisedConfig(**changes))


class TestLabelledTerms:
    def test_each_kind_is_what_its_frames_give_alone_by_its_share(self, tiny_config, student, prepared):
        settings = settings_of(tiny_config, detection_weight=0.6)
        build = BatchBuilder(student.head.anchors, tiny_config)
        batch = build(prepared)
        terms = labelled_terms(student(batch.frames), batch, settings)
        for kind, share, chosen in (("", 0.5, prepared[0::2]), ("pseudo_", 0.3, prepared[1::2])):
            alone = build(chosen)
            expected = detection_terms(student(alone.frames), alone.anchors, settings.loss)
            for name in TERMS:
                got = terms[kind + name]
                assert torch.allclose(got.value, expected[name].value, rtol=1e-4)
                assert got.weight == pytest.approx(share * expected[name].weight)
        assert len(terms) == 6

    def test_without_a_teachers_labels_nothing_changes(self, tiny_config, student, prepared):
        batch = BatchBuilder(student.head.anchors, tiny_config)(prepared[0::2])
        assert batch.pseudo is None and batch.anchors.weight is None
        output = student(batch.frames)
        got = labelled_terms(output, batch, tiny_config.training)
        expected = detection_terms(output, batch.anchors, tiny_config.training.loss)
        assert {name: (term.value, term.weight) for name, term in got.items()} == {
            name: (term.value, term.weight) for name, term in expected.items()
        }

    def test_weight_zero_leaves_the_teachers_boxes_out(self, tiny_config, student, prepared):
        batch = BatchBuilder(student.head.anchors, tiny_config)(prepared)
        terms = labelled_terms(student(batch.frames), batch, settings_of(tiny_config, detection_weight=0.0))
        assert set(terms) == set(TERMS)

    def test_a_batch_of_one_kind_gives_zeros_that_can_be_differentiated_for_the_other(
        self, tiny_config, student, prepared
    ):
        batch = BatchBuilder(student.head.anchors, tiny_config)(prepared[1::2])
        terms = labelled_terms(student(batch.frames), batch, tiny_config.training)
        assert all(terms[name].value == 0 and terms[name].weight == 0 for name in TERMS)
        total(terms).backward()
        assert all(torch.isfinite(item.grad).all() for item in student.head.parameters())

    def test_a_frame_without_boxes_teaches_background(self, tiny_config, student, prepared):
        empty = replace(
            prepared[1],
            boxes_lidar=prepared[1].boxes_lidar[:0],
            labels=prepared[1].labels[:0],
            label_scores=prepared[1].label_scores[:0],
        )
        batch = BatchBuilder(student.head.anchors, tiny_config)([prepared[0], empty])
        terms = labelled_terms(student(batch.frames), batch, tiny_config.training)
        assert bool(batch.anchors.counted[1].all()) and terms["pseudo_cls"].value > 0
        assert terms["pseudo_box"].value == 0 == terms["pseudo_direction"].value


class TestWeights:
    def test_anchors_count_by_the_score_of_their_box(self, tiny_config, student, prepared):
        anchors = BatchBuilder(student.head.anchors, tiny_config)(prepared).anchors
        human = (anchors.sample == 0) | (anchors.sample == 2)
        by_score = torch.tensor([0.5, 0.8])[anchors.label]
        assert torch.equal(anchors.weight, torch.where(human, torch.ones(()), by_score))

    def test_and_not_where_that_is_switched_off(self, tiny_config, student, prepared):
        config = replace(tiny_config, training=settings_of(tiny_config, weigh_by_score=False))
        batch = BatchBuilder(student.head.anchors, config)(prepared)
        assert batch.anchors.weight is None and batch.pseudo.tolist() == [False, True, False, True]

    def test_losses_are_linear_in_them(self, tiny_config, student, prepared):
        batch = BatchBuilder(student.head.anchors, tiny_config)(prepared)
        output = student(batch.frames)

        def losses(weight: float) -> torch.Tensor:
            targets = replace(batch.anchors, weight=torch.full_like(batch.anchors.weight, weight))
            return torch.stack(
                [
                    class_loss(output.cls_logits, targets, 0.25, 2.0),
                    box_loss(output.box_codes, targets),
                    direction_loss(output.dir_logits, targets),
                ]
            )

        plain = replace(batch.anchors, weight=None)
        assert torch.allclose(losses(1.0)[0], class_loss(output.cls_logits, plain, 0.25, 2.0))
        assert torch.allclose(losses(1.0)[1], box_loss(output.box_codes, plain))
        assert torch.allclose(losses(1.0)[2], direction_loss(output.dir_logits, plain))
        assert torch.allclose(losses(0.5), (losses(0.0) + losses(1.0)) / 2)
        assert 0 < losses(0.0)[0] < losses(1.0)[0] and losses(0.0)[1] == 0 == losses(0.0)[2]


class TestTargetsOfFrames:
    def test_are_those_of_the_frames_alone(self, tiny_config, student, prepared):
        build = BatchBuilder(student.head.anchors, tiny_config)
        chosen = build(prepared).anchors.of_frames(torch.tensor([1, 3]))
        alone = build(prepared[1::2]).anchors
        for name in alone.__dataclass_fields__:
            assert torch.equal(getattr(chosen, name), getattr(alone, name))

    def test_of_none(self, tiny_config, student, prepared):
        none = BatchBuilder(student.head.anchors, tiny_config)(prepared).anchors.of_frames(torch.zeros(0).long())
        assert none.counted.shape[0] == 0 == len(none.sample) and none.box_codes.shape == (0, 7)
