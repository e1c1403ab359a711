import math
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

from monotakd_ros.config import DistillationConfig
from monotakd_ros.errors import ConfigError
from monotakd_ros.training.distillation_losses import (
    cell_weights,
    cmrd_loss,
    distillation_terms,
    map_energy,
    map_loss,
    map_rms,
    min_max,
    residual_target,
    soft_box_loss,
    soft_class_loss,
    soft_direction_loss,
    soft_positives,
)
from monotakd_ros.training.guide_maps import ASSISTANT_BEV, TEACHER_HEAD, needed_parts

FRAMES, CHANNELS, ROWS, COLUMNS = 2, 3, 4, 5
ANCHORS, CLASSES = 6, 2
PLAIN = DistillationConfig(map_scale="none", residual_scale="none", residual_threshold=0.0)
ALL_ON = DistillationConfig(
    imd_weight=1.0,
    cmrd_weight=2.0,
    direct_weight=3.0,
    logit_cls_weight=4.0,
    logit_box_weight=5.0,
    logit_direction_weight=6.0,
)


def map_of(*values: float) -> torch.Tensor:
    """One frame of one channel and one row."""
    return torch.tensor(values).view(1, 1, 1, -1)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bev(seed: int) -> torch.Tensor:
    """Not negative, as what ends in a ReLU."""
    return noise(seed, FRAMES, CHANNELS, ROWS, COLUMNS).clamp(min=0)


def outputs(seed: int, frames: int = FRAMES) -> SimpleNamespace:
    maps = SimpleNamespace(
        cls_logits=noise(seed, frames, ANCHORS, CLASSES),
        box_codes=noise(seed + 1, frames, ANCHORS, 7),
        dir_logits=noise(seed + 2, frames, ANCHORS, 2),
        bev=noise(seed + 3, frames, CHANNELS, ROWS, COLUMNS).clamp(min=0),
        residual_bev=noise(seed + 4, frames, CHANNELS, ROWS, COLUMNS).clamp(min=0),
    )
    for tensor in vars(maps).values():
        tensor.requires_grad_()
    return maps


class TestMinMax:
    """The released code's normalisation."""

    def test_hand_numbers(self):
        both = torch.cat([map_of(-1.0, 1.0), map_of(3.0, 0.0)])
        assert min_max(both).flatten().tolist() == [0.0, 0.5, 1.0, 0.25]

    def test_maps_without_contrast_and_without_frames(self):
        assert min_max(map_of(2.0, 2.0)).flatten().tolist() == [0.0, 0.0]
        assert min_max(torch.zeros(0, 1, 1, 2)).shape == (0, 1, 1, 2)

    def test_it_teaches_nothing(self):
        student = map_of(1.0, 2.0, 4.0).requires_grad_()
        loss = map_loss(student, map_of(0.0, 8.0, 8.0), "min_max")
        assert loss.item() == pytest.approx(((1 / 3 - 1) ** 2) / 3) and not loss.requires_grad

    def test_residual_of_the_batch(self):
        config = replace(PLAIN, map_scale="min_max", residual_part="absolute", residual_threshold=0.5)
        teacher, assistant = map_of(0.0, 3.0, 1.0, 5.0), map_of(0.0, 2.0, 4.0, 0.0)
        assert residual_target(teacher, assistant, config).flatten().tolist() == [0.0, 2.5, 0.0, 5.0]
        both = residual_target(torch.cat([teacher, 10 * teacher]), torch.cat([assistant, assistant]), config)
        assert both[0].flatten().tolist() == [0.0, 0.0, 0.0, 0.0], "the other frame's largest is the limit"


class TestBranch:
    """An assistant that is part of the student learns from the terms; a frozen one does not."""

    @pytest.mark.parametrize("form", ["frozen", "branch"])
    def test_who_gets_gradients(self, form):
        config = replace(PLAIN, assistant=form, imd_weight=1.0, cmrd_weight=1.0, alignment_weight=1.0)
        student, teacher, assistant = outputs(0), outputs(10), outputs(20)
        student.assistant_bev = None if form == "frozen" else assistant.bev
        terms = distillation_terms(student, teacher, assistant if form == "frozen" else None, config)
        assert set(terms) == {"imd", "cmrd"} | ({"alignment"} if form == "branch" else set())
        for name, term in terms.items():
            gradient = torch.autograd.grad(term.value, assistant.bev, allow_unused=True, retain_graph=True)[0]
            assert (gradient is not None) == (form == "branch"), name
            assert torch.autograd.grad(term.value, teacher.bev, allow_unused=True, retain_graph=True) == (None,)


