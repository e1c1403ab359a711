import math
from types import SimpleNamespace

import pytest
import torch

from monotakd_ros.config import LossConfig
from monotakd_ros.training.depth_targets import DepthTargets
from monotakd_ros.training.losses import (
    LossTerm,
    box_loss,
    class_loss,
    depth_loss,
    depth_terms,
    detection_terms,
    direction_loss,
    total,
)
from monotakd_ros.training.targets import AnchorTargets

FRAMES, ANCHORS, CLASSES = 2, 5, 3


def anchor_targets(positives=((0, 1, 2), (1, 4, 0)), ignored=((0, 3),)) -> AnchorTargets:
    counted = torch.ones((FRAMES, ANCHORS), dtype=torch.bool)
    for frame, anchor in ignored:
        counted[frame, anchor] = False
    sample, anchor, label = torch.tensor(positives, dtype=torch.int64).reshape(-1, 3).unbind(dim=1)
    codes = torch.linspace(-1, 1, 7 * len(label)).view(-1, 7)
    return AnchorTargets(counted, sample, anchor, label, codes, torch.ones(len(label), dtype=torch.int64))


def depth_targets(bins=(3, 8), foreground=(True, False)) -> DepthTargets:
    count = len(bins)
    return DepthTargets(
        torch.zeros(count, dtype=torch.int64),
        torch.arange(count),
        torch.tensor(bins, dtype=torch.int64),
        torch.tensor(foreground, dtype=torch.bool),
    )


def outputs() -> SimpleNamespace:
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(shape, generator=generator).requires_grad_()

    return SimpleNamespace(
        cls_logits=noise(FRAMES, ANCHORS, CLASSES),
        box_codes=noise(FRAMES, ANCHORS, 7),
        dir_logits=noise(FRAMES, ANCHORS, 2),
        depth_logits=noise(FRAMES, 9, 2, 3),
    )


class TestClassLoss:
    def test_hand_number(self):
        logits = torch.zeros((FRAMES, ANCHORS, CLASSES))
        # p = 0.5 everywhere: 27 counted logits, of which 2 positive; ln 2 * 0.25 each, weighted 0.25 or 0.75
        each = 0.25 * math.log(2)
        expected = (2 * 0.25 + 25 * 0.75) * each / 2
        assert class_loss(logits, anchor_targets(), 0.25, 2.0).item() == pytest.approx(expected, rel=1e-6)

    def test_without_positives_it_is_the_background_sum(self):
        targets = anchor_targets(positives=(), ignored=())
        value = class_loss(torch.zeros((FRAMES, ANCHORS, CLASSES)), targets, 0.25, 2.0)
        assert value.item() == pytest.approx(30 * 0.75 * 0.25 * math.log(2), rel=1e-6)

    def test_ignored_anchors_get_no_gradient(self):
        logits = outputs().cls_logits
        class_loss(logits, anchor_targets(), 0.25, 2.0).backward()
        assert (logits.grad[0, 3] == 0).all()
        assert (logits.grad[0, 0] > 0).all()
        assert logits.grad[0, 1, 2] < 0 and logits.grad[1, 4, 0] < 0

    def test_perfect_and_extreme_logits_are_finite(self):
        logits = torch.full((FRAMES, ANCHORS, CLASSES), -200.0)
        logits[0, 1, 2] = logits[1, 4, 0] = 200.0
        assert class_loss(logits, anchor_targets(), 0.25, 2.0).item() == pytest.approx(0.0, abs=1e-12)
        assert math.isfinite(class_loss(-logits, anchor_targets(), 0.25, 2.0).item())


class TestBoxLoss:
    def test_zero_at_the_target_and_at_half_turns(self):
        targets = anchor_targets()
        codes = torch.full((FRAMES, ANCHORS, 7), 9.0)
        codes[targets.sample, targets.anchor] = targets.box_codes
        assert box_loss(codes, targets).item() == 0.0
        codes[..., 6] += math.pi
        assert box_loss(codes, targets).item() == pytest.approx(0.0, abs=1e-9)

    def test_hand_number(self):
        targets = anchor_targets()
        codes = torch.zeros((FRAMES, ANCHORS, 7))
        codes[targets.sample, targets.anchor] = targets.box_codes
        codes[0, 1, 0] += 0.1  # inside beta: 0.5 x^2 / beta
        codes[1, 4, 3] -= 1.0  # outside: |x| - beta / 2
        assert box_loss(codes, targets).item() == pytest.approx((0.5 * 0.01 * 9 + 1 - 1 / 18) / 2, rel=1e-5)

    def test_only_positives_get_gradient(self):
        codes = outputs().box_codes
        box_loss(codes, anchor_targets()).backward()
        moved = (codes.grad != 0).any(dim=2).nonzero().tolist()
        assert moved == [[0, 1], [1, 4]]

    def test_no_positives(self):
        codes = outputs().box_codes
        loss = box_loss(codes, anchor_targets(positives=()))
        loss.backward()
        assert loss.item() == 0 and (codes.grad == 0).all()


class TestDirectionLoss:
    def test_hand_number_and_gradient(self):
        logits = torch.zeros((FRAMES, ANCHORS, 2), requires_grad=True)
        loss = direction_loss(logits, anchor_targets())
        loss.backward()
        assert loss.item() == pytest.approx(math.log(2))
        assert (logits.grad != 0).any(dim=2).nonzero().tolist() == [[0, 1], [1, 4]]
        assert logits.grad[0, 1, 1] < 0


class TestDepthLoss:
    def test_hand_number(self):
        logits = torch.zeros((FRAMES, 9, 2, 3))
        each = 0.25 * (8 / 9) ** 2 * math.log(9)
        assert depth_loss(logits, depth_targets(), 13.0).item() == pytest.approx((13 + 1) * each / 2, rel=1e-5)

    def test_only_measured_cells_get_gradient(self):
        logits = outputs().depth_logits
        depth_loss(logits, depth_targets(), 13.0).backward()
        assert (logits.grad != 0).any(dim=1).nonzero().tolist() == [[0, 0, 0], [0, 0, 1]]
        assert logits.grad[0, 3, 0, 0] < 0 and logits.grad[0, 8, 0, 1] < 0

    def test_no_measured_cells(self):
        logits = outputs().depth_logits
        loss = depth_loss(logits, depth_targets((), ()), 13.0)
        loss.backward()
        assert loss.item() == 0 and (logits.grad == 0).all()


def all_terms(output) -> dict[str, LossTerm]:
    config = LossConfig()
    return detection_terms(output, anchor_targets(), config) | depth_terms(output, depth_targets(), config)


class TestTerms:
    @pytest.mark.parametrize(
        ("name", "moved"),
        [("cls", "cls_logits"), ("box", "box_codes"), ("direction", "dir_logits"), ("depth", "depth_logits")],
    )
    def test_each_term_moves_its_own_map_only(self, name, moved):
        output = outputs()
        all_terms(output)[name].value.backward()
        touched = {key for key, tensor in vars(output).items() if tensor.grad is not None and tensor.grad.any()}
        assert touched == {moved}

    def test_total_is_the_weighted_sum(self):
        terms = {"a": LossTerm(torch.tensor(2.0), 3.0), "b": LossTerm(torch.tensor(5.0), 0.5)}
        assert total(terms).item() == 8.5

    def test_half_precision_outputs_give_float32_losses(self):
        output = SimpleNamespace(**{key: tensor.bfloat16() for key, tensor in vars(outputs()).items()})
        terms = all_terms(output)
        assert {term.value.dtype for term in terms.values()} == {torch.float32}
