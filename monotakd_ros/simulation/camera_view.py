"""The simulated camera: rays through every pixel, edges smoothed, exposure, sensor noise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from monotakd_ros.geometry.boxes import boxes_img_from_lidar
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import invert_transform
from monotakd_ros.simulation.contact import ContactShadows
from monotakd_ros.simulation.lighting import Lighting
from monotakd_ros.simulation.scene import Scene
from monotakd_ros.simulation.shading import Rays, Shader, Stage

THREADS = 2
_GAMMA_STEPS = 4096
_NOISE_SLACK = 1 << 18
"""Sensor noise is cut from one long strip, at a random place for each picture."""


@dataclass(frozen=True, eq=False)
class View:
    """One rendered moment.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        owner: (H, W) int32 object index seen in each pixel, NOTHING for scenery.
    """

    image: np.ndarray
    owner: np.ndarray


class SimulatedCamera:
    """Renders a scene through a pinhole camera."""

    def __init__(self, camera: CameraModel, shader: Shader, edge_samples: int = 1) -> None:
        self._camera, self._shader, self._edge_samples = camera, shader, edge_samples
        u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        self._pixels = np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float32)
        self._directions_cam = self.directions_cam(self._pixels)
        self._ray_buffer = np.empty((len(self._pixels), 6), dtype=np.float32)
        self._pool = ThreadPoolExecutor(THREADS)
        self._tone = _tone_table()
        count = 3 * camera.width * camera.height + _NOISE_SLACK
        self._noise = np.random.default_rng(17).standard_normal(count, dtype=np.float32)

    def directions_cam(self, pixels: np.ndarray) -> np.ndarray:
        """Viewing rays (N, 3) float32 of pixels (N, 2), cam, with depth 1."""
        camera = self._camera
        directions = np.ones((len(pixels), 3), dtype=np.float32)
        directions[:, 0] = (pixels[:, 0] - np.float32(camera.cx)) * np.float32(1 / camera.fx)
        directions[:, 1] = (pixels[:, 1] - np.float32(camera.cy)) * np.float32(1 / camera.fy)
        return directions

    def render(self, scene: Scene, world_T_cam: np.ndarray, rng: np.random.Generator) -> View:
        """Take a picture of `scene` from `world_T_cam`."""
        stage = Stage(scene, ContactShadows(scene.objects, world_T_cam))
        near_movers = self._near_movers(scene, world_T_cam)
        light, owner = self._trace(stage, world_T_cam, self._directions_cam, near_movers)
        light = light.reshape(self._camera.height, self._camera.width, 3)
        owner = owner.reshape(light.shape[:2])
        if self._edge_samples:
            self._smooth_edges(light, stage, world_T_cam, near_movers)
        return View(self._develop(light, rng), owner)

    def _trace(
        self, stage: Stage, world_T_cam: np.ndarray, directions_cam: np.ndarray, near_movers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        packed = self._ray_buffer[: len(directions_cam)]
        packed[:, :3] = world_T_cam[:3, 3]
        packed[:, 3:] = directions_cam @ world_T_cam[:3, :3].T.astype(np.float32)
        hits = stage.scene.cast(packed, near_movers)
        light = self._shader.shade(stage, Rays(packed, 1 / self._camera.fx), hits, self._pool)
        return light, stage.scene.owner_of(hits)

    def _near_movers(self, scene: Scene, world_T_cam: np.ndarray) -> np.ndarray:
        """(H * W,) bool: pixels on which a mover may lie."""
        mask = np.zeros((self._camera.height, self._camera.width), dtype=bool)
        movers = scene.objects[scene.first_mover :]
        if movers:
            boxes = np.stack([mover.box_world for mover in movers])
            for left, top, right, bottom in boxes_img_from_lidar(boxes, invert_transform(world_T_cam), self._camera):
                if np.isfinite(left):
                    mask[max(int(top) - 3, 0) : int(bottom) + 4, max(int(left) - 3, 0) : int(right) + 4] = True
        return mask.ravel()

    def _smooth_edges(self, light: np.ndarray, stage: Stage, world_T_cam: np.ndarray, near_movers: np.ndarray) -> None:
        """Average more rays, in place, into the pixels that differ most from their neighbours."""
        tone = light @ np.full(3, self._shader.light.exposure / 3, dtype=np.float32)
        tone = np.sqrt(np.clip(tone, 0, 1.5))
        contrast = np.zeros_like(tone)
        for axis in (0, 1):
            step = np.abs(np.diff(tone, axis=axis))
            lead = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
            tail = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
            contrast[lead] = np.maximum(contrast[lead], step)
            contrast[tail] = np.maximum(contrast[tail], step)
        index = np.flatnonzero(contrast.ravel() > 0.10)
        flat = light.reshape(-1, 3)
        total = flat[index].copy()
        offsets = np.float32([[0.33, 0.25], [-0.3, 0.37], [0.1, -0.4]])[: self._edge_samples]
        for offset in offsets:
            extra, _ = self._trace(
                stage, world_T_cam, self.directions_cam(self._pixels[index] + offset), near_movers[index]
            )
            total += np.minimum(extra, 3.0)
        flat[index] = total / (1 + len(offsets))

    def _develop(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """From light to 8 bit: exposure, tone curve, lens blur, noise."""
        settings: Lighting = self._shader.light
        level = light * (settings.white_balance * np.float32(settings.exposure * (_GAMMA_STEPS / 4)))
        image = self._tone[np.clip(level, 0, _GAMMA_STEPS - 1).astype(np.int32)]
        image = cv2.GaussianBlur(image, (3, 3), 0.45)
        start = int(rng.integers(_NOISE_SLACK))
        noise = self._noise[start : start + image.size].reshape(image.shape)
        strength = settings.noise * (0.6 + 0.4 * np.sqrt(image / 128.0))
        return np.clip(image + noise * strength + 0.5, 0, 255).astype(np.uint8)


def _tone_table() -> np.ndarray:
    """Camera response (steps,) float32, 0..255, to light 0..4: gamma with a soft shoulder."""
    x = np.linspace(0, 4, _GAMMA_STEPS)
    shoulder = x * (1 + x / 4.0) / (1 + 0.85 * x)
    curve = np.clip(shoulder, 0, 1) ** (1 / 2.2)
    contrast = curve - 0.055 * np.sin(2 * np.pi * curve)
    return (255 * np.clip(contrast, 0, 1)).astype(np.float32)
