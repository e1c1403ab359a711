"""A tileable noise texture with mip levels: detail near, calm far."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = 1024
TEXEL_M = 0.025
LEVELS = 7


class NoiseTexture:
    """Noise in about [-1, 1] that repeats every SIZE * TEXEL_M metres; fixed, the same in every drive."""

    def __init__(self) -> None:
        rng = np.random.default_rng(20)
        field = np.zeros((SIZE, SIZE), dtype=np.float32)
        for cell, weight in ((1, 0.35), (2, 0.35), (6, 0.35), (24, 0.4), (96, 0.5), (256, 0.5)):
            small = rng.standard_normal((SIZE // cell + 1, SIZE // cell + 1)).astype(np.float32)
            small[-1], small[:, -1] = small[0], small[:, 0]
            big = cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
            field += weight * big
        field /= 2 * field.std()
        levels = [np.clip(field, -1.5, 1.5)]
        for _ in range(LEVELS - 1):
            levels.append(levels[-1].reshape(len(levels[-1]) // 2, 2, -1, 2).mean(axis=(1, 3)))
        self._offset = np.cumsum([0, *(level.size for level in levels[:-1])]).astype(np.int32)
        self._values = np.concatenate([level.ravel() for level in levels])

    def sample(self, u: np.ndarray, v: np.ndarray, footprint: np.ndarray | float) -> np.ndarray:
        """Noise (N,) float32 at (u, v) m, averaged over about `footprint` m."""
        level = np.log2(np.maximum(np.asarray(footprint, dtype=np.float32) / TEXEL_M, 1.0))
        level = np.minimum(level.astype(np.int32), LEVELS - 1)
        column = (np.floor(u * (1 / TEXEL_M)).astype(np.int32) & (SIZE - 1)) >> level
        row = (np.floor(v * (1 / TEXEL_M)).astype(np.int32) & (SIZE - 1)) >> level
        return self._values[self._offset[level] + row * (SIZE >> level) + column]

    def smooth(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Noise (N,) float32 at (u, v) m between the finest texels; for patterns much larger than a pixel."""
        x, y = u * np.float32(1 / TEXEL_M), v * np.float32(1 / TEXEL_M)
        x0, y0 = np.floor(x), np.floor(y)
        fx, fy = (x - x0).astype(np.float32), (y - y0).astype(np.float32)
        left, right = (x0.astype(np.int32) + shift & SIZE - 1 for shift in (0, 1))
        top, bottom = ((y0.astype(np.int32) + shift & SIZE - 1) * SIZE for shift in (0, 1))
        values = self._values
        upper = values[top + left] * (1 - fx) + values[top + right] * fx
        lower = values[bottom + left] * (1 - fx) + values[bottom + right] * fx
        return upper * (1 - fy) + lower * fy
