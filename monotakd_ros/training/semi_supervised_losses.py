"""The detection losses of a batch in which a teacher labelled some of the frames.

Frames with human labels give `cls`, `box`, `direction`; those with a teacher's labels give `pseudo_cls`, `pseudo_box`,
`pseudo_direction`, so that the log tells them apart. Each kind is divided by its own positives: were they pooled, a
few frames full of teacher's boxes would shrink what human labels teach.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from monotakd_ros.config import TrainingConfig
from monotakd_ros.network.detection_output import DetectionOutput
from monotakd_ros.training.batches import TrainingBatch
from monotakd_ros.training.losses import LossTerm, detection_terms

PSEUDO = "pseudo_"


def labelled_terms(output: DetectionOutput, batch: TrainingBatch, config: TrainingConfig) -> dict[str, LossTerm]:
    """The detection terms of a batch, by who labelled.

    A kind counts by its share of the batch's frames, a teacher's labels times `detection_weight`: a frame weighs the
    same whichever way it came. Without frames that a teacher labelled these are `losses.detection_terms`; a run without
    others has no terms for them.
    """
    if batch.pseudo is None:
        return detection_terms(output, batch.anchors, config.loss)
    terms = {}
    if not config.semi_supervised.unlabelled_only:
        terms |= _scaled(_terms_of(output, batch, ~batch.pseudo, config), _share(~batch.pseudo))
    weight = config.semi_supervised.detection_weight
    if weight:
        found = _scaled(_terms_of(output, batch, batch.pseudo, config), weight * _share(batch.pseudo))
        terms |= {PSEUDO + name: replace(term, per="pseudo_positive", of="pseudo") for name, term in found.items()}
    return terms


def _terms_of(
    output: DetectionOutput, batch: TrainingBatch, mask: torch.Tensor, config: TrainingConfig
) -> dict[str, LossTerm]:
    frames = torch.nonzero(mask).flatten().to(output.cls_logits.device)
    maps = {name: getattr(output, name)[frames] for name in ("cls_logits", "box_codes", "dir_logits")}
    return detection_terms(replace(output, **maps), batch.anchors.of_frames(frames), config.loss)


def _share(mask: torch.Tensor) -> float:
    return float(mask.sum()) / len(mask)


def _scaled(terms: dict[str, LossTerm], factor: float) -> dict[str, LossTerm]:
    return {name: replace(term, weight=factor * term.weight) for name, term in terms.items()}
