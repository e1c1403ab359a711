"""What a student is taught by frozen guides, as pure functions in float32: BEV maps, residual and head maps.

T is the teacher (LiDAR), A the assistant (camera lifted with measured depth), S the student; bars and hats as in the
paper. Frozen guides are detached here, so no term can move them. Every term is a mean over frames, so that it does not
grow with the batch; no frames give 0.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F

from monotakd_ros.config import DistillationConfig, MapScale
from monotakd_ros.training.losses import SMOOTH_L1_BETA, HeadOutput, LossTerm

MIN_RMS = 1e-6
MIN_FILL = 0.01
"""A teacher's map of a KITTI-like cloud fills 7 % of its entries."""


class GuideOutput(HeadOutput, Protocol):
    """What any network's forward gives, see `network.detection_output`."""

    bev: torch.Tensor


class TaughtOutput(GuideOutput, Protocol):
    """What a student's forward gives besides."""

    residual_bev: torch.Tensor | None
    assistant_bev: torch.Tensor | None


def map_rms(bev: torch.Tensor) -> torch.Tensor:
    """Root mean square (B, 1, 1, 1) of what is not 0 in each frame's map (B, C, Y, X), without gradient.

    Zeros do not count: how large a LiDAR network's features are must not follow from how much of the map is empty. 1
    for a map of zeros.
    """
    bev = bev.detach().float()
    count = (bev != 0).sum(dim=(1, 2, 3), keepdim=True)
    rms = (bev.square().sum(dim=(1, 2, 3), keepdim=True) / count.clamp(min=1)).sqrt()
    return torch.where(rms > MIN_RMS, rms, torch.ones_like(rms))


