"""How good pseudo labels are, where a recording that is used as unlabelled has labels nevertheless."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monotakd_ros.evaluation.association import OperatingPoint, associate, operating_point
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame, evaluation_frame
from monotakd_ros.frame import Detections3D
from monotakd_ros.geometry.grid import VoxelGrid
from monotakd_ros.training.frame_cache import TrainingFrame
from monotakd_ros.training.pseudo_labels import FrameBoxes, PseudoLabelledFrames


def pseudo_label_quality(recordings: Sequence[PseudoLabelledFrames], grid: VoxelGrid) -> dict[str, OperatingPoint]:
    """Per class precision and recall of the labels, over all frames whose true labels are known; empty without any.

    Boxes are associated as `evaluation.association` does it, near along and across the viewing ray; uncertain boxes
    count as not found. Objects that the recording calls hidden or cut off count too; those whose centre is off the map
    do not, neither true ones nor the teacher's: it could not find them, and nobody learns from them.

    Args:
        recordings: as the teacher labelled them.
        grid: of the map; its height does not matter.
    """
    frames = [
        _evaluation_frame(f"{number}/{found.name}", frame, found, recording.labels.provenance.class_names, grid)
        for number, recording in enumerate(recordings)
        for frame, found in zip(recording.cache, recording.labels.frames)
        if frame.ground_truth is not None
    ]
    if not frames:
        return {}
    thresholds = recordings[0].labels.provenance.thresholds
    # Scores are float32 of the file's decimals.
    return {
        name: operating_point(associate(frames, name), float(np.float32(score))) for name, score in thresholds.items()
    }


def _evaluation_frame(
    name: str, frame: TrainingFrame, found: FrameBoxes, class_names: tuple[str, ...], grid: VoxelGrid
) -> EvaluationFrame:
    assert frame.ground_truth is not None, "only frames with known labels are scored"
    truth = frame.ground_truth.select(_on_map(frame.ground_truth.boxes_lidar, grid))
    covariance = np.zeros((len(found.scores), 3, 3), dtype=np.float32)
    extrinsic = frame.prepared.cam_T_lidar
    detections = Detections3D(found.boxes_lidar, found.scores, found.labels, class_names, covariance, extrinsic)
    detections = detections.select(_on_map(found.boxes_lidar, grid))
    return evaluation_frame(name, truth, detections, frame.camera, frame.cam_T_lidar)


def _on_map(boxes_lidar: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """(N,) bool: whether the centre of a box (N, 7) is."""
    return grid.contains_xy(torch.from_numpy(boxes_lidar)).numpy()
