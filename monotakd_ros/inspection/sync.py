"""How far apart in time images and clouds are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STANDS_OUT_MS = 5.0
STEADY_SHARE = 0.25
"""An offset is constant when it scatters by less than this share of itself."""


@dataclass(frozen=True)
class SyncReport:
    """Differences between each image and the cloud nearest to it.

    Attributes:
        images: with which clouds were compared.
        median_ms, p95_ms, max_ms: of the absolute differences.
        offset_ms: median of cloud stamp less image stamp.
        scatter_ms: median distance from it.
        share_within: of the images with a cloud within the tolerance.
        tolerance_ms: that tolerance.
    """

    images: int
    median_ms: float
    p95_ms: float
    max_ms: float
    offset_ms: float
    scatter_ms: float
    share_within: float
    tolerance_ms: float

    @property
    def has_constant_offset(self) -> bool:
        """Whether clouds come the same time before or after the images, all along."""
        offset = abs(self.offset_ms)
        return offset > STANDS_OUT_MS and self.scatter_ms < STEADY_SHARE * offset


def nearest(stamps_ns: np.ndarray, others_ns: np.ndarray) -> np.ndarray:
    """(N,) index of the stamp in `others_ns` (M,), rising and not empty, nearest to each of `stamps_ns` (N,)."""
    after = np.clip(np.searchsorted(others_ns, stamps_ns), 1, max(len(others_ns) - 1, 1))
    before = np.minimum(after - 1, len(others_ns) - 1)
    after = np.minimum(after, len(others_ns) - 1)
    is_before = np.abs(others_ns[before] - stamps_ns) <= np.abs(others_ns[after] - stamps_ns)
    return np.where(is_before, before, after)


def sync(images_ns: np.ndarray, clouds_ns: np.ndarray, tolerance_s: float) -> SyncReport | None:
    """Compare image stamps (N,) with cloud stamps (M,); None when either is empty."""
    if not len(images_ns) or not len(clouds_ns):
        return None
    clouds_ns = np.sort(clouds_ns)
    signed = (clouds_ns[nearest(images_ns, clouds_ns)] - images_ns) / 1e6
    apart = np.abs(signed)
    offset = float(np.median(signed))
    return SyncReport(
        images=len(images_ns),
        median_ms=float(np.median(apart)),
        p95_ms=float(np.percentile(apart, 95)),
        max_ms=float(apart.max()),
        offset_ms=offset,
        scatter_ms=float(np.median(np.abs(signed - offset))),
        share_within=float((apart <= tolerance_s * 1e3).mean()),
        tolerance_ms=tolerance_s * 1e3,
    )
