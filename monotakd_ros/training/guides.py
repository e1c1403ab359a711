"""The frozen networks that guide a student: loaded, checked against the student, run on the very batches it sees."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from monotakd_ros.config import Config, DistillationConfig, HeadConfig, StudentConfig, TeacherConfig
from monotakd_ros.errors import CheckpointError, TrainingError
from monotakd_ros.network.assistant import Assistant
from monotakd_ros.network.checkpoint import ASSISTANT, STUDENT, TEACHER, load_checkpoint, load_network
from monotakd_ros.network.detection_output import DetectionOutput, StudentOutput
from monotakd_ros.network.student import Student
from monotakd_ros.network.teacher import Teacher
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.training.distillation_losses import alignment_terms, distillation_terms
from monotakd_ros.training.guide_cache import FrameMaps, GuideCache, Part, guide_facts
from monotakd_ros.training.guide_maps import ALL_PARTS, GuideFrame, GuideMaps, frame_maps, stacked_maps
from monotakd_ros.training.losses import LossTerm

_log = logging.getLogger(__name__)

Output = TypeVar("Output", bound=DetectionOutput)


@dataclass(frozen=True, eq=False)
class Guidance:
    """What the guides make of those frames of a batch that have a cloud: without one, they have nothing to teach.

    Attributes:
        teacher: its maps; None where none of them are needed.
        assistant: likewise.
        frames: (G,) int64 index of these frames in the batch.
    """

    teacher: GuideMaps | None
    assistant: GuideMaps | None
    frames: torch.Tensor


@dataclass(frozen=True, eq=False)
class Guides:
    """Teacher and assistant, as far as there are any; frozen: no gradients, and batch norms keep their statistics.

    Attributes:
        teacher: the LiDAR network.
        assistant: the camera network lifted with measured depth.
        files: where the weights of each came from, by kind.
    """

    teacher: Teacher | None = None
    assistant: Assistant | None = None
    files: Mapping[str, CheckpointName] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for network in self.networks.values():
            network.eval().requires_grad_(False)

    @property
    def networks(self) -> dict[str, Teacher | Assistant]:
        """The guides that are there, by kind."""
        pairs = {TEACHER: self.teacher, ASSISTANT: self.assistant}
        return {kind: network for kind, network in pairs.items() if network is not None}

    @property
    def checksums(self) -> dict[str, str]:
        """What tells these guides from others."""
        return {kind: name.sha256 for kind, name in self.files.items()}

    def share_plans(self, network: Student | Assistant) -> None:
        """Let the assistant read the taught network's lift plans where both lift alike: they need not be kept twice."""
        if self.assistant is not None and _lift(self.assistant.config) == _lift(network.config):
            self.assistant.view_transform.plans = network.view_transform.plans

    def open_cache(self, folder: Path, amp: str, device: torch.device) -> GuideCache:
        """The cache in `folder` of what these guides give in this precision on such a device.

        Raises:
            TrainingError: other guides made it.
            OutputError: it cannot be written.
        """
        return GuideCache(folder, {kind: guide_facts(network, amp, device) for kind, network in self.networks.items()})

    @torch.no_grad()
    def __call__(
        self, frames: Sequence[GuideFrame | None], parts: Sequence[Part] = ALL_PARTS, cache: GuideCache | None = None
    ) -> Guidance:
        """Run the guides, frame by frame, on what is not known of a batch.

        Args:
            frames: of the batch; None where there is no cloud.
            parts: to compute.
            cache: where to keep what had to be computed.

        Raises:
            FrameError: a frame carries no cloud.
            OutputError: the cache cannot be written.
        """
        parts = [part for part in parts if part.kind in self.networks]
        with_cloud = [index for index, frame in enumerate(frames) if frame is not None]
        maps = [self._maps(frame, parts, cache) for frame in frames if frame is not None]
        return Guidance(
            stacked_maps(maps, parts, TEACHER),
            stacked_maps(maps, parts, ASSISTANT),
            torch.tensor(with_cloud, dtype=torch.int64),
        )

    def _maps(self, frame: GuideFrame, parts: Sequence[Part], cache: GuideCache | None) -> dict[Part, FrameMaps]:
        computed = frame_maps(frame, parts, self.networks)
        if cache is not None:
            cache.write(frame.digest, computed)
        return {**frame.known, **computed}


NO_GUIDES = Guides()


def guided_terms(output: DetectionOutput, guidance: Guidance, config: DistillationConfig) -> dict[str, LossTerm]:
    """What the guides teach a student, or a teacher its assistant, over a batch's frames with a cloud; 0 without."""
    output = _of_frames(output, guidance.frames.to(output.bev.device))
    teacher, assistant = guidance.teacher, guidance.assistant
    if not len(guidance.frames):  # no guide ran: maps of no frames, whose shapes are those of the output
        teacher = assistant = GuideMaps(output.bev, output.cls_logits, output.box_codes, output.dir_logits)
    if isinstance(output, StudentOutput):
        return distillation_terms(output, teacher, assistant, config)
    assert teacher is not None, "an assistant is guided by a teacher"
    return alignment_terms(output, teacher, config)


def _of_frames(output: Output, frames: torch.Tensor) -> Output:
    if len(frames) == len(output.bev):
        return output
    maps = {item.name: getattr(output, item.name) for item in dataclasses.fields(output)}
    return dataclasses.replace(output, **{name: None if m is None else m[frames] for name, m in maps.items()})


