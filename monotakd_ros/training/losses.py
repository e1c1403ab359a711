"""The losses as pure functions of network outputs and targets, in float32.

Each returns one scalar; positives count by `targets.weight` where there is one. `detection_terms` and `depth_terms`
name and weight them; distillation adds further named terms to the same mapping, and `total` sums whatever is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
import torch.nn.functional as F

from monotakd_ros.config import LossConfig
from monotakd_ros.training.depth_targets import DepthTargets
from monotakd_ros.training.targets import AnchorTargets

SMOOTH_L1_BETA = 1.0 / 9.0
DEPTH_FOCAL_ALPHA = 0.25
DEPTH_FOCAL_GAMMA = 2.0

Unit = Literal["frame", "positive", "pseudo_positive", "cell", "cloud"]
"""What a loss is a mean over: frames, anchors that answer for a box (of people, of a teacher), depth cells with a
target, frames with a cloud."""

Labeller = Literal["frame", "labelled", "pseudo"]
"""Frames by who labelled them: all, people, a teacher."""


class HeadOutput(Protocol):
    """The maps any network's forward gives, see `network.detection_output`."""

    cls_logits: torch.Tensor
    box_codes: torch.Tensor
    dir_logits: torch.Tensor


class DepthOutput(Protocol):
    """What a student's forward gives besides."""

    depth_logits: torch.Tensor


@dataclass(frozen=True, eq=False)
class LossTerm:
    """One named part of the total.

    Attributes:
        value: unweighted, a sum divided by the number of `per` (at least 1).
        weight: in the total.
        per: what the value is a mean over.
        of: the frames whose share of all frames is a factor of the weight.
    """

    value: torch.Tensor
    weight: float
    per: Unit = "frame"
    of: Labeller = "frame"


def class_loss(cls_logits: torch.Tensor, targets: AnchorTargets, alpha: float, gamma: float) -> torch.Tensor:
    """Sigmoid focal loss over all counted anchors, divided by the batch's positives (at least 1).

    (1 / N+) sum [ alpha (1 - p)^gamma (-log p) where the class is meant, (1 - alpha) p^gamma (-log(1 - p)) elsewhere ],
    p = sigmoid(logit); a positive that a teacher labelled counts by its weight.

    Args:
        cls_logits: (B, A, K).
        targets: of the same batch.
        alpha: weight of positives; background gets 1 - alpha.
        gamma: focusing power.

    Source: Lin et al., ICCV 2017, eq. 5. The batch-wide normaliser keeps frames with a single box from dominating.
    """
    logits = cls_logits.float()
    probability = torch.sigmoid(logits)
    background = (1 - alpha) * probability.pow(gamma) * F.softplus(logits)
    total = (background * targets.counted[..., None]).sum()
    at = (targets.sample, targets.anchor, targets.label)
    positive_logits = logits[at]
    positive = alpha * torch.sigmoid(-positive_logits).pow(gamma) * F.softplus(-positive_logits)
    if targets.weight is not None:
        positive = positive * targets.weight
    total = total + (positive - background[at]).sum()
    return total / max(len(targets.label), 1)


def box_loss(box_codes: torch.Tensor, targets: AnchorTargets) -> torch.Tensor:
    """Smooth L1 (beta 1/9) of the positives' codes (B, A, 7), summed over codes, mean over positives.

    (1 / N+) sum [ s(x - x*) + … + s(h - h*) + s(sin(heading - heading*)) ], s(d) = d^2 / (2 beta) where |d| < beta,
    else |d| - beta / 2.

    The heading enters as the sine of the difference, so that opposite headings cost nothing here; the direction
    bin tells them apart.
    """
    predicted = box_codes[targets.sample, targets.anchor].float()
    wanted = targets.box_codes
    difference = predicted[:, :6] - wanted[:, :6]
    sine = torch.sin(predicted[:, 6:] - wanted[:, 6:])
    error = torch.cat([difference, sine], dim=1)
    if targets.weight is not None:
        by_code = F.smooth_l1_loss(error, torch.zeros_like(error), beta=SMOOTH_L1_BETA, reduction="none")
        return (by_code * targets.weight[:, None]).sum() / max(len(predicted), 1)
    loss = F.smooth_l1_loss(error, torch.zeros_like(error), beta=SMOOTH_L1_BETA, reduction="sum")
    return loss / max(len(predicted), 1)


