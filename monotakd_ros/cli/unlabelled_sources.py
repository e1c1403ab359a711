"""The part of `monotakd train student` that turns unlabelled recordings into frames that a teacher labelled."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import ConcatDataset, Dataset
from tqdm import tqdm

from monotakd_ros.config import Config
from monotakd_ros.errors import ConfigError
from monotakd_ros.network.checkpoint import STUDENT
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.training.frame_cache import FrameCache, TrainingFrame
from monotakd_ros.training.mixed_frames import MixedFrames
from monotakd_ros.training.pseudo_label_quality import pseudo_label_quality
from monotakd_ros.training.pseudo_labels import PseudoLabelledFrames, PseudoLabels, sum_counts
from monotakd_ros.training.teacher_labels import LabellingTeacher, check_classes, teacher_labels

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TeacherLabelled:
    """Unlabelled recordings with the labels of one teacher.

    Attributes:
        teacher: its weights.
        recordings: their frames.
    """

    teacher: CheckpointName
    recordings: Sequence[PseudoLabelledFrames]

    def counts(self) -> dict[str, dict[str, float]]:
        """Per class, over all recordings; see `PseudoLabels.counts`."""
        return sum_counts([recording.labels for recording in self.recordings])

    def mixed_with(self, labelled: Dataset[TrainingFrame], fraction: float) -> MixedFrames:
        """All frames to learn from."""
        return MixedFrames(labelled, ConcatDataset(self.recordings), fraction)

    def data(self) -> dict[str, Any]:
        """What a resumed run has to have too."""
        return {
            "unlabelled": [recording.cache.identity for recording in self.recordings],
            "labelling_teacher": self.teacher.sha256,
            "pseudo_labels": [recording.labels.digest() for recording in self.recordings],
        }

    def metadata(self, frames: MixedFrames) -> dict[str, Any]:
        """What a checkpoint says about who labelled the frames it learned from."""
        return {
            "frames": frames.kinds(),
            "teacher": asdict(self.teacher),
            "pseudo_labels": self.counts(),
            "unlabelled_sources": [Path(recording.cache.report.path).name for recording in self.recordings],
        }


def add_unlabelled_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--unlabelled`."""
    parser.add_argument(
        "--unlabelled",
        type=Path,
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="camera and LiDAR recordings that the teacher labels (training.semi_supervised says how many samples); "
        "labels that they have are not learned from",
    )


def check_unlabelled(arguments: argparse.Namespace, config: Config) -> None:
    """Check, before anything is read, that config and arguments agree on unlabelled recordings.

    Raises:
        ConfigError: only one of config and arguments asks for them, or a source is used twice.
    """
    fraction = config.training.semi_supervised.unlabelled_fraction
    if fraction > 0 and not arguments.unlabelled:
        recipe = "unlabelled_only" if config.training.semi_supervised.unlabelled_only else "unlabelled"
        raise ConfigError(
            f"{arguments.config}: training.semi_supervised.unlabelled_fraction is {fraction}: give the recordings "
            f"(--unlabelled), or set it to 0 (leave out --recipe {recipe})"
        )
    if not arguments.unlabelled:
        return
    if fraction == 0:
        raise ConfigError(
            f"--unlabelled: training.semi_supervised.unlabelled_fraction of {arguments.config} is 0, so nothing would "
            "be learned from these recordings: add --recipe unlabelled, or leave them out"
        )
    check_apart("--unlabelled", arguments.unlabelled, "--data", arguments.data)
    check_apart("--unlabelled", arguments.unlabelled, "--val-data", arguments.val_data)
    _check_distinct("--unlabelled", arguments.unlabelled)


def check_labelled(arguments: argparse.Namespace, config: Config, learners: Sequence[str]) -> None:
    """Check, before anything is read, that labelled sources are there if, and only if, something learns from them.

    Args:
        arguments: of the command line.
        config: of the run.
        learners: the networks that will be trained.

    Raises:
        ConfigError: they are missing, would be given for nothing, or are used twice.
    """
    check_apart("--val-data", arguments.val_data, "--data", arguments.data)
    _check_distinct("--data", arguments.data)
    alone = config.training.semi_supervised.unlabelled_only
    wanting = [kind for kind in learners if kind != STUDENT or not alone]
    if wanting and not arguments.data:
        way_out = (
            "recordings without labels teach a student alone with --recipe unlabelled_only and --unlabelled"
            if STUDENT in wanting
            else f"or give trained ones: {' '.join(f'--{kind} CKPT' for kind in wanting)}"
        )
        raise ConfigError(
            f"--data: expected labelled sources for the {' and the '.join(wanting)} to learn from, got none; {way_out}"
        )
    if arguments.data and not wanting:
        raise ConfigError(
            f"--data: training.semi_supervised.unlabelled_fraction of {arguments.config} is 1, so nothing would be "
            "learned from these sources: leave them out, or take --recipe unlabelled"
        )