class TestMapLoss:
    def test_hand_numbers(self):
        student, guide = map_of(1.0, 2.0), map_of(3.0, 4.0)
        assert map_loss(student, guide, "none").item() == 4.0
        assert map_loss(student, guide, "rms").item() == pytest.approx(4.0 / 12.5)

    def test_each_frame_in_its_own_units(self):
        guide = torch.cat([map_of(3.0, 4.0), map_of(30.0, 40.0)])
        student = torch.cat([map_of(1.0, 2.0), map_of(10.0, 20.0)])
        assert map_loss(student, guide, "rms").item() == pytest.approx(4.0 / 12.5)

    @pytest.mark.parametrize("scale", ["rms", "none"])
    def test_zero_when_equal(self, scale):
        assert map_loss(bev(0), bev(0), scale).item() == 0.0

    def test_symmetric_without_scale_and_only_then(self):
        a, b = bev(0), 2 * bev(1)
        assert map_loss(a, b, "none").item() == map_loss(b, a, "none").item()
        assert map_loss(a, b, "rms").item() != pytest.approx(map_loss(b, a, "rms").item())

    def test_units_do_not_matter_but_the_students_own_scale_does(self):
        student, guide = bev(0), bev(1)
        expected = map_loss(student, guide, "rms").item()
        assert map_loss(7 * student, 7 * guide, "rms").item() == pytest.approx(expected, rel=1e-5)
        assert map_loss(7 * student, guide, "rms").item() > 2 * expected

    @pytest.mark.parametrize("scale", ["rms", "none"])
    def test_the_student_gets_the_gradient_towards_the_guide_and_the_guide_none(self, scale):
        student, guide = bev(0).requires_grad_(), bev(1).requires_grad_()
        map_loss(student, guide, scale).backward()
        assert guide.grad is None
        apart = student.detach() != guide.detach()
        assert torch.equal(student.grad.sign()[apart], (student - guide).detach().sign()[apart])

    def test_a_silent_student_costs_one_whether_the_guide_is_full_or_nearly_empty(self):
        for guide in (1 + bev(1), bev(1) * (noise(5, FRAMES, CHANNELS, ROWS, COLUMNS) > 1)):
            assert map_loss(0 * bev(0), guide, "rms").item() == pytest.approx(1.0)

    def test_a_guide_that_says_next_to_nothing_does_not_outweigh_the_others(self):
        guide = torch.zeros(1, 10, 100, 100)
        guide[0, 0, 0, :10] = 2.0
        assert map_energy(guide).item() == pytest.approx(4 * 0.01), "1e-4 of the entries count as a hundredth"
        student = torch.ones_like(guide)
        guide[0, :, 0] = 2.0
        full = map_loss(student, guide, "rms").item()
        guide[0, :, 0, 1:] = 0
        assert map_loss(student, guide, "rms").item() == pytest.approx(full)

    def test_energy_by_hand(self):
        both = torch.cat([map_of(3.0, 0.0, 3.0), map_of(0.0, 0.0, 0.0)])
        assert map_energy(both).flatten().tolist() == [6.0, 1.0]
        assert map_energy(both, torch.cat([map_of(1.0, 2.0, 0.0), map_of(1.0, 1.0, 1.0)])).flatten().tolist() == [3, 1]
        assert map_energy(torch.zeros(0, 1, 1, 2)).shape == (0, 1, 1, 1)

    def test_a_nearly_empty_map_has_the_units_of_a_full_one(self):
        assert map_rms(torch.cat([map_of(3.0, 3.0, 3.0), map_of(0.0, 3.0, 0.0)])).flatten().tolist() == [3.0, 3.0]

    def test_a_guide_that_sees_nothing_pulls_to_zero_in_plain_units(self):
        assert map_rms(torch.zeros(1, 1, 1, 2)).item() == 1.0
        assert map_loss(map_of(1.0, 3.0), map_of(0.0, 0.0), "rms").item() == 5.0