def load_guides(kind: str, config: Config, teacher: Path | None, assistant: Path | None = None) -> Guides:
    """The guides that the weights of `training.distillation` ask for, on the CPU.

    Args:
        kind: the network that is trained: "student", or "assistant", which a teacher may guide.
        config: of that network.
        teacher: its checkpoint; not read, with a warning, where no weight asks for it.
        assistant: likewise.

    Raises:
        TrainingError: a weight asks for a guide that is not given.
        CheckpointError: unreadable, another kind of network, or one whose maps or classes are not the student's.
    """
    given = {guide: path for guide, path in ((TEACHER, teacher), (ASSISTANT, assistant)) if path is not None}
    require_guides(kind, config, given)
    networks: dict[str, Any] = {}
    for guide, path in given.items():
        if not asking_weights(kind, config)[guide]:
            _log.warning("%s: no weight of training.distillation asks for the %s: it teaches nothing", path, guide)
            continue
        check_agreement(path, guide, load_checkpoint(path, guide).config, config)
        networks[guide], _ = load_network(path)
    return Guides(**networks, files={guide: CheckpointName.of(given[guide]) for guide in networks})


def require_guides(kind: str, config: Config, given: Collection[str]) -> None:
    """Check that the guides of a network are among `given` ("teacher", "assistant"), and that none is of no use.

    Raises:
        TrainingError: names the guide and the weights that ask for it; or a guide that such a network never has.
    """
    asked = asking_weights(kind, config)
    if strangers := [guide for guide in given if guide not in asked]:
        raise TrainingError(f"training of a {kind}: no guide of this kind can teach it: {', '.join(strangers)}")
    for guide, weights in asked.items():
        if weights and guide not in given:
            raise TrainingError(
                f"config {config.name}: {', '.join(weights)} of training.distillation above 0 ask for the {guide}: "
                f"give its checkpoint (--{guide}), or set them to 0"
            )


def require_lessons(kind: str, config: Config) -> None:
    """Check that something teaches a network.

    A teacher or an assistant has to learn to detect; a recipe without labels takes them as they are given.

    Raises:
        TrainingError: every weight that could is 0.
    """
    loss, distillation = config.training.loss, config.training.distillation
    detection = loss.cls_weight or loss.box_weight or loss.direction_weight
    if kind != STUDENT and not detection:
        raise TrainingError(
            f"config {config.name}: cls_weight, box_weight and direction_weight of training.loss are 0, as in the "
            f"recipes of the released code, so that a {kind} would learn nothing: give a trained one (--{kind} CKPT), "
            "or train it with another recipe"
        )
    guides = (*distillation.teacher_weights, *distillation.assistant_weights, *distillation.branch_weights)
    if kind == STUDENT and not (detection or loss.depth_weight or guides):
        raise TrainingError(
            f"config {config.name}: all weights of training.loss and training.distillation are 0, so that the student "
            "would learn nothing"
        )


def asking_weights(kind: str, config: Config) -> dict[str, tuple[str, ...]]:
    """Per guide that a network of that kind may have: the weights above 0 that ask for it."""
    settings = config.training.distillation
    if kind == STUDENT:
        return {TEACHER: settings.teacher_weights, ASSISTANT: settings.assistant_weights}
    if kind == ASSISTANT:
        return {TEACHER: ("alignment_weight",) if settings.alignment_weight else ()}
    return {}


def check_agreement(path: Path, kind: str, guide: Config, config: Config) -> None:
    """Check that a guide's maps mean the same as the student's, cell by cell, channel by channel, class by class.

    Args:
        path: the guide's checkpoint, for the message.
        kind: "teacher" or "assistant".
        guide: the settings in that checkpoint.
        config: of the student.

    Raises:
        CheckpointError: names both and everything that differs.
    """
    if kind == TEACHER:
        assert guide.teacher is not None, "a teacher was built from this config"
        found, wanted = _teacher_facts(guide.teacher), _map_facts(config.student) | _head_facts(config.student.head)
    else:
        found, wanted = (_map_facts(section) | _camera_facts(section) for section in (guide.student, config.student))
    differing = [f"{key}: expected {wanted[key]}, got {found[key]}" for key in wanted if wanted[key] != found[key]]
    if differing:
        raise CheckpointError(
            f"{path}: this {kind} ({guide.name}) cannot guide the student of config {config.name}: "
            + "; ".join(differing)
        )


def _map_facts(section: StudentConfig) -> dict[str, Any]:
    return {
        "grid.range_m": section.grid.range_m,
        "BEV cells (x, y)": section.grid.build().shape_xyz[:2],
        "BEV channels": section.bev.collapse_channels,
        "classes": section.class_names,
    }


def _teacher_facts(section: TeacherConfig) -> dict[str, Any]:
    return {
        "grid.range_m": section.grid.range_m,
        "BEV cells (x, y)": section.bev_grid.shape_xyz[:2],
        "BEV channels": section.bev.collapse_channels,
        "classes": section.class_names,
    } | _head_facts(section.head)


def _head_facts(head: HeadConfig) -> dict[str, Any]:
    """What makes an anchor's logits and codes mean the same."""
    return {
        "anchors": tuple((anchor.size_m, anchor.bottom_z_m) for anchor in head.anchors),
        "head.rotations": head.rotations,
        "head.placement": head.placement,
        "head.direction_offset": head.direction_offset,
    }


def _camera_facts(section: StudentConfig) -> dict[str, Any]:
    """The images that a camera network is given."""
    camera = section.input
    return {"input camera": (camera.width, camera.height, camera.focal_px, camera.center_px)}


def _lift(section: StudentConfig) -> tuple[object, ...]:
    """What a lift plan follows from, besides the calibration."""
    return section.grid, section.depth, section.lift
