"""What distillation reads of the guides' outputs, frame by frame: which maps, and how a batch of them is put together.

Guides run on one frame at a time. What they make of a frame then follows from that frame alone, to the bit, and not
from its neighbours in a batch; so it can be kept and read again (`guide_cache`). Feature maps lie channels last in
memory, as the student's do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from monotakd_ros.config import AugmentConfig, DistillationConfig
from monotakd_ros.data.preprocess import PreparedFrame, collate
from monotakd_ros.errors import ConfigError
from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.checkpoint import ASSISTANT, STUDENT, TEACHER
from monotakd_ros.network.detection_output import DetectionOutput
from monotakd_ros.training.array_digest import frame_digest
from monotakd_ros.training.guide_cache import FrameMaps, GuideCache, Part

HEAD_MAPS = ("cls_logits", "box_codes", "dir_logits")
TEACHER_BEV = Part(TEACHER, "bev", ("bev",))
TEACHER_HEAD = Part(TEACHER, "head", HEAD_MAPS)
ASSISTANT_BEV = Part(ASSISTANT, "bev", ("bev",))
ALL_PARTS = (TEACHER_BEV, TEACHER_HEAD, ASSISTANT_BEV)


def needed_parts(kind: str, config: DistillationConfig) -> tuple[Part, ...]:
    """What the terms with a weight above 0 read in the training of a network of that kind."""
    if kind != STUDENT:
        return (TEACHER_BEV,) if kind == ASSISTANT and config.alignment_weight else ()
    of_teacher = {name.removesuffix("_weight") for name in config.teacher_weights}
    of_head = {name for name in of_teacher if name.startswith("logit_") or name == "foreground"}
    wanted = {
        TEACHER_BEV: of_teacher - of_head,
        TEACHER_HEAD: of_head,
        ASSISTANT_BEV: config.assistant_weights,
    }
    return tuple(part for part, terms in wanted.items() if terms)


def asked_of_forward(kind: str, config: DistillationConfig) -> dict[str, bool]:
    """Arguments of the trained network's forward pass by which it also gives the maps that only the terms read."""
    if kind != STUDENT:
        return {}
    return {"with_residual": config.cmrd_weight > 0, "with_assistant": bool(config.branch_weights)}


def require_repeated_frames(augment: AugmentConfig) -> None:
    """Check that guides are shown the same frames again and again, so that what they give is worth keeping.

    Raises:
        ConfigError: names the settings.
    """
    if augment.moves_camera:
        raise ConfigError(
            f"training.augment.scale {augment.scale:g} and crop {augment.crop:g} show the guides another image each "
            "time: what they give cannot be kept; leave out --guide-cache, or set both to 0"
        )


@dataclass(frozen=True, eq=False)
class GuideMaps:
    """One guide's maps of G frames, as in `DetectionOutput`; None for those that no term reads.

    Attributes:
        bev: (G, C, Y, X), channels last in memory.
        cls_logits: (G, A, K).
        box_codes: (G, A, 7).
        dir_logits: (G, A, 2).
    """

    bev: torch.Tensor | None = None
    cls_logits: torch.Tensor | None = None
    box_codes: torch.Tensor | None = None
    dir_logits: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class GuideFrame:
    """One frame as guides see it: moved as the student's, in the colours that were recorded.

    Attributes:
        batch: of this frame alone; None when all that is needed is known, or no guide needed.
        digest: what identifies it in a cache; empty without one.
        known: what the cache has of it, by part.
    """

    batch: FrameBatch | None
    digest: str = ""
    known: Mapping[Part, FrameMaps] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> GuideFrame:
        """The same frame with every tensor on `device`."""
        known = {
            part: {name: item.to(device, non_blocking=True) for name, item in maps.items()}
            for part, maps in self.known.items()
        }
        return GuideFrame(None if self.batch is None else self.batch.to(device), self.digest, known)


class GuideFrameReader:
    """What the guides need of a frame: its image and clouds, or what a cache holds of it. Runs in loader workers too.

    Args:
        parts: that the terms read.
        cache: of their outputs; None to compute them.
    """

    def __init__(self, parts: Sequence[Part], cache: GuideCache | None = None) -> None:
        self.parts = tuple(parts)
        self.cache = cache

    def __call__(self, frame: PreparedFrame) -> GuideFrame | None:
        """The frame as guides see it; None for a frame without a cloud, of which guides have nothing to teach."""
        if not len(frame.points_lidar):
            return None
        if self.cache is None:
            return GuideFrame(_batch_of(frame) if self.parts else None)
        digest = frame_digest(frame)
        known = self.cache.read(digest, self.parts)
        complete = len(known) == len(self.parts)
        return GuideFrame(None if complete else _batch_of(frame), digest, known)


def _batch_of(frame: PreparedFrame) -> FrameBatch:
    return collate([replace(frame, boxes_lidar=None, labels=None)])


def frame_maps(
    frame: GuideFrame, parts: Sequence[Part], networks: Mapping[str, Callable[[FrameBatch], DetectionOutput]]
) -> dict[Part, FrameMaps]:
    """The parts of a frame that are not known yet, computed."""
    missing = [part for part in parts if part not in frame.known]
    computed: dict[Part, FrameMaps] = {}
    for kind in dict.fromkeys(part.kind for part in missing):
        assert frame.batch is not None, "a frame whose parts are not all known carries its image"
        output = networks[kind](frame.batch)
        computed |= {part: _maps_of_part(output, part) for part in missing if part.kind == kind}
    return computed


def _maps_of_part(output: DetectionOutput, part: Part) -> FrameMaps:
    return {name: _packed(getattr(output, name)[0]) for name in part.maps}


def _packed(frame_map: torch.Tensor) -> torch.Tensor:
    """The same map with a memory layout of our choice: every way to the same numbers must give the same sums."""
    if frame_map.ndim == 3:
        return frame_map.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    return frame_map.contiguous()


def stacked_maps(frames: Sequence[Mapping[Part, FrameMaps]], parts: Sequence[Part], kind: str) -> GuideMaps | None:
    """One guide's maps of several frames; None where no part is its, or there are no frames."""
    own = [part for part in parts if part.kind == kind]
    if not own or not frames:
        return None
    return GuideMaps(**{name: _stack([frame[part][name] for frame in frames]) for part in own for name in part.maps})


def _stack(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    if maps[0].ndim == 3:
        return torch.stack([item.permute(1, 2, 0) for item in maps]).permute(0, 3, 1, 2)
    return torch.stack(list(maps))