class TestForeground:
    """Cells in which the teacher sees an object weigh more in `imd` and `direct`."""

    def test_cells_about_a_sure_anchor(self):
        logits = torch.full((1, 4 * 5 * 2, 3), -100.0)
        logits[0, (1 * 5 + 3) * 2 + 1, 2] = 100.0  # row 1, column 3, second anchor
        weights = cell_weights(logits, (4, 5), 9.0)
        expected = torch.ones(4, 5)
        expected[0:3, 2:5] = 9.0
        assert weights.shape == (1, 1, 4, 5)
        torch.testing.assert_close(weights[0, 0], expected)

    def test_half_sure_counts_half(self):
        logits = torch.full((1, 1, 3), -100.0)
        logits[0, 0, 1] = 0.0
        assert cell_weights(logits, (1, 1), 9.0).item() == 5.0

    def test_no_frames(self):
        weights = cell_weights(torch.zeros(0, 40, 3), (4, 5), 9.0)
        assert weights.shape == (0, 1, 4, 5)
        assert map_loss(torch.zeros(0, 2, 4, 5), torch.zeros(0, 2, 4, 5), "rms", weight=weights).item() == 0.0

    def test_hand_numbers(self):
        student, guide, weight = map_of(1.0, 2.0), map_of(3.0, 3.0), map_of(3.0, 1.0)
        assert map_loss(student, guide, "none", weight=weight).item() == (3 * 4 + 1) / 4
        assert map_loss(student, guide, "rms", weight=weight).item() == pytest.approx((3 * 4 + 1) / 4 / 9)

    def test_equal_weights_change_nothing_and_silence_costs_one(self):
        student, guide = bev(0), bev(1)
        same = torch.full((FRAMES, 1, ROWS, COLUMNS), 7.0)
        assert map_loss(student, guide, "rms", weight=same).item() == pytest.approx(
            map_loss(student, guide, "rms").item()
        )
        some = 1 + 10 * torch.rand(FRAMES, 1, ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
        assert map_loss(0 * student, 1 + guide, "rms", weight=some).item() == pytest.approx(1.0)

    @pytest.mark.parametrize("term", ["imd", "direct"])
    def test_the_term_minds_objects_more(self, term):
        """Being wrong where the teacher sees an object costs more than being as wrong elsewhere."""
        config = DistillationConfig(**{f"{term}_weight": 1.0}, foreground_weight=20.0)
        teacher, assistant, student = (outputs(seed) for seed in (0, 0, 0))
        logits = torch.full((FRAMES, ROWS * COLUMNS, CLASSES), -100.0)
        logits[:, 0] = 100.0
        teacher.cls_logits = logits
        costs = []
        for row, column in ((0, 0), (3, 4)):
            wrong = teacher.bev.detach().clone()
            wrong[:, :, row, column] += 1.0
            student.bev = wrong
            costs.append(distillation_terms(student, teacher, assistant, config)[term].value.item())
        assert costs[0] == pytest.approx(20 * costs[1])

    def test_it_asks_for_the_teachers_head(self):
        asked = DistillationConfig(imd_weight=1.0, foreground_weight=20.0)
        assert asked.teacher_weights == ("foreground_weight",) and asked.assistant_weights == ("imd_weight",)
        assert needed_parts("student", asked) == (TEACHER_HEAD, ASSISTANT_BEV)
        assert DistillationConfig(foreground_weight=20.0).teacher_weights == ()
        assert DistillationConfig(imd_weight=1.0).teacher_weights == ()

    @pytest.mark.parametrize(
        "changes",
        [{"foreground_weight": 0.0}, {"foreground_weight": 2.0, "map_scale": "min_max", "residual_scale": "none"}],
    )
    def test_what_makes_no_sense_is_refused(self, changes):
        with pytest.raises(ConfigError, match=r"training\.distillation\.foreground_weight"):
            DistillationConfig(imd_weight=1.0, **changes)


class TestResidual:
    def test_hand_numbers(self):
        teacher, assistant = map_of(1.0, 5.0, 2.0), map_of(2.0, 1.0, 0.0)
        assert residual_target(teacher, assistant, PLAIN).flatten().tolist() == [0.0, 4.0, 2.0]
        absolute = replace(PLAIN, residual_part="absolute")
        assert residual_target(teacher, assistant, absolute).flatten().tolist() == [1.0, 4.0, 2.0]
        assert residual_target(teacher, assistant, replace(absolute, residual_threshold=0.5)).flatten().tolist() == [
            0.0,
            4.0,
            2.0,
        ]
        assert residual_target(teacher, assistant, replace(absolute, residual_threshold=0.6)).flatten().tolist() == [
            0.0,
            4.0,
            0.0,
        ]

    def test_like_with_like(self):
        config = DistillationConfig(residual_threshold=0.0)
        teacher, assistant = map_of(0.0, 0.5), map_of(7.0, 1.0)
        # rms of the teacher 0.5, of the assistant 5: 0.5 is 5 in the assistant's units
        assert residual_target(teacher, assistant, config).flatten().tolist() == pytest.approx([0.0, 5.0 - 1.0])
        a, b = bev(0), bev(1)
        expected = residual_target(a, b, config)
        torch.testing.assert_close(residual_target(100 * a, b, config), expected)
        torch.testing.assert_close(residual_target(a, 100 * b, config), 100 * expected)

    @pytest.mark.parametrize("part", ["positive", "absolute"])
    def test_zero_when_equal_up_to_scale(self, part):
        config = DistillationConfig(residual_part=part)
        assert residual_target(4 * bev(0), bev(0), config).abs().max().item() < 1e-5

    def test_absolute_is_symmetric_and_positive_parts_add_up_to_it(self):
        absolute = replace(PLAIN, residual_part="absolute")
        a, b = bev(0), bev(1)
        assert torch.equal(residual_target(a, b, absolute), residual_target(b, a, absolute))
        assert torch.equal(residual_target(a, b, PLAIN) + residual_target(b, a, PLAIN), residual_target(a, b, absolute))

    def test_added_to_the_assistants_map_it_is_the_larger_of_both(self):
        a, b = bev(0), bev(1)
        torch.testing.assert_close(b + residual_target(a, b, PLAIN), torch.maximum(a, b))

    def test_a_dense_assistant_beside_a_sparse_teacher(self):
        """As aligned guides are: what the teacher has beyond the assistant is kept, and lost in units of their rms."""
        teacher = map_of(*[0.0] * 19, 3.0)
        assistant = map_of(*[0.1] * 19, 1.0)
        assert residual_target(teacher, assistant, PLAIN).flatten().tolist() == [0.0] * 19 + [2.0]
        assert not residual_target(teacher, assistant, replace(PLAIN, residual_scale="rms")).any()

    def test_a_frames_target_does_not_depend_on_its_neighbours(self):
        config = replace(PLAIN, residual_threshold=0.5)
        a, b = bev(0), bev(1)
        scaled = torch.cat([a[:1], 1000 * a[1:]])
        assert residual_target(scaled[:1], b[:1], config).any()
        assert torch.equal(residual_target(scaled, b, config)[:1], residual_target(a[:1], b[:1], config))

    def test_a_higher_threshold_keeps_less_of_the_same(self):
        a, b = bev(0), bev(1)
        low, high = (residual_target(a, b, replace(PLAIN, residual_threshold=share)) for share in (0.2, 0.6))
        assert (high > 0).sum() < (low > 0).sum()
        assert torch.equal(low[high > 0], high[high > 0])

    def test_a_broken_map_stays_visible(self):
        broken = map_of(1.0, math.nan)
        assert residual_target(broken, map_of(0.5, 0.5), DistillationConfig()).isnan().any()
        assert cmrd_loss(map_of(0.0, 0.0), broken, map_of(0.5, 0.5), DistillationConfig()).isnan()

    def test_two_scales_are_refused(self):
        with pytest.raises(ConfigError, match=r"training\.distillation\.residual_scale"):
            DistillationConfig(map_scale="min_max")


class TestCmrdLoss:
    def test_hand_numbers(self):
        residual, teacher, assistant = map_of(1.0, 1.0), map_of(3.0, 0.0), map_of(0.0, 4.0)
        assert cmrd_loss(residual, teacher, assistant, PLAIN).item() == (4.0 + 1.0) / 2  # towards (3, 0)
        foreground = replace(PLAIN, residual_foreground_weight=3.0)
        assert cmrd_loss(residual, teacher, assistant, foreground).item() == (3 * 4.0 + 1.0) / 4
        config = DistillationConfig(residual_scale="none")  # towards (3, 0), of mean square 4.5
        assert cmrd_loss(residual, teacher, assistant, config).item() == pytest.approx((4.0 + 1.0) / 2 / 4.5)
        # rms of teacher and assistant 3 and 4: towards (4, 0), of mean square 8
        config = replace(config, residual_scale="rms")
        assert cmrd_loss(residual, teacher, assistant, config).item() == pytest.approx((9.0 + 1.0) / 2 / 8)
        config = replace(config, residual_foreground_weight=3.0)
        assert cmrd_loss(residual, teacher, assistant, config).item() == pytest.approx((3 * 9.0 + 1.0) / (3 * 16.0))

    @pytest.mark.parametrize("weight", [1.0, 20.0])
    def test_a_silent_branch_costs_one(self, weight):
        config = DistillationConfig(residual_foreground_weight=weight)
        teacher = bev(1) * (noise(5, FRAMES, CHANNELS, ROWS, COLUMNS) > 1)
        assert cmrd_loss(0 * bev(0), teacher, bev(2), config).item() == pytest.approx(1.0)

    def test_zero_at_its_target(self):
        config = DistillationConfig()
        assert cmrd_loss(residual_target(bev(0), bev(1), config), bev(0), bev(1), config).item() == 0.0

    def test_frames_count_alike(self):
        config = DistillationConfig(residual_foreground_weight=5.0)
        maps = [bev(seed) for seed in range(3)]
        each = [cmrd_loss(*(item[i : i + 1] for item in maps), config).item() for i in range(FRAMES)]
        assert cmrd_loss(*maps, config).item() == pytest.approx(sum(each) / FRAMES)

    def test_only_the_branch_gets_a_gradient(self):
        residual, teacher, assistant = (bev(seed).requires_grad_() for seed in range(3))
        cmrd_loss(residual, teacher, assistant, DistillationConfig()).backward()
        assert teacher.grad is None and assistant.grad is None
        target = residual_target(teacher, assistant, DistillationConfig())
        assert torch.equal(residual.grad.sign(), (residual - target).detach().sign())


class TestSoftClasses:
    def test_hand_number(self):
        teacher = torch.full((1, 2, 2), -100.0)
        teacher[0, :, 0] = 100.0  # two objects of the first class, none of the second
        student = torch.zeros((1, 2, 2))
        each = 0.25 * math.log(2)
        assert soft_class_loss(student, teacher, 0.1).item() == pytest.approx(2 * each / 2 + 2 * each / 1, rel=1e-6)

    def test_a_soft_score(self):
        teacher, student = torch.tensor([[[math.log(4)]]]), torch.zeros((1, 1, 1))  # 0.8 and 0.5
        assert soft_class_loss(student, teacher, 0.1).item() == pytest.approx(0.3**2 * math.log(2), rel=1e-5)

    def test_zero_when_equal(self):
        logits = noise(0, FRAMES, ANCHORS, CLASSES)
        assert soft_class_loss(logits, logits, 0.1).item() == 0.0

    def test_frames_count_alike_and_repeating_them_changes_nothing(self):
        student, teacher = noise(0, FRAMES, ANCHORS, CLASSES), noise(1, FRAMES, ANCHORS, CLASSES)
        once = soft_class_loss(student, teacher, 0.1).item()
        twice = soft_class_loss(student.repeat(2, 1, 1), teacher.repeat(2, 1, 1), 0.1).item()
        assert twice == pytest.approx(once)

    def test_pulls_towards_the_teacher(self):
        student = noise(0, FRAMES, ANCHORS, CLASSES).requires_grad_()
        teacher = (student.detach() + noise(1, FRAMES, ANCHORS, CLASSES)).requires_grad_()
        soft_class_loss(student, teacher, 0.1).backward()
        assert teacher.grad is None
        assert torch.equal(student.grad.sign(), (student - teacher).detach().sign())

    def test_extreme_logits_are_finite(self):
        extreme = torch.tensor([[[200.0], [-200.0]]])
        assert math.isfinite(soft_class_loss(-extreme, extreme, 0.1).item())


def sure(positives=((0, 1), (1, 4)), logit: float = 100.0) -> torch.Tensor:
    """Teacher logits (B, A, K) sure of class 0 at the (frame, anchor) `positives`."""
    logits = torch.full((FRAMES, ANCHORS, CLASSES), -100.0)
    for frame, anchor in positives:
        logits[frame, anchor, 0] = logit
    return logits


class TestSoftPositives:
    def test_weights_are_scores_shared_by_the_frames_positives(self):
        logits = sure(((0, 1), (0, 2), (1, 4)))
        logits[1, 4] = 0.0  # 0.5 of either class
        frame, anchor, weight = soft_positives(logits, 0.1)
        assert (frame.tolist(), anchor.tolist()) == ([0, 0, 1], [1, 2, 4])
        assert weight.tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 2])

    def test_below_the_threshold_there_are_none(self):
        score = math.log(0.04 / 0.96)
        logits = torch.full((1, 1, 2), score)
        assert len(soft_positives(logits, 0.1)[0]) == 0 and len(soft_positives(logits, 0.07)[0]) == 1

    def test_a_broken_score_reaches_the_loss(self):
        codes = torch.zeros((FRAMES, ANCHORS, 7))
        assert soft_box_loss(codes, codes, sure() * math.nan, 0.1).isnan()


