"""The maps that distillation compares, to look at: how strongly teacher, assistant and student speak where in a frame.

A map's strength is the root mean square of its channels, cell by cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from monotakd_ros.config import DistillationConfig
from monotakd_ros.data.preprocess import collate
from monotakd_ros.network.student import Student
from monotakd_ros.training.distillation_losses import residual_target
from monotakd_ros.training.frame_cache import TrainingFrame
from monotakd_ros.training.guides import Guides

LOOKED_THROUGH = 200


@dataclass(frozen=True, eq=False)
class MapStrengths:
    """One frame and what the networks make of it.

    Attributes:
        name: of the frame.
        image: (H, W, 3) uint8 RGB, in the network's camera.
        boxes_lidar: (N, 7) its labelled boxes.
        maps: title -> (Y, X) float32 strength, BEV cells; in the order in which they are to be seen.
    """

    name: str
    image: np.ndarray
    boxes_lidar: np.ndarray
    maps: Mapping[str, np.ndarray]


def telling_frame(frames: Sequence[TrainingFrame]) -> TrainingFrame | None:
    """The frame with a cloud that has most labelled boxes, of up to 200 evenly spaced ones; None without clouds."""
    chosen, most = None, -1
    for index in range(0, len(frames), max(1, math.ceil(len(frames) / LOOKED_THROUGH))):
        frame = frames[index]
        boxes = 0 if frame.prepared.boxes_lidar is None else len(frame.prepared.boxes_lidar)
        if len(frame.prepared.points_lidar) and boxes > most:
            chosen, most = frame, boxes
    return chosen


@torch.no_grad()
def map_strengths(
    student: Student, guides: Guides, frame: TrainingFrame, config: DistillationConfig, device: torch.device
) -> MapStrengths:
    """What the networks make of a frame, as far as there are such maps.

    Args:
        student: in eval mode, on `device`.
        guides: on `device`; either may be missing.
        frame: with a cloud.
        config: decides what counts as residual.
        device: where the networks are.
    """
    prepared = frame.prepared
    batch = collate([replace(prepared, boxes_lidar=None, labels=None, label_scores=None)]).to(device)
    output = student(batch, with_residual=student.residual is not None)
    teacher = None if guides.teacher is None else guides.teacher(batch).bev
    assistant = None if guides.assistant is None else guides.assistant(batch).bev
    found = {"teacher $F^T$": teacher, "assistant $F^A$": assistant, "student $F^S_{vis}$": output.bev}
    if teacher is not None and assistant is not None:
        found["residual $F^{res}$"] = residual_target(teacher, assistant, config)
    found["its residual branch"] = output.residual_bev
    maps = {title: _strength(bev) for title, bev in found.items() if bev is not None}
    boxes = np.zeros((0, 7)) if prepared.boxes_lidar is None else prepared.boxes_lidar
    return MapStrengths(prepared.name, prepared.image, boxes, maps)


def _strength(bev: torch.Tensor) -> np.ndarray:
    return bev[0].float().square().mean(dim=0).sqrt().cpu().numpy()
