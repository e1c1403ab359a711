"""Latency per stage, from seconds measured elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

STAGES = ("read", "prepare", "network", "decode", "write", "draw", "age")
"""In the order of the work: source to frame, frame to tensors, forward pass, boxes, bag, pictures; and, of somebody
else's recording, where the work itself was not measured: image stamp to recording of its boxes."""

DETECT_STAGES = ("prepare", "network", "decode")
PERCENTILES = (50, 95, 99)


def latency_ms(seconds: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Per stage and for `detect` (prepare + network + decode): p50, p95, p99, mean, and the first frame by itself.

    The first frame pays for allocation and compilation, so it is left out of the other figures unless it is alone.
    """
    samples = {stage: seconds[stage] for stage in STAGES if seconds.get(stage)}
    if all(stage in samples for stage in DETECT_STAGES):
        samples["detect"] = [sum(parts) for parts in zip(*(samples[stage] for stage in DETECT_STAGES))]
    return {stage: _spread_ms(values) for stage, values in samples.items()}


def _spread_ms(seconds: Sequence[float]) -> dict[str, float]:
    warm = np.array(seconds[1:] or seconds) * 1e3
    figures = {f"p{percent}": np.percentile(warm, percent) for percent in PERCENTILES}
    figures |= {"mean": warm.mean(), "first": seconds[0] * 1e3}
    assert all(math.isfinite(value) for value in figures.values())
    return {name: round(float(value), 2) for name, value in figures.items()} | {"samples": len(warm)}
