"""The simulated 64-beam LiDAR: ranges with noise, intensity, drop-out by distance and incidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.simulation.mesh import Surface
from monotakd_ros.simulation.scene import Scene

BEAMS = 64
ELEVATION_DEG = (-24.9, 2.0)
RANGE_NOISE_M = 0.015
MAX_RANGE_M = 120.0
MIN_RANGE_M = 0.9

_RETURN = np.ones(len(Surface), dtype=np.float32)
_RETURN[[Surface.GLASS, Surface.REFLECTOR, Surface.LAMP, Surface.PAINT]] = (0.05, 3.0, 1.5, 0.9)


def beam_directions(azimuth_deg: tuple[float, float], step_deg: float) -> np.ndarray:
    """(N, 3) float32 unit directions, lidar, beam by beam, azimuth counter-clockwise between the limits."""
    elevation = np.radians(np.linspace(ELEVATION_DEG[1], ELEVATION_DEG[0], BEAMS))
    azimuth = np.radians(np.arange(azimuth_deg[0], azimuth_deg[1], step_deg))
    elevation, azimuth = np.meshgrid(elevation, azimuth, indexing="ij")
    flat = np.cos(elevation)
    directions = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=-1)
    return directions.reshape(-1, 3).astype(np.float32)


@dataclass(frozen=True, eq=False)
class SimulatedLidar:
    """Scans a scene with fixed beam directions (N, 3) float32, lidar."""

    directions: np.ndarray

    def scan(self, scene: Scene, world_T_lidar: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Points (M, 4) float32 x, y, z, intensity 0..1, lidar."""
        jitter = 1e-4 * rng.standard_normal(self.directions.shape, dtype=np.float32)
        directions = self.directions + jitter
        world = directions @ world_T_lidar[:3, :3].T.astype(np.float32)
        rays = np.empty((len(world), 6), dtype=np.float32)
        rays[:, :3], rays[:, 3:] = world_T_lidar[:3, 3], world
        hits = scene.cast(rays)
        keep = np.flatnonzero((hits.distance > MIN_RANGE_M) & (hits.distance < MAX_RANGE_M))
        distance, triangle = hits.distance[keep], hits.triangle[keep]
        corner_normals = scene.normals[triangle].mean(axis=1)
        facing = np.clip(np.abs(np.einsum("ij,ij->i", corner_normals, world[keep])), 0.0, 1.0)
        albedo = scene.colour[triangle].mean(axis=1) * _RETURN[scene.surface[triangle]]
        intensity = np.clip(albedo * (0.25 + 0.75 * facing), 0, 1)
        strength = (0.06 + intensity) * (40.0 / np.maximum(distance, 10.0)) ** 2
        returned = rng.random(len(keep)) < np.clip(1.0 - 0.03 - 0.35 * np.exp(-strength * 6), 0, 1)
        noisy = distance + RANGE_NOISE_M * rng.standard_normal(len(keep))
        points = directions[keep] * noisy[:, None]
        intensity = np.clip(intensity + 0.03 * rng.standard_normal(len(keep)), 0, 0.99)
        return np.column_stack([points, intensity])[returned].astype(np.float32)
