"""Running the frozen teacher over unlabelled recordings, once, before training.

Frames are labelled one by one, so that labels do not depend on neighbours, and written as they come to a file of lines
beside the final one: after Ctrl-C or a kill the next run goes on where this one stopped. A lock on that file lets
processes that share a cache wait for each other instead of mixing their lines.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import torch

from monotakd_ros.atomic import output_errors
from monotakd_ros.config import Config
from monotakd_ros.data.preprocess import collate
from monotakd_ros.errors import CheckpointError
from monotakd_ros.network.checkpoint import TEACHER, load_checkpoint, load_network
from monotakd_ros.network.teacher import Teacher
from monotakd_ros.provenance import CheckpointName, code_commit, network_code, versions
from monotakd_ros.training.file_lock import locked
from monotakd_ros.training.frame_cache import FrameCache, TrainingFrame
from monotakd_ros.training.pseudo_labels import (
    FrameBoxes,
    Provenance,
    PseudoLabels,
    class_thresholds,
    load_pseudo_labels,
    save_pseudo_labels,
)

_log = logging.getLogger(__name__)

LABEL_DIR = "pseudo_labels"
PARTIAL_SUFFIX = ".partial.jsonl"


class LabellingTeacher:
    """A frozen teacher whose boxes become labels.

    Attributes:
        name: of its weights file.
        config_name: of the config it was trained with.
    """

    def __init__(self, path: Path, config: Config, device: torch.device | str = "cpu") -> None:
        """Load it.

        Args:
            path: its checkpoint.
            config: of the student.
            device: to run on.

        Raises:
            CheckpointError: unreadable, no teacher, or one with other classes than the student's.
        """
        check_classes(path, config)
        network, checkpoint = load_network(path, torch.device(device))
        assert isinstance(network, Teacher), "check_classes lets only teachers pass"
        # It must also tell what it is not sure of.
        lowest = config.training.semi_supervised.ignore_threshold
        network.head.postprocess = replace(network.head.postprocess, score_threshold=lowest)
        self.name = CheckpointName.of(path)
        self.config_name = checkpoint.config.name
        self._network = network.eval().requires_grad_(False)
        self._device = device
        self._settings = config.training.semi_supervised
        self._class_names = config.student.class_names
        self._code_commit = code_commit()

    @torch.no_grad()
    def boxes(self, frame: TrainingFrame) -> FrameBoxes:
        """What the teacher sees in a frame with a cloud, from `ignore_threshold` on."""
        batch = collate([frame.prepared]).to(self._device)
        (found,) = self._network.decode(self._network(batch))
        arrays = (tensor.cpu().numpy() for tensor in (found.boxes.float(), found.scores.float(), found.labels))
        return FrameBoxes.rounded(frame.prepared.name, *arrays)

    def provenance(self, cache: FrameCache) -> Provenance:
        """What labels of these frames say about how they were made."""
        return Provenance(
            teacher=self.name,
            teacher_config=self.config_name,
            class_names=self._class_names,
            thresholds=class_thresholds(self._settings, self._class_names),
            ignore_threshold=self._settings.ignore_threshold,
            recording=cache.report.path,
            frames=cache.folder.name,
            versions=versions(),
            code=network_code(),
            code_commit=self._code_commit,
        )


def check_classes(path: Path, config: Config) -> None:
    """Check, before anything is read, that a checkpoint is of a teacher with the student's classes.

    Raises:
        CheckpointError: it is not.
    """
    teacher = load_checkpoint(path, TEACHER).config
    assert teacher.teacher is not None, "a teacher was built from this config"
    if teacher.teacher.class_names != config.student.class_names:
        raise CheckpointError(
            f"{path}: this teacher ({teacher.name}) cannot label for the student of config {config.name}: expected "
            f"the classes {', '.join(config.student.class_names)}, got {', '.join(teacher.teacher.class_names)}"
        )


def label_file(root: Path, provenance: Provenance) -> Path:
    """Where labels lie: another recording, teacher or threshold has another file."""
    facts = [provenance.teacher.sha256, provenance.thresholds, provenance.ignore_threshold]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return root / LABEL_DIR / f"{provenance.frames}-{digest}.json"


def teacher_labels(
    cache: FrameCache,
    teacher: LabellingTeacher,
    root: Path,
    on_frame: Callable[[int], None] = lambda number: None,
) -> tuple[PseudoLabels, Path]:
    """The labels of a recording and their file: as they lie there when all of their provenance matches, else made now.

    Args:
        cache: its frames.
        teacher: makes them.
        root: folder of caches, under which the file lies.
        on_frame: called with the number of frames labelled so far.

    Raises:
        SourceError: the file is damaged.
        OutputError: the file cannot be written.
    """
    provenance = teacher.provenance(cache)
    path = label_file(root, provenance)
    known = load_pseudo_labels(path, provenance)
    if known is None:
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.with_suffix(PARTIAL_SUFFIX)) as partial:
                known = load_pseudo_labels(path, provenance)  # made by whoever held the lock
                if known is None:
                    known = _make(cache, teacher, provenance, partial, on_frame)
                    save_pseudo_labels(path, known)
                Path(partial.name).unlink(missing_ok=True)
    return known, path


def _make(
    cache: FrameCache,
    teacher: LabellingTeacher,
    provenance: Provenance,
    partial: TextIO,
    on_frame: Callable[[int], None],
) -> PseudoLabels:
    done = _begun(partial, provenance)
    if done:
        _log.info("%s: %s of %s frames are labelled already", cache.report.path, len(done), len(cache))
    for index in range(len(done), len(cache)):
        on_frame(index)
        done.append(teacher.boxes(cache[index]))
        _append(partial, done[-1].plain(provenance.class_names))
    on_frame(len(cache))
    return PseudoLabels(provenance, tuple(done))


def _begun(partial: TextIO, provenance: Provenance) -> list[FrameBoxes]:
    """The frames that an interrupted labelling left whole; the file is cut after them."""
    partial.seek(0)
    lines = partial.read().splitlines(keepends=True)
    frames: list[FrameBoxes] = []
    kept = ""
    try:
        if lines and provenance.matches(json.loads(lines[0])):
            kept = lines[0]
            for line in lines[1:]:
                if not line.endswith("\n"):
                    break
                frames.append(FrameBoxes.from_plain(json.loads(line), provenance.class_names))
                kept += line
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("%s: made anew from a damaged line on: %s", partial.name, error)
    partial.seek(0)
    partial.truncate()
    partial.write(kept)
    if not kept:
        _append(partial, provenance.plain())
    return frames


def _append(partial: TextIO, values: dict[str, Any]) -> None:
    partial.write(json.dumps(values) + "\n")
    partial.flush()