class TestSoftBoxes:
    def test_hand_number(self):
        teacher = noise(0, FRAMES, ANCHORS, 7)
        student = teacher.clone()
        student[0, 1, 0] += 0.1  # inside beta: 0.5 x^2 / beta
        student[1, 4, 3] -= 1.0  # outside: |x| - beta / 2
        student[0, 0] += 5.0  # no object there
        expected = (0.5 * 0.01 * 9 + 1 - 1 / 18) / FRAMES
        assert soft_box_loss(student, teacher, sure(), 0.1).item() == pytest.approx(expected, rel=1e-5)

    def test_half_turns_cost_nothing(self):
        teacher = noise(0, FRAMES, ANCHORS, 7)
        student = teacher.clone()
        student[..., 6] += math.pi
        assert soft_box_loss(student, teacher, sure(), 0.1).item() == pytest.approx(0.0, abs=1e-9)

    def test_only_positives_of_the_student_get_gradient(self):
        student, teacher, logits = noise(0, 2, 6, 7), noise(1, 2, 6, 7), sure()
        for tensor in (student, teacher, logits):
            tensor.requires_grad_()
        soft_box_loss(student, teacher, logits, 0.1).backward()
        assert (student.grad != 0).any(dim=2).nonzero().tolist() == [[0, 1], [1, 4]]
        assert teacher.grad is None and logits.grad is None

    def test_a_teacher_that_sees_nothing(self):
        student = noise(0, FRAMES, ANCHORS, 7).requires_grad_()
        loss = soft_box_loss(student, noise(1, FRAMES, ANCHORS, 7), sure(()), 0.1)
        loss.backward()
        assert loss.item() == 0 and (student.grad == 0).all()


