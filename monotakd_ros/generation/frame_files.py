"""The files of one generated frame, as bytes: the same frame and labels give the same bytes, wherever they are made.

KITTI's object layout below `training/`, which OpenPCDet and others read, and beside it what it has no place for. A
label carries the teacher's score as 16th number; a box that is neither object nor background has a type with
`Uncertain_` before it, which readers of KITTI that do not know it leave out.
"""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import cv2
import numpy as np
import torch

from monotakd_ros.data.image_codec import encode_compressed
from monotakd_ros.data.kitti_results import text_from_results
from monotakd_ros.data.kitti_text import calibration_text, format_matrix, text_from_labels
from monotakd_ros.data.preprocess import project_cloud
from monotakd_ros.evaluation.kitti_frame import kitti_frame_from_boxes
from monotakd_ros.frame import UNCERTAIN, Frame, Labels3D
from monotakd_ros.generation.cleaning import SeenBoxes
from monotakd_ros.generation.labelling import LabelledFrame
from monotakd_ros.generation.settings import GenerationSettings
from monotakd_ros.geometry.boxes import boxes_img_from_lidar

IMAGE_SUFFIX = {"png": "png", "jpeg": "jpg"}
DEPTH_STEPS_PER_M = 256
"""KITTI's depth maps: 16 bit, metres times 256, 0 where there is none."""
FEATURE_STRIDE_PX = 8
DECIMALS = 4
GZIP_LEVEL = 1
"""The higher ones save a tenth of the bytes and take several times as long."""