def map_energy(bev: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean square (B, 1, 1, 1) of each frame's map (B, C, Y, X), zeros counted, without gradient; 1 for zeros only.

    A map that fills less than `MIN_FILL` counts as if it filled that much: of a frame with a handful of LiDAR points
    there is little to say, and being wrong about it must not cost more than all other frames.

    Args:
        bev: of the guide.
        weight: of each entry, of the same shape; None weighs all alike.
    """
    squared = bev.detach().float().square()
    if weight is None:
        weight = torch.ones_like(squared)
    dims = (1, 2, 3)
    filled = (weight * (squared > 0)).sum(dim=dims, keepdim=True).clamp(min=MIN_RMS)
    share = filled / weight.sum(dim=dims, keepdim=True).clamp(min=MIN_RMS)
    energy = (weight * squared).sum(dim=dims, keepdim=True) / filled * share.clamp(min=MIN_FILL)
    return torch.where(energy > MIN_RMS**2, energy, torch.ones_like(energy))


def min_max(bev: torch.Tensor) -> torch.Tensor:
    """A batch's maps brought to 0..1 together, without gradient: the released code's normalisation."""
    bev = bev.detach().float()
    if bev.numel() == 0:
        return bev
    shifted = bev - bev.min()
    return shifted / shifted.max().clamp(min=MIN_RMS)


def cell_weights(teacher_logits: torch.Tensor, size: tuple[int, int], foreground_weight: float) -> torch.Tensor:
    """Weight (B, 1, Y, X) of each cell: 1 where the teacher sees nothing, up to `foreground_weight` where it is sure.

    w = 1 + (foreground_weight - 1) max over 3 x 3 cells, anchors and classes of sigmoid(teacher).

    A cell is as sure as the surest of its anchors and of those of the eight cells around it, because a detector is
    sure in the few cells about an object's centre. Without gradient.

    Args:
        teacher_logits: (B, Y * X * anchors of a cell, K), cells row by row.
        size: (Y, X).
        foreground_weight: of a cell with a score of 1.
    """
    scores = torch.sigmoid(teacher_logits.detach().float()).amax(dim=2)
    sure = scores.view(len(scores), *size, scores.shape[1] // math.prod(size)).amax(dim=3)
    sure = F.max_pool2d(sure[:, None], kernel_size=3, stride=1, padding=1)
    return 1 + (foreground_weight - 1) * sure


def map_loss(
    student_bev: torch.Tensor,
    guide_bev: torch.Tensor,
    scale: MapScale,
    joint: bool = False,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean squared difference of two maps (B, C, Y, X): MSE(F^S, F^G) / mean(F^G^2), undivided with scale `none`.

    - IMD, intra-modal: L_IMD = MSE(F^S_vis, F^A).
    - Direct cross-modal (CMKD, Hong et al., ECCV 2022): MSE(F^S_vis, F^T).
    - Alignment, in the assistant's training: MSE(F^A, F^T), a term of the released code's history.

    The divisor (`map_energy`, frame by frame) is the guide's alone: the student cannot shrink the loss by shrinking or
    stretching its map, and gets the full gradient. A silent student costs 1, whether the guide's map is dense, as an
    assistant's, or sparse, as a teacher's (less below `MIN_FILL`): one weight means the same for both. With `min_max`
    both sides are brought to 0..1 and detached: a figure, no gradient.

    Args:
        student_bev: F^S.
        guide_bev: F^G.
        scale: see there.
        joint: the guide learns too, as the assistant that is a branch of the student.
        weight: of each cell (B, 1, Y, X), in both means, frame by frame; None weighs all alike.

    Source: MonoTAKD (Liu et al., CVPR 2025), L_IMD.
    """
    if scale == "min_max":
        student_bev, guide_bev = min_max(student_bev), min_max(guide_bev)
    guide = guide_bev.float() if joint else guide_bev.detach().float()
    squared = (student_bev.float() - guide).square()
    if weight is not None:
        weight = weight.expand_as(squared)
        mean = weight.mean(dim=(1, 2, 3), keepdim=True)
        squared = squared * (weight / mean)
    if scale == "rms":
        squared = squared / map_energy(guide, weight)
    return squared.sum() / max(squared.numel(), 1)


def residual_target(teacher_bev: torch.Tensor, assistant_bev: torch.Tensor, config: DistillationConfig) -> torch.Tensor:
    """What the residual branch should give, (B, C, Y, X), in units of the assistant's map: it is added to such a map.

    F^res = rms(F^A) [F^T / rms(F^T) - F^A / rms(F^A)], of which `residual_part` is kept, and 0 where that is below
    `residual_threshold` times the frame's largest. Both maps are scaled alike, so that the residual says where they
    differ and not that one network's features are larger; with `residual_scale` none it is F^T - F^A itself.

    The largest is each frame's own: what a frame teaches does not depend on its neighbours in the batch. `min_max`
    repeats the released code: |N(F^A) - F^T|, N bringing to 0..1, and the largest is the batch's.

    An assistant that is a branch of the student keeps its gradient (but not through `min_max`).

    Source: MonoTAKD (Liu et al., CVPR 2025), residual F^T - F^A, "binarised to keep the important regions".
    """
    teacher, assistant = teacher_bev.detach().float(), assistant_bev.float()
    if config.assistant == "frozen":
        assistant = assistant.detach()
    if config.residual_scale == "rms":
        teacher = teacher * (map_rms(assistant) / map_rms(teacher))
    if config.map_scale == "min_max":
        assistant = min_max(assistant)
    residual = teacher - assistant
    residual = residual.abs() if config.residual_part == "absolute" else residual.clamp(min=0)
    if residual.numel() == 0:
        return residual
    dims = (0, 1, 2, 3) if config.map_scale == "min_max" else (1, 2, 3)
    floor = config.residual_threshold * residual.detach().amax(dim=dims, keepdim=True)
    return torch.where(residual < floor, torch.zeros_like(residual), residual)  # a NaN stays one, to be noticed


def cmrd_loss(
    residual_bev: torch.Tensor, teacher_bev: torch.Tensor, assistant_bev: torch.Tensor, config: DistillationConfig
) -> torch.Tensor:
    """Cross-modal residual distillation: L_CMRD = MSE(Fbar^S_spa, F^res) / mean(F^res^2), undivided with scale `none`.

    Both means are weighted: `residual_foreground_weight` where F^res is not 0, 1 elsewhere. A silent branch costs 1,
    however little the residual is.

    Args:
        residual_bev: (B, C, Y, X) Fbar^S_spa, the residual branch after the Spatial Alignment Module.
        teacher_bev: (B, C, Y, X) F^T.
        assistant_bev: (B, C, Y, X) F^A.
        config: what counts as residual.

    Source: MonoTAKD (Liu et al., CVPR 2025), L_CMRD.
    """
    target = residual_target(teacher_bev, assistant_bev, config)
    weight = torch.where(target > 0, config.residual_foreground_weight, 1.0)
    squared = (residual_bev.float() - target).square() * weight
    by_frame = squared.flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1)
    if config.map_scale == "rms":
        by_frame = by_frame / map_energy(target, weight).flatten()
    return by_frame.sum() / max(len(by_frame), 1)


def soft_class_loss(cls_logits: torch.Tensor, teacher_logits: torch.Tensor, threshold: float) -> torch.Tensor:
    """Quality focal loss towards the teacher's scores s = sigmoid(teacher): |p - s|^2 BCE(p, s), p = sigmoid(student).

    Summed over anchors, divided by the anchors with s above `threshold` (at least 1) of that frame and class, summed
    over classes, mean over frames. 0 where both agree; every anchor counts, so that the teacher's silence teaches too.

    Args:
        cls_logits: (B, A, K) of the student.
        teacher_logits: (B, A, K).
        threshold: score above which an anchor counts as an object.

    Source: Generalized Focal Loss (Li et al., NeurIPS 2020), eq. 5, beta 2; normaliser of the released code, which
    sums over frames instead (the same at its batch of one).
    """
    scores = torch.sigmoid(teacher_logits.detach().float())
    logits = cls_logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, scores, reduction="none")
    focal = entropy * (torch.sigmoid(logits) - scores).square()
    objects = (scores > threshold).sum(dim=1).clamp(min=1)
    return (focal.sum(dim=1) / objects).sum() / max(len(logits), 1)