def direction_loss(dir_logits: torch.Tensor, targets: AnchorTargets) -> torch.Tensor:
    """Cross-entropy of the positives' direction bins, dir_logits (B, A, 2), mean over positives."""
    predicted = dir_logits[targets.sample, targets.anchor].float()
    if targets.weight is not None:
        by_positive = F.cross_entropy(predicted, targets.direction, reduction="none")
        return (by_positive * targets.weight).sum() / max(len(predicted), 1)
    return F.cross_entropy(predicted, targets.direction, reduction="sum") / max(len(predicted), 1)


def depth_loss(depth_logits: torch.Tensor, targets: DepthTargets, foreground_weight: float) -> torch.Tensor:
    """Focal cross-entropy over depth bins, mean over cells that have a target.

    (1 / N) sum w alpha (1 - p)^gamma (-log p), p = softmax(logits) at the measured bin, alpha 0.25, gamma 2.

    Args:
        depth_logits: (B, D + 1, Hf, Wf); class D is "out of range".
        targets: of the same batch.
        foreground_weight: weight of foreground cells against 1 elsewhere.

    Source: CaDDN (Reading et al., CVPR 2021), section 3.3, over measured cells instead of a completed depth map.
    """
    by_cell = depth_logits.flatten(2).transpose(1, 2)
    log_probability = F.log_softmax(by_cell[targets.sample, targets.cell].float(), dim=1)
    log_of_bin = log_probability.gather(1, targets.bin[:, None]).squeeze(1)
    focal = -DEPTH_FOCAL_ALPHA * (1 - log_of_bin.exp()).pow(DEPTH_FOCAL_GAMMA) * log_of_bin
    weight = torch.where(targets.foreground, foreground_weight, 1.0)
    return (focal * weight).sum() / max(len(focal), 1)


def detection_terms(output: HeadOutput, targets: AnchorTargets, config: LossConfig) -> dict[str, LossTerm]:
    """The terms that labelled boxes teach any of the three networks."""
    cls = class_loss(output.cls_logits, targets, config.focal_alpha, config.focal_gamma)
    return {
        "cls": LossTerm(cls, config.cls_weight, "positive", "labelled"),
        "box": LossTerm(box_loss(output.box_codes, targets), config.box_weight, "positive", "labelled"),
        "direction": LossTerm(
            direction_loss(output.dir_logits, targets), config.direction_weight, "positive", "labelled"
        ),
    }


def depth_terms(output: DepthOutput, targets: DepthTargets, config: LossConfig) -> dict[str, LossTerm]:
    """The term that LiDAR depth teaches a student."""
    value = depth_loss(output.depth_logits, targets, config.depth_foreground_weight)
    return {"depth": LossTerm(value, config.depth_weight, "cell")}


def shares(terms: Mapping[str, LossTerm], counts: Mapping[str, int], totals: Mapping[str, int]) -> dict[str, LossTerm]:
    """The terms of one batch as its addends to the terms of a step of several batches.

    The sum of all batches' addends is what the terms of all frames in one batch would be, also where one batch has
    more boxes, depth cells or clouds than another.

    Args:
        terms: of the batch.
        counts: how many of each unit the batch has.
        totals: how many the step has.
    """
    return {name: _share(term, counts, totals) for name, term in terms.items()}


def _share(term: LossTerm, counts: Mapping[str, int], totals: Mapping[str, int]) -> LossTerm:
    of_sum = max(counts[term.per], 1) / max(totals[term.per], 1)
    of_weight = 1.0
    if counts[term.of]:  # without such a frame the value is 0
        of_weight = (totals[term.of] * counts["frame"]) / (counts[term.of] * totals["frame"])
    if of_sum == of_weight == 1:
        return term
    return replace(term, value=term.value * of_sum, weight=term.weight * of_weight)


def total(terms: Mapping[str, LossTerm]) -> torch.Tensor:
    """Weighted sum of all terms."""
    return torch.stack([term.weight * term.value for term in terms.values()]).sum()
