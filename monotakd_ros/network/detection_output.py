"""What teacher, assistant and student have in common at their output: head maps over one set of anchors, a BEV map."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class DetectionOutput:
    """What a detector computes for a batch.

    Attributes:
        cls_logits: (B, A, K), anchors flattened as (y, x, class, rotation).
        box_codes: (B, A, 7) residuals to the anchors.
        dir_logits: (B, A, 2).
        bev: (B, C, Y, X) the map that distillation compares. Teacher: F^T, the compressed heights of the sparse
            backbone. Assistant and student: F^A and F^S_vis, the visual map after the adaptation blocks.
        depth: (B, D + 1, Hf, Wf) depth distribution that the image was lifted with, the last class "out of range";
            None for a teacher.
    """

    cls_logits: torch.Tensor
    box_codes: torch.Tensor
    dir_logits: torch.Tensor
    bev: torch.Tensor
    depth: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class StudentOutput(DetectionOutput):
    """What the student computes for a batch.

    Attributes:
        depth_logits: (B, D + 1, Hf, Wf), whose softmax is `depth`.
        residual_bev: (B, C, Y, X) the residual branch's map after the Spatial Alignment Module; None where the branch
            does not exist or was not asked for.
        assistant_bev: (B, C, Y, X) the map of the assistant that the residual branch carries; None likewise.
    """

    depth_logits: torch.Tensor
    residual_bev: torch.Tensor | None
    assistant_bev: torch.Tensor | None = None