def seen_points(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """(M, 3) u px, v px, depth m of the points in a frame's image, and their rows (M, 4); empty without a cloud."""
    if frame.points_lidar is None or frame.cam_T_lidar is None:
        return np.zeros((0, 3), dtype=np.float32), np.zeros((0, 4), dtype=np.float32)
    whole_px = np.array([0, 0, frame.camera.width, frame.camera.height], dtype=np.float64)
    return project_cloud(frame.points_lidar, frame.cam_T_lidar, frame.camera, whole_px)


def frame_files(
    name: str,
    frame: Frame,
    labelled: LabelledFrame,
    origin: dict[str, Any],
    settings: GenerationSettings,
) -> dict[str, bytes]:
    """Path within the set and content of every file of a frame.

    Args:
        name: of the frame in the set.
        frame: with cloud and extrinsic.
        labelled: what the networks see in it.
        origin: where it comes from, for its record.
        settings: what to write.
    """
    assert frame.cam_T_lidar is not None and frame.points_lidar is not None, "frames of a set have clouds"
    points_img, points = seen_points(frame)
    cloud = points if settings.crop_cloud else frame.points_lidar
    labels = labels_of(frame, labelled)
    files = {
        f"training/image_2/{name}.{IMAGE_SUFFIX[settings.image_format]}": encode_compressed(
            frame.image, settings.image_format
        ),
        f"training/velodyne/{name}.bin": np.asarray(cloud, dtype="<f4").tobytes(),
        f"training/calib/{name}.txt": calibration_text(frame.camera.img_P_cam, frame.cam_T_lidar).encode(),
        f"training/label_2/{name}.txt": text_from_labels(labels, frame.cam_T_lidar).encode(),
        f"teacher/{name}.txt": _results_text(labelled.teacher, frame),
    }
    if settings.depth_maps:
        files |= {
            f"training/depth_2/{name}.png": depth_png(points_img, frame.camera.height, frame.camera.width, 1),
            f"training/depth_2_features/{name}.png": depth_png(
                points_img, frame.camera.height, frame.camera.width, FEATURE_STRIDE_PX
            ),
        }
    if labelled.assistant is not None:
        files[f"assistant/{name}.txt"] = _results_text(labelled.assistant, frame)
    for network, bev in labelled.features.items():
        files[f"{network}_bev/{name}.npy.gz"] = npy_gz(bev)
    if frame.labels is not None:
        files[f"truth/{name}.txt"] = text_from_labels(frame.labels, frame.cam_T_lidar).encode()
    files[f"frames/{name}.json"] = _record(name, frame, labelled, origin, len(points))
    return files


def labels_of(frame: Frame, labelled: LabelledFrame) -> Labels3D:
    """The labels of a frame: boxes to learn from with their scores, and uncertain ones, best score first."""
    assert frame.cam_T_lidar is not None, "frames of a set have an extrinsic"
    rows = [index for index, verdict in enumerate(labelled.verdicts) if verdict.status != "dropped"]
    seen, in_image = labelled.teacher, labelled.evidence.in_image[rows]
    names = [
        seen.names[index] if labelled.verdicts[index].status == "label" else UNCERTAIN + seen.names[index]
        for index in rows
    ]
    boxes = np.round(seen.boxes_lidar[rows], DECIMALS)
    return Labels3D(
        boxes_lidar=boxes,
        class_names=tuple(names),
        truncation=np.round(1 - in_image, 2),
        occlusion=np.full(len(rows), -1, dtype=np.int64),
        boxes_img_px=boxes_img_from_lidar(boxes, frame.cam_T_lidar, frame.camera),
        scores=np.round(seen.scores[rows], DECIMALS),
    )


def depth_png(points_img: np.ndarray, height: int, width: int, stride_px: int) -> bytes:
    """Sparse depth (ceil(H / stride), ceil(W / stride)) as KITTI's 16-bit PNG: the nearest point of each cell.

    Args:
        points_img: (M, 3) u px, v px, depth m.
        height: of the image, px.
        width: of the image, px.
        stride_px: pixels a cell; 1 is the image's own resolution. Cell i begins at pixel `stride_px` i.
    """
    rows, columns = -(-height // stride_px), -(-width // stride_px)
    # Clipped, because a pixel just inside the image's rim may be rounded (float32) onto it.
    column, row = (
        np.clip(np.floor(points_img[:, axis] + 0.5), 0, size - 1).astype(np.int64) // stride_px
        for axis, size in ((0, width), (1, height))
    )
    cells = torch.from_numpy(row * columns + column)
    depth = torch.full((rows * columns,), torch.inf, dtype=torch.float64)
    depth.scatter_reduce_(0, cells, torch.from_numpy(points_img[:, 2].astype(np.float64)), reduce="amin")
    steps = np.round(depth.numpy() * DEPTH_STEPS_PER_M)
    steps = np.where(steps <= np.iinfo(np.uint16).max, np.maximum(steps, 1), 0).astype(np.uint16)
    done, buffer = cv2.imencode(".png", steps.reshape(rows, columns))
    assert done, "OpenCV writes 16-bit PNG"
    return buffer.tobytes()


def npy_gz(array: np.ndarray) -> bytes:
    """An array as gzipped `.npy`, for `np.load(gzip.open(path))`; the same array gives the same bytes."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return gzip.compress(buffer.getvalue(), GZIP_LEVEL, mtime=0)


def _results_text(seen: SeenBoxes, frame: Frame) -> bytes:
    assert frame.cam_T_lidar is not None, "frames of a set have an extrinsic"
    boxes, scores = np.round(seen.boxes_lidar, DECIMALS), np.round(seen.scores, DECIMALS)
    return text_from_results(
        kitti_frame_from_boxes(boxes, seen.names, scores, frame.camera, frame.cam_T_lidar)
    ).encode()


def _record(
    name: str, frame: Frame, labelled: LabelledFrame, origin: dict[str, Any], num_points_in_image: int
) -> bytes:
    """What is known about a frame that no other file says: its origin, quality flags, and why boxes became what."""
    assert frame.points_lidar is not None, "frames of a set have clouds"
    evidence, seen = labelled.evidence, labelled.teacher
    facts = {
        "name": name,
        "origin": origin,
        "stamp_ns": frame.stamp_ns,
        "points_stamp_ns": frame.points_stamp_ns,
        "camera_frame_id": frame.camera_frame_id,
        "lidar_frame_id": frame.lidar_frame_id,
        "world_T_lidar": None if frame.world_T_lidar is None else format_matrix(frame.world_T_lidar[:3]),
        "quality": {
            "cloud_minus_image_ms": None
            if frame.points_stamp_ns is None
            else round((frame.points_stamp_ns - frame.stamp_ns) * 1e-6, 3),
            "points": len(frame.points_lidar),
            "points_in_image": num_points_in_image,
            "mean_brightness": round(float(frame.image.mean()), 2),
            "sharpness": round(_sharpness(frame.image), 2),
            "neighbours": len(evidence.neighbours),
            "pose_known": frame.world_T_lidar is not None,
        },
        "boxes": [
            {
                "class": seen.names[index],
                "score": round(float(seen.scores[index]), DECIMALS),
                "status": verdict.status,
                "reasons": list(verdict.reasons),
                "points": int(evidence.num_points[index]),
                "in_image": round(float(evidence.in_image[index]), 3),
            }
            for index, verdict in enumerate(labelled.verdicts)
        ],
    }
    return (json.dumps(facts, indent=1) + "\n").encode()


def _sharpness(image: np.ndarray) -> float:
    """Variance of the Laplacian of the brightness, in (1/255)^2: low in blurred pictures."""
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
