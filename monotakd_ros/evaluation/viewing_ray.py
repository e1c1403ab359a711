"""Directions in which a camera sees well and badly: across and along the ray to an object. cam, metres."""

from __future__ import annotations

import numpy as np


def viewing_ray(center_cam: np.ndarray) -> np.ndarray:
    """(N, 3) unit vector from the camera's origin to centres (N, 3); zero for one right at the origin."""
    length = np.linalg.norm(center_cam, axis=1, keepdims=True)
    return np.divide(center_cam, length, out=np.zeros_like(center_cam), where=length > 0)


def ground_ray(center_cam: np.ndarray) -> np.ndarray:
    """(N, 2) unit vector over ground, x and z, from the camera to centres (N, 3); ahead for one right at it."""
    ground = center_cam[:, [0, 2]]
    length = np.linalg.norm(ground, axis=1, keepdims=True)
    return np.divide(ground, length, out=np.tile([0.0, 1.0], (len(ground), 1)), where=length > 0)


def split_at_ray(offset_cam: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parts (N,), (N,) of offsets (N, 3) over ground: along `ray` (N, 2), away from the camera, and to its right."""
    x, z = offset_cam[:, 0], offset_cam[:, 2]
    return x * ray[:, 0] + z * ray[:, 1], x * ray[:, 1] - z * ray[:, 0]