def check_labelling_teacher(teacher: Path | None, config: Config) -> None:
    """Check, before anything is read, that a teacher is there to label unlabelled recordings.

    Raises:
        ConfigError: there is none.
        CheckpointError: it cannot label for this student.
    """
    if teacher is None:
        raise ConfigError("--unlabelled needs the teacher that labels the recordings (--teacher)")
    check_classes(teacher, config)


def check_other_frames(
    option: str, caches: Sequence[FrameCache], other_option: str, others: Sequence[FrameCache]
) -> None:
    """Check, once sources are read, that no frame of one option is also in another, as a copy or in another selection.

    Raises:
        ConfigError: a source shares frames with another one.
    """
    known = {seen: cache.report.path for cache in others for seen in cache.report.seen}
    for cache in caches:
        shared = [known[seen] for seen in cache.report.seen if seen in known]
        if shared:
            raise ConfigError(
                f"{option} {cache.report.path}: {len(shared)} of {len(cache)} frames are also in {other_option} "
                f"{shared[0]}; what is validated on, learned from with labels, and without, must be other recordings"
            )


def check_apart(option: str, paths: Sequence[Path], other_option: str, others: Sequence[Path]) -> None:
    """Check that no path of one option is, holds or lies in one of another.

    Raises:
        ConfigError: one is.
    """
    for path in paths:
        for other in others:
            if _overlap(path, other):
                raise ConfigError(
                    f"{option} {path} and {other_option} {other} are the same recording, or one is in the other"
                )


def _check_distinct(option: str, paths: Sequence[Path]) -> None:
    for position, path in enumerate(paths):
        check_apart(option, [path], option, paths[:position])


def _overlap(a: Path, b: Path) -> bool:
    a, b = a.resolve(), b.resolve()
    return a == b or a in b.parents or b in a.parents


def label_recordings(
    caches: Sequence[FrameCache],
    checkpoint: Path,
    config: Config,
    root: Path,
    device: torch.device | str,
    silent: bool = False,
) -> TeacherLabelled:
    """Let the teacher label the recordings, as far as their labels do not lie in `root` already.

    Tells how it went, unless `silent`: of several processes one tells it.

    Raises:
        SourceError: labels that lie there are damaged.
        CheckpointError: the teacher cannot label for this student.
        OutputError: labels cannot be written.
    """
    teacher = LabellingTeacher(checkpoint, config, device)
    recordings = []
    for cache in caches:
        name = Path(cache.report.path).name
        with tqdm(total=len(cache), desc=f"labelling {name}", unit="frame", leave=False, disable=silent) as bar:
            labels, path = teacher_labels(cache, teacher, root, lambda number, bar=bar: bar.update(number - bar.n))
        if not silent:
            print(f"{name}: {_in_words(labels)}: {path}")
        recordings.append(PseudoLabelledFrames(cache, labels))
    labelled = TeacherLabelled(teacher.name, recordings)
    _warn_of_missing_classes(labelled.counts(), config)
    return labelled


def _in_words(labels: PseudoLabels) -> str:
    counts = ", ".join(
        f"{count['labels']} {kind} (+{count['uncertain']} uncertain)" for kind, count in labels.counts().items()
    )
    return f"{counts}; {labels.frames_without_label()} of {len(labels.frames)} frames without a label"


def _warn_of_missing_classes(counts: Mapping[str, Mapping[str, float]], config: Config) -> None:
    for name, count in counts.items():
        if not count["labels"]:
            _log.warning(
                "no %s in the unlabelled recordings reaches the threshold of %g: the highest score is %g",
                name,
                config.training.semi_supervised.threshold_of(name),
                count["highest_score"],
            )


def report_quality(labelled: TeacherLabelled, config: Config) -> None:
    """Print precision and recall of the teacher's labels on the map, where the recordings have labels of their own."""
    for name, point in pseudo_label_quality(labelled.recordings, config.student.grid.build()).items():
        precision, recall = ("-" if share is None else f"{share:.3f}" for share in (point.precision, point.recall))
        print(
            f"pseudo labels against the recordings' own, {name} from {point.score:g}: precision {precision}, "
            f"recall {recall} ({point.correct} right, {point.wrong} wrong, {point.missed} missed)"
        )
