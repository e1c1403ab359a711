"""What each way of gathering the two sides hands to scoring and to the report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import Frame

Scenes = Callable[[Collection[str]], Mapping[str, Frame]]
"""Names of evaluation frames -> image, camera, cloud of those that have one. Labels in them are not used."""


def no_scenes(names: Collection[str]) -> Mapping[str, Frame]:
    """For inputs that come without images and calibration."""
    return {}


@dataclass(frozen=True, eq=False)
class Gathered:
    """Both sides of an evaluation, frame by frame.

    Attributes:
        frames: in time order.
        run: what was compared, for the report: plain values (paths, checkpoint, topics, device).
        missing: names of labelled frames without results.
        extra: names of frames with results but without labels.
        skipped: reasons of frames that could not be read.
        warnings: sentences that a reader of the figures must know.
        scenes: finds the frames' images, for the pictures.
        seconds: measured seconds per stage, of a run of the detector; empty otherwise.
    """

    frames: tuple[EvaluationFrame, ...]
    run: dict[str, Any]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    scenes: Scenes = no_scenes
    seconds: Mapping[str, Sequence[float]] = field(default_factory=dict)
