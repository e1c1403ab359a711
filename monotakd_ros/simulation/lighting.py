"""Light of one drive: sun, sky, haze and the camera's exposure; what a ray sees that hits nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.simulation.texture import NoiseTexture

FAR_TREES = np.float32([[0.10], [0.13], [0.08]])
STREET_SCENE = np.float32([[0.20], [0.19], [0.18]])


@dataclass(frozen=True, eq=False)
class Lighting:
    """Sun, sky and camera response.

    Attributes:
        sun_direction: (3,) float32 unit vector towards the sun, world.
        sun: (3,) float32 colour times strength of direct light (0 when overcast).
        sky_light: (3,) float32 ambient light from above.
        zenith, horizon: (3,) float32 sky colours.
        cloud: share of cloud, 0..1.
        visibility_m: distance over which haze takes about 63 %.
        exposure: factor from light to the camera's response.
        white_balance: (3,) float32.
        noise: sensor noise at mid grey, of 255.
    """

    sun_direction: np.ndarray
    sun: np.ndarray
    sky_light: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    cloud: float
    visibility_m: float
    exposure: float
    white_balance: np.ndarray
    noise: float


def random_lighting(rng: np.random.Generator) -> Lighting:
    """Draw the weather: sunny, hazy or overcast."""
    weather = str(rng.choice(["sunny", "hazy", "overcast"], p=[0.58, 0.2, 0.22]))
    elevation = float(rng.uniform(np.radians(22), np.radians(65)))
    azimuth = float(rng.uniform(0, 2 * np.pi))
    direction = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    strength = {"sunny": rng.uniform(1.5, 2.3), "hazy": rng.uniform(0.7, 1.2), "overcast": 0.0}[weather]
    ambient = {"sunny": rng.uniform(0.38, 0.55), "hazy": rng.uniform(0.6, 0.75), "overcast": rng.uniform(0.8, 1.0)}
    warm = np.array([1.0, 0.93, 0.80]) * [1, 1 - 0.08 * np.cos(elevation), 1 - 0.2 * np.cos(elevation)]
    tint = np.array([0.86, 0.96, 1.12]) if weather == "sunny" else np.array([0.95, 0.99, 1.05])
    blue, grey = np.array([0.32, 0.55, 1.0]), np.array([0.85, 0.88, 0.92])
    clear = {"sunny": rng.uniform(0.55, 1.0), "hazy": rng.uniform(0.1, 0.5), "overcast": 0.0}[weather]
    level = rng.uniform(0.9, 1.5)
    mean_light = strength * np.sin(elevation) * 0.6 + ambient[weather]
    return Lighting(
        direction.astype(np.float32),
        (strength * warm).astype(np.float32),
        (ambient[weather] * tint).astype(np.float32),
        (level * (clear * blue + (1 - clear) * grey)).astype(np.float32),
        (level * np.array([1.05, 1.1, 1.15])).astype(np.float32),
        float(rng.uniform(0.0, 0.8)) if weather != "overcast" else 0.9,
        float(np.exp(rng.uniform(np.log(500), np.log(5000)))),
        float(rng.uniform(0.75, 1.4) / mean_light),
        (1 + 0.05 * rng.standard_normal(3) * [1, 0.3, 1]).astype(np.float32),
        float(rng.uniform(1.0, 3.5)),
    )


def column(colour: np.ndarray) -> np.ndarray:
    """A colour (3,) as (3, 1), to go with (3, N)."""
    return colour[:, None]


def sky_colour(light: Lighting, directions: np.ndarray, noise: NoiseTexture) -> np.ndarray:
    """Sky (3, N) float32 along unit directions (3, N): gradient, clouds, glow, far tree line."""
    x, y, up = directions
    horizon, zenith = column(light.horizon), column(light.zenith)
    colour = horizon + (zenith - horizon) * np.minimum(1.6 * np.sqrt(np.clip(up, 0.0, 1.0)), 1.0)
    azimuth = np.arctan2(y, x)
    scale = 0.5 / np.maximum(up + 0.06, 0.03)
    cloud = noise.smooth(x * scale, y * scale)
    colour += (np.float32(1.12) * horizon - colour) * np.clip((cloud + 2.0 * light.cloud - 0.9) * 1.3, 0, 0.85)
    glow = np.clip(light.sun_direction @ directions, 0, 1)
    colour += (0.45 * glow**64 + 0.125 * glow**8) * column(light.sun)
    ridge = 0.022 + 0.018 * noise.sample(azimuth * 8, np.full_like(azimuth, 3.0), 0.01)
    ridge += 0.006 * noise.sample(azimuth * 60, np.full_like(azimuth, 9.0), 0.01)
    trees = column(light.sky_light) * FAR_TREES + np.float32(0.42) * horizon
    return colour + (trees - colour) * np.clip((ridge - up) * 600, 0, 1)


def reflected_surroundings(light: Lighting, directions: np.ndarray) -> np.ndarray:
    """What glossy surfaces mirror, (3, N) float32 along (3, N): sky above, a dark street scene at the horizon, road."""
    x, y, up = directions
    wave = 0.06 * np.sin(9 * x + 2) + 0.05 * np.sin(14 * y)
    street = column(light.sky_light) * STREET_SCENE
    road = column((light.sky_light + 0.35 * light.sun) * np.float32(0.12))
    horizon, zenith = column(light.horizon), column(light.zenith)
    sky = horizon + (zenith - horizon) * np.clip(1.4 * up, 0, 1)
    colour = street + (sky - street) * np.clip((up - 0.16 - wave) * 9, 0, 1)
    return colour + (road - colour) * np.clip(-up * 14, 0, 1)