def soft_positives(teacher_logits: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The anchors in which the teacher sees an object, and how sure it is.

    Args:
        teacher_logits: (B, A, K).
        threshold: an anchor counts when its scores, summed over classes, are above.

    Returns:
        (P,) int64 frame, (P,) int64 anchor, (P,) float32 weight: the sum of scores divided by the frame's number of
        such anchors and by B.
    """
    certainty = torch.sigmoid(teacher_logits.detach().float()).sum(dim=2)
    positive = ~(certainty <= threshold)  # so that a NaN is one, and reaches the loss to be noticed
    frame, anchor = torch.nonzero(positive, as_tuple=True)
    return frame, anchor, certainty[frame, anchor] / (positive.sum(dim=1)[frame] * len(positive))


def soft_box_loss(
    box_codes: torch.Tensor, teacher_codes: torch.Tensor, teacher_logits: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Smooth L1 (beta 1/9) between student's and teacher's codes (B, A, 7) at the soft positives, by their weights.

    The heading enters as the sine of the difference, as in `losses.box_loss`.

    Source: MonoTAKD (Liu et al., CVPR 2025), regression part of L_logit; weights of the released code.
    """
    frame, anchor, weight = soft_positives(teacher_logits, threshold)
    difference = box_codes[frame, anchor].float() - teacher_codes.detach()[frame, anchor].float()
    error = torch.cat([difference[:, :6], torch.sin(difference[:, 6:])], dim=1)
    loss = F.smooth_l1_loss(error, torch.zeros_like(error), beta=SMOOTH_L1_BETA, reduction="none")
    return (loss.sum(dim=1) * weight).sum()


def soft_direction_loss(
    dir_logits: torch.Tensor, teacher_dir_logits: torch.Tensor, teacher_logits: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Cross-entropy of the bins (B, A, 2) with the teacher's likelier one, at the soft positives, by their weights.

    Source: the released code's direction part of L_logit.
    """
    frame, anchor, weight = soft_positives(teacher_logits, threshold)
    bins = teacher_dir_logits.detach()[frame, anchor].argmax(dim=1)
    entropy = F.cross_entropy(dir_logits[frame, anchor].float(), bins, reduction="none")
    return (entropy * weight).sum()


def alignment_terms(output: GuideOutput, teacher: GuideOutput, config: DistillationConfig) -> dict[str, LossTerm]:
    """What a teacher teaches an assistant."""
    return {
        "alignment": LossTerm(map_loss(output.bev, teacher.bev, config.map_scale), config.alignment_weight, "cloud")
    }


def distillation_terms(
    output: TaughtOutput, teacher: GuideOutput | None, assistant: GuideOutput | None, config: DistillationConfig
) -> dict[str, LossTerm]:
    """The terms with a weight above 0, of the same frames in all three outputs.

    Args:
        output: the student's; with `residual_bev` where `cmrd_weight` is above 0, `assistant_bev` of its own branch.
        teacher: needed by all terms but `imd`.
        assistant: needed by `imd` and `cmrd`, where it is frozen.
        config: weights and settings.
    """
    scale, threshold, joint = config.map_scale, config.soft_label_threshold, config.assistant == "branch"
    assistant_bev = output.assistant_bev if joint else None if assistant is None else assistant.bev
    weight = None
    if config.weighs_foreground:
        assert teacher is not None
        weight = cell_weights(teacher.cls_logits, output.bev.shape[-2:], config.foreground_weight)
    terms = {}
    if config.imd_weight:
        assert assistant_bev is not None
        terms["imd"] = LossTerm(map_loss(output.bev, assistant_bev, scale, joint, weight), config.imd_weight, "cloud")
    if config.cmrd_weight:
        assert teacher is not None and assistant_bev is not None and output.residual_bev is not None
        value = cmrd_loss(output.residual_bev, teacher.bev, assistant_bev, config)
        terms["cmrd"] = LossTerm(value, config.cmrd_weight, "cloud")
    if joint and config.alignment_weight:
        assert teacher is not None and assistant_bev is not None
        terms["alignment"] = LossTerm(map_loss(assistant_bev, teacher.bev, scale), config.alignment_weight, "cloud")
    if config.direct_weight:
        assert teacher is not None
        value = map_loss(output.bev, teacher.bev, scale, weight=weight)
        terms["direct"] = LossTerm(value, config.direct_weight, "cloud")
    return terms | (_logit_terms(output, teacher, config, threshold) if teacher is not None else {})


def _logit_terms(
    output: HeadOutput, teacher: HeadOutput, config: DistillationConfig, threshold: float
) -> dict[str, LossTerm]:
    terms = {}
    scores = teacher.cls_logits
    if config.logit_cls_weight:
        value = soft_class_loss(output.cls_logits, scores, threshold)
        terms["logit_cls"] = LossTerm(value, config.logit_cls_weight, "cloud")
    if config.logit_box_weight:
        value = soft_box_loss(output.box_codes, teacher.box_codes, scores, threshold)
        terms["logit_box"] = LossTerm(value, config.logit_box_weight, "cloud")
    if config.logit_direction_weight:
        value = soft_direction_loss(output.dir_logits, teacher.dir_logits, scores, threshold)
        terms["logit_direction"] = LossTerm(value, config.logit_direction_weight, "cloud")
    return terms