class TestSoftDirections:
    def test_hand_number_and_gradient(self):
        student = torch.zeros((FRAMES, ANCHORS, 2), requires_grad=True)
        teacher = torch.tensor([-1.0, 3.0]).expand(FRAMES, ANCHORS, 2)
        loss = soft_direction_loss(student, teacher, sure(), 0.1)
        loss.backward()
        assert loss.item() == pytest.approx(math.log(2))
        assert (student.grad != 0).any(dim=2).nonzero().tolist() == [[0, 1], [1, 4]]
        assert student.grad[0, 1, 1] < 0


class TestTerms:
    @pytest.mark.parametrize(
        ("name", "moved"),
        [
            ("imd", "bev"),
            ("cmrd", "residual_bev"),
            ("direct", "bev"),
            ("logit_cls", "cls_logits"),
            ("logit_box", "box_codes"),
            ("logit_direction", "dir_logits"),
        ],
    )
    def test_each_term_moves_its_own_map_of_the_student_only(self, name, moved):
        student, teacher, assistant = outputs(0), outputs(10), outputs(20)
        distillation_terms(student, teacher, assistant, ALL_ON)[name].value.backward()
        touched = [
            (who, key)
            for who, output in (("student", student), ("teacher", teacher), ("assistant", assistant))
            for key, tensor in vars(output).items()
            if tensor.grad is not None and tensor.grad.any()
        ]
        assert touched == [("student", moved)]

    def test_weights(self):
        terms = distillation_terms(outputs(0), outputs(10), outputs(20), ALL_ON)
        weights = {f"{name}_weight": term.weight for name, term in terms.items()}
        assert weights == {f.name: getattr(ALL_ON, f.name) for f in fields(ALL_ON) if f.name in weights}
        assert len(terms) == 6

    def test_terms_without_weight_are_not_there(self):
        assert distillation_terms(outputs(0), outputs(10), outputs(20), DistillationConfig()) == {}
        assert set(distillation_terms(outputs(0), None, outputs(20), DistillationConfig(imd_weight=0.1))) == {"imd"}

    def test_no_frames_give_zero(self):
        terms = distillation_terms(outputs(0, 0), outputs(10, 0), outputs(20, 0), ALL_ON)
        assert {term.value.item() for term in terms.values()} == {0.0}

    def test_half_precision_maps_give_float32_losses(self):
        maps = [
            SimpleNamespace(**{key: value.bfloat16() for key, value in vars(outputs(seed)).items()})
            for seed in (0, 10, 20)
        ]
        terms = distillation_terms(*maps, ALL_ON)
        assert {term.value.dtype for term in terms.values()} == {torch.float32}
