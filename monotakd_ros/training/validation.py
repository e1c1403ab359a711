"""Scoring a network on held-back frames: losses and KITTI's average precision."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from monotakd_ros.data.preprocess import PreparedFrame
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES, ap_value, kitti_ap_from_frames
from monotakd_ros.frame import Detections3D, FrameBatch, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.network.checkpoint import Network
from monotakd_ros.network.detection_output import DetectionOutput
from monotakd_ros.training.batches import TrainingBatch
from monotakd_ros.training.frame_cache import TrainingFrame
from monotakd_ros.training.losses import LossTerm, total

OVERLAPS = ("strict", "loose")


class _Scene(NamedTuple):
    """Of a frame what its boxes are scored by; images and clouds of a whole data set would fill the memory."""

    ground_truth: Labels3D | None
    camera: CameraModel
    cam_T_lidar: np.ndarray


def _plain_forward(network: Network, frames: FrameBatch) -> DetectionOutput:
    return network(frames)


@torch.no_grad()
def validate(
    network: Network,
    frames: Sequence[TrainingFrame],
    build: Callable[[Sequence[PreparedFrame]], TrainingBatch],
    losses: Callable[[DetectionOutput, TrainingBatch], dict[str, LossTerm]],
    *,
    batch_size: int,
    device: torch.device,
    class_names: tuple[str, ...],
    forward: Callable[[Network, FrameBatch], DetectionOutput] = _plain_forward,
    on_batch: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Losses and AP of `network` (in eval mode) over `frames`, in float32 as it is deployed.

    Args:
        network: to be scored.
        frames: with ground truth.
        build: makes batches with targets.
        losses: the terms of one batch.
        batch_size: frames per forward pass.
        device: where the network is.
        class_names: in label order.
        forward: what `losses` needs of the network.
        on_batch: called after each batch.

    Returns:
        `loss`, `loss_NAME` (means over batches), `ap_3d_strict_CLASS`, `ap_3d_loose_CLASS` (R40, moderate, per cent;
        absent for a class without counted ground truth) and `score`, the mean of the loose ones, by which the best
        checkpoint is chosen.
    """
    sums: dict[str, float] = defaultdict(float)
    detections: list[Detections3D] = []
    starts = range(0, len(frames), batch_size)
    scenes: list[_Scene] = []
    for start in starts:
        chunk = [frames[index] for index in range(start, min(start + batch_size, len(frames)))]
        batch = build([frame.prepared for frame in chunk]).to(device)
        output = forward(network, batch.frames)
        terms = losses(output, batch)
        sums["loss"] += float(total(terms))
        for name, term in terms.items():
            sums[f"loss_{name}"] += float(term.value)
        detections += _detections(network, output, chunk, class_names)
        scenes += [_Scene(frame.ground_truth, frame.camera, frame.cam_T_lidar) for frame in chunk]
        on_batch()
    figures = {name: value / len(starts) for name, value in sums.items()}
    return figures | _average_precision(scenes, detections, class_names)


def _detections(
    network: Network, output: DetectionOutput, frames: Sequence[TrainingFrame], class_names: tuple[str, ...]
) -> list[Detections3D]:
    found = []
    for boxes, frame in zip(network.decode(output), frames):
        found.append(
            Detections3D(
                boxes.boxes.float().cpu().numpy(),
                boxes.scores.float().cpu().numpy(),
                boxes.labels.cpu().numpy(),
                class_names,
                np.zeros((len(boxes.scores), 3, 3), dtype=np.float32),
                frame.prepared.cam_T_lidar,
            )
        )
    return found


def _average_precision(
    scenes: Sequence[_Scene], detections: Sequence[Detections3D], class_names: tuple[str, ...]
) -> dict[str, float]:
    scored = [name for name in class_names if name in KITTI_CLASSES]
    result = kitti_ap_from_frames(
        [scene.ground_truth for scene in scenes],
        detections,
        [scene.camera for scene in scenes],
        [scene.cam_T_lidar for scene in scenes],
        scored,
    )
    figures = {
        f"ap_3d_{overlaps}_{name}": ap_value(result, name, "3d", overlaps=overlaps)
        for overlaps in OVERLAPS
        for name in scored
    }
    figures = {name: value for name, value in figures.items() if not math.isnan(value)}
    loose = [value for name, value in figures.items() if name.startswith("ap_3d_loose_")]
    return figures | {"score": sum(loose) / len(loose) if loose else 0.0}
