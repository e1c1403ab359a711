"""`monotakd train NETWORK`: train student, assistant or teacher on any source with labels."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.data import ConcatDataset, Dataset, Subset
from tqdm import tqdm

from monotakd_ros.cli import train_all
from monotakd_ros.cli.argument_types import positive_int, weights_file
from monotakd_ros.cli.run_report import report_maps, report_run
from monotakd_ros.cli.source_arguments import add_source_arguments, source_options
from monotakd_ros.cli.unlabelled_sources import (
    TeacherLabelled,
    add_unlabelled_arguments,
    check_labelled,
    check_labelling_teacher,
    check_other_frames,
    check_unlabelled,
    label_recordings,
    report_quality,
)
from monotakd_ros.config import Config
from monotakd_ros.config_file import load_config
from monotakd_ros.data.source import open_source
from monotakd_ros.detector import resolve_device
from monotakd_ros.errors import ConfigError, TrainingError
from monotakd_ros.geometry.transforms import camera_height_m
from monotakd_ros.network.checkpoint import ASSISTANT, STUDENT, TEACHER, build_network, load_network
from monotakd_ros.network.inherit import start_from
from monotakd_ros.network.precision import usable_amp
from monotakd_ros.shipped import recipe_path
from monotakd_ros.training.distributed import Processes, joined_processes
from monotakd_ros.training.frame_cache import FrameCache, TrainingFrame, cached_frames
from monotakd_ros.training.guide_maps import require_repeated_frames
from monotakd_ros.training.guides import NO_GUIDES, Guides, asking_weights, load_guides, require_lessons
from monotakd_ros.training.interrupt import sigterm_as_ctrl_c
from monotakd_ros.training.loop import train_network
from monotakd_ros.training.memory_need import check_memory, memory_need
from monotakd_ros.training.run_folder import CACHE_DIR, STATE_FILE, check_run_folder, load_state
from monotakd_ros.training.run_options import Progress, RunOptions

_log = logging.getLogger(__name__)

NETWORKS = {
    STUDENT: (
        "the camera detector",
        "Train the camera detector with detection and depth losses. LiDAR clouds give the depth loss\n"
        "its targets; without them only boxes teach.\n\n"
        "With a recipe that distils (--recipe paper), a frozen teacher and assistant teach it too, on\n"
        "frames with LiDAR clouds: --teacher and --assistant. Recordings without labels teach through\n"
        "the teacher (--unlabelled, training.semi_supervised).",
    ),
    ASSISTANT: (
        "the camera detector that is given LiDAR depth",
        "Train the teaching assistant, the student's trunk lifted with the depth that a LiDAR measured,\n"
        "with detection losses. Frames need LiDAR clouds. With training.distillation.alignment_weight\n"
        "(as the recipes imd, cmrd and paper have), its map also learns to be like that of --teacher.",
    ),
    TEACHER: (
        "the LiDAR detector",
        "Train the teacher (SECOND) with detection losses on the part of the LiDAR clouds that the\n"
        "camera sees. The config needs a `teacher` section (as config/monotakd_small.yaml has).",
    ),
}
"""Per network: help and description."""

GUIDES_OF = {STUDENT: (TEACHER, ASSISTANT), ASSISTANT: (TEACHER,)}
"""Per network: the guides that may teach it."""

ALL = "all"

DESCRIPTION = """\
{description}

Each SOURCE is a bag, a KITTI folder or a KITTI raw drive with labels. It is read once into the cache; later runs and
--resume start from there. Without --val-data the last part of each source (training.validation_fraction) is held back
for validation.

RUN then holds: last.pt (to resume), best.pt (best validation AP) and final.pt (both for `monotakd replay`),
log.jsonl and tensorboard/.
"""

EPILOG = """\
examples:
  monotakd simulate drive_a --frames 200 --seed 1
  monotakd train {network} --config config/monotakd_small.yaml --data drive_a --out run --steps 500
  monotakd train {network} --config config/monotakd_small.yaml --data drive_a --out run --resume
  monotakd train {network} --config config/monotakd_small.yaml --data drive_a drive_b --val-data drive_c --out run2 \\
      --init run/final.pt --device cuda
{guided}
Ctrl-C or SIGTERM finishes the step, writes last.pt and exits with 130; --resume then continues, on a CPU bit for bit.

On several GPUs (or, with --device cpu, processes) of one or many machines that share a disk:
  torchrun --nproc-per-node 2 -m monotakd_ros.cli.main train {network} --config ... --data ... --out run --device cuda
A step then has batch_size x accumulate x processes frames.
"""

GUIDED_EXAMPLE = """\
  monotakd train student --config config/monotakd_small.yaml --recipe paper --data drive_a --out run3 \\
      --teacher run_teacher/final.pt --assistant run_assistant/final.pt --init run_assistant/final.pt
  monotakd train student --config config/monotakd_small.yaml --recipe paper --recipe unlabelled --out run4 \\
      --data drive_a --unlabelled drive_c drive_d \\
      --teacher run_teacher/final.pt --assistant run_assistant/final.pt --init run_assistant/final.pt

Another vehicle's camera and LiDAR, nothing labelled, from the shipped weights:
  monotakd train student --config config/monotakd_small.yaml --recipe paper --recipe unlabelled_only --recipe refine \\
      --unlabelled recording_a recording_b --teacher teacher_small --assistant assistant_small --init monotakd_small \\
      --steps 700 --guide-cache guides --out run5
"""


def add_parser(subparsers: Any) -> None:
    """Register `train` and its networks."""
    parser = subparsers.add_parser("train", help="train a network", description="Train a network.")
    networks = parser.add_subparsers(dest="network", metavar="NETWORK", required=True)
    for network, (summary, description) in NETWORKS.items():
        one = networks.add_parser(
            network,
            help=summary,
            description=DESCRIPTION.format(description=description),
            epilog=EPILOG.format(network=network, guided=GUIDED_EXAMPLE if network == STUDENT else ""),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_arguments(one, "--recipe unlabelled_only" if network == STUDENT else None)
        _add_guide_arguments(one, network)
        if network == STUDENT:
            add_unlabelled_arguments(one)
        else:
            one.set_defaults(unlabelled=[])
        one.set_defaults(run=run)
    every = networks.add_parser(
        ALL,
        help="teacher, assistant and student, one after the other",
        description=train_all.DESCRIPTION,
        epilog=train_all.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_arguments(every, "--recipe unlabelled_only and guides that are given")
    add_unlabelled_arguments(every)
    train_all.add_arguments(every)
    _add_guide_cache(every)
    every.set_defaults(run=run_all)


def run_all(arguments: argparse.Namespace) -> int:
    """Train what the recipe asks for."""
    config = load_config(arguments.config, *map(recipe_path, arguments.recipe))
    check_unlabelled(arguments, config)  # before a teacher is trained for them
    with _together(arguments.device) as processes:
        device = resolve_device(processes.device)
        plan, decided = processes.from_first(lambda: train_all.plan_stages(arguments, config))
        arguments = argparse.Namespace(**vars(arguments) | decided)
        stages = list(train_all.stages(arguments, config))
        config = replace(config, training=replace(config.training, amp=usable_amp(config.training.amp, device)))
        _check_stages_fit(stages, arguments, config, processes)
        sources = Sources.read(arguments, config, processes)
        largest = with_largest_images(config, sources.all)
        if largest != config:
            _check_stages_fit(stages, arguments, largest, processes)
        processes.from_first(lambda: train_all.keep_plan(arguments, config, plan))
        say = print if processes.first else lambda line: None
        return train_all.run_stages(
            stages, arguments, config, lambda stage: _train(stage, processes, sources.of(stage)), say
        )


def _check_stages_fit(
    stages: Sequence[train_all.Stage], arguments: argparse.Namespace, config: Config, processes: Processes
) -> None:
    """Compare what each stage needs with the free memory, before the first one is trained.

    Raises:
        TrainingError: one does not fit.
    """
    for stage in stages:
        asked = asking_weights(stage.network, config)
        guides = {
            kind: build_network(kind, config) if getattr(arguments, kind) is None else load_network(path)[0]
            for kind, path in stage.guides.items()
            if asked.get(kind)
        }
        part = train_all.stage_arguments(arguments, config, stage)
        check_step_fits(stage.network, config, Guides(**guides), cameras_of(part, config), processes)


def _add_guide_arguments(parser: argparse.ArgumentParser, network: str) -> None:
    for guide in GUIDES_OF.get(network, ()):
        text = f"weights of the frozen {guide}, where training.distillation asks for it"
        parser.add_argument(f"--{guide}", type=weights_file, metavar="CKPT", help=text)
    if network in GUIDES_OF:
        _add_guide_cache(parser)


def _add_guide_cache(parser: argparse.ArgumentParser) -> None:
    text = "read what the guides give from this folder, and keep there what is not in it yet; runs may share it"
    parser.add_argument("--guide-cache", type=Path, metavar="DIR", help=text)


def _add_arguments(parser: argparse.ArgumentParser, labels_not_needed_with: str | None) -> None:
    add = parser.add_argument
    add("--config", type=Path, required=True, help="YAML file with the network and training settings")
    add(
        "--recipe",
        action="append",
        default=[],
        metavar="NAME",
        help="settings laid over the config, repeated for several: a YAML file, or the name of one of config/recipes "
        "(none, direct, imd, cmrd, logit, paper, released_code, released_history; "
        "unlabelled, unlabelled_only, refine and foreground go over one of them)",
    )
    exception = "" if labels_not_needed_with is None else f" (none with {labels_not_needed_with})"
    add(
        "--data",
        type=Path,
        nargs="+",
        default=[],
        required=labels_not_needed_with is None,
        metavar="SOURCE",
        help=f"labelled sources to learn from{exception}",
    )
    add("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    add("--val-data", type=Path, nargs="+", default=[], metavar="SOURCE", help="labelled sources to validate on")
    add("--steps", type=positive_int, help="optimiser steps (default: the config's; with --resume: the run's)")
    add("--stop-at", type=positive_int, metavar="STEP", help="stop after this step, to be resumed later")
    add("--seed", type=int, help="seed of weights, order and augmentation (default: the config's)")
    add("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="continue the run in RUN")
    start.add_argument("--overwrite", action="store_true", help="replace the run in RUN (its cache stays)")
    add(
        "--init",
        type=weights_file,
        metavar="CKPT",
        help="start a new run from these weights: of the same network, or what an assistant (teacher) shares with it",
    )
    add(
        "--cache", type=Path, metavar="DIR", help="folder of prepared frames, to be shared by runs (default: RUN/cache)"
    )
    add("--strict", action="store_true", help="stop at the first unreadable frame instead of skipping it")
    add_source_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the sources, train, report; in the first process only, where torchrun started several."""
    with _together(arguments.device) as processes:
        return _train(arguments, processes)


@contextmanager
def _together(device: str) -> Iterator[Processes]:
    """The processes that torchrun started, of which the first one alone warns."""
    with sigterm_as_ctrl_c(), joined_processes(device) as processes:
        if not processes.first:
            logging.getLogger("monotakd_ros").setLevel(logging.ERROR)
        yield processes


@dataclass(frozen=True, eq=False)
class Sources:
    """What a run learns from and validates on, read.

    Attributes:
        labelled: of --data.
        validation: of --val-data.
        unlabelled: of --unlabelled.
    """

    labelled: list[FrameCache]
    validation: list[FrameCache]
    unlabelled: list[FrameCache]

    @property
    def all(self) -> list[FrameCache]:
        """One after the other."""
        return [*self.labelled, *self.validation, *self.unlabelled]

    @classmethod
    def read(cls, arguments: argparse.Namespace, config: Config, processes: Processes) -> Sources:
        """Read what is not in the cache yet, once every source could be opened; leaves no empty folder.

        Raises:
            SourceError: one is missing or unreadable.
            ConfigError: one shares frames with another one.
        """
        options = source_options(arguments)
        for path in (*arguments.data, *arguments.val_data, *arguments.unlabelled):
            open_source(path, options).close()
        try:
            labelled = processes.in_turn(lambda: _read(arguments.data, arguments, config, processes))
            validation = processes.in_turn(lambda: _read(arguments.val_data, arguments, config, processes))
            unlabelled = processes.in_turn(lambda: _read(arguments.unlabelled, arguments, config, processes, True))
        except BaseException:
            _remove_empty(arguments.out / CACHE_DIR, arguments.out)
            raise
        check_other_frames("--val-data", validation, "--data", labelled)
        check_other_frames("--unlabelled", unlabelled, "--data", labelled)
        check_other_frames("--unlabelled", unlabelled, "--val-data", validation)
        return cls(labelled, validation, unlabelled)

    def of(self, stage: argparse.Namespace) -> Sources:
        """Those that one stage uses."""
        return Sources(
            self.labelled if stage.data else [], self.validation, self.unlabelled if stage.unlabelled else []
        )


def cameras_of(arguments: argparse.Namespace, config: Config) -> tuple[int, int]:
    """Number of calibrations that are learned from, and validated on."""
    held_back = arguments.data if config.training.validation_fraction else []
    return len(arguments.data) + len(arguments.unlabelled), len(arguments.val_data or held_back)


def _train(arguments: argparse.Namespace, processes: Processes, sources: Sources | None = None) -> int:
    """One process's part of `run`; `sources` where they were read already."""
    if arguments.resume and arguments.init is not None:
        raise ConfigError(train_all.INIT_AND_RESUME)
    resolve_device(processes.device)
    if processes.first:
        check_run_folder(arguments.out, arguments.resume, arguments.overwrite)
    config = processes.from_first(lambda: _config(arguments, processes.device))
    if arguments.network == TEACHER and config.teacher is None:
        raise ConfigError(f"{arguments.config}: no `teacher` section, so there is no teacher to train")
    require_lessons(arguments.network, config)
    if arguments.init is not None:  # before hours of reading
        start_from(build_network(arguments.network, config), arguments.network, arguments.init)
    check_labelled(arguments, config, [arguments.network])
    if arguments.network == STUDENT:
        check_unlabelled(arguments, config)
    if arguments.unlabelled:
        check_labelling_teacher(arguments.teacher, config)
    given = {guide: getattr(arguments, guide) for guide in GUIDES_OF.get(arguments.network, ())}
    if arguments.unlabelled and not config.training.distillation.teacher_weights:
        given[TEACHER] = None  # it only labels
    guides = load_guides(arguments.network, config, **given) if given else NO_GUIDES
    cameras = cameras_of(arguments, config)
    check_step_fits(arguments.network, config, guides, cameras, processes)
    if guides.networks and arguments.guide_cache is not None:
        require_repeated_frames(config.training.augment)
        guides.open_cache(arguments.guide_cache, config.training.amp, torch.device(processes.device))
    sources = sources or Sources.read(arguments, config, processes)
    caches, val_caches, unlabelled = sources.labelled, sources.validation, sources.unlabelled
    largest = with_largest_images(config, sources.all)
    if largest != config:
        check_step_fits(arguments.network, largest, guides, cameras, processes)
    usable = [usable_frames(cache, arguments.network) for cache in caches]
    val_usable = [usable_frames(cache, arguments.network) for cache in val_caches]
    train_frames, val_frames = split(usable, val_usable, config.training.validation_fraction)
    check_gaps(caches, arguments.network, config, unlabelled)
    data: dict[str, Any] = {
        "train": [cache.identity for cache in caches],
        "validation": [cache.identity for cache in val_caches],
    }
    left_out = sum(len(cache) for cache in (*caches, *val_caches)) - sum(map(len, (*usable, *val_usable)))
    if left_out:
        data["left_out_without_cloud"] = left_out
    labels: dict[str, Any] = {}
    if unlabelled:
        found = processes.in_turn(lambda: _label(unlabelled, arguments, config, processes))
        train_frames = found.mixed_with(train_frames, config.training.semi_supervised.unlabelled_fraction)
        data |= found.data()
        labels = found.metadata(train_frames)
    config = with_trained_camera(config, [*caches, *unlabelled])
    options = RunOptions(
        device=processes.device,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        stop_at=arguments.stop_at,
        init=arguments.init,
        data=data,
        sources=tuple(path.name for path in arguments.data),
        labels=labels,
        processes=processes,
        guide_cache=arguments.guide_cache if guides.networks else None,
    )
    if processes.first:
        print(f"{len(train_frames)} frames to learn from, {len(val_frames)} to validate on")
    with ProgressBar() as bar:
        result = train_network(
            arguments.network, config, train_frames, val_frames, arguments.out, options, bar.show, guides
        )
    if processes.first:
        print(report_run(result, arguments.out, arguments.network, config, processes.device, processes.count))
        if result.finished and arguments.network == STUDENT and guides.networks:
            print(report_maps(arguments.out, guides, val_frames or train_frames, processes.device))
    return 0


def _config(arguments: argparse.Namespace, device: str) -> Config:
    """The config file with the command line's steps and seed, in a precision that the device has.

    A resumed run keeps the steps it was started with.
    """
    config = load_config(arguments.config, *map(recipe_path, arguments.recipe))
    steps = arguments.steps
    if steps is None and arguments.resume:
        steps = load_state(arguments.out / STATE_FILE)["config"]["training"]["steps"]
    changes: dict[str, Any] = {"amp": usable_amp(config.training.amp, torch.device(device), "training.amp")}
    changes |= {name: value for name, value in (("steps", steps), ("seed", arguments.seed)) if value is not None}
    return replace(config, training=replace(config.training, **changes))


def _label(
    caches: Sequence[FrameCache], arguments: argparse.Namespace, config: Config, processes: Processes
) -> TeacherLabelled:
    root = arguments.cache or arguments.out / CACHE_DIR
    found = label_recordings(caches, arguments.teacher, config, root, processes.device, silent=not processes.first)
    if processes.first and not arguments.resume:
        report_quality(found, config)
    return found


def _read(
    paths: Sequence[Path], arguments: argparse.Namespace, config: Config, processes: Processes, unlabelled: bool = False
) -> list[FrameCache]:
    options = source_options(arguments)
    caches = []
    for path in paths:
        source = open_source(path, options)
        try:
            with tqdm(
                total=len(source), desc=f"reading {path.name}", unit="frame", leave=False, disable=not processes.first
            ) as bar:
                cache = cached_frames(
                    source,
                    arguments.cache or arguments.out / CACHE_DIR,
                    config.student.input,
                    config.student.class_names,
                    strict=arguments.strict,
                    options=options,
                    on_frame=lambda number, bar=bar: bar.update(number - bar.n),
                    unlabelled=unlabelled,
                )
        finally:
            source.close()
        caches.append(cache)
        if not processes.first:
            continue
        report = cache.report
        kept, left_out = (
            ("frames with a cloud, taken as unlabelled", f"{report.without_cloud} without a cloud")
            if unlabelled
            else ("labelled frames", f"{report.unlabelled} unlabelled")
        )
        print(f"{path}: {report.frames} {kept}, {left_out}, {len(report.bad)} unreadable")
        for message in report.bad[:5]:
            print(f"  skipped: {message}", file=sys.stderr)
    return caches


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def usable_frames(cache: FrameCache, network: str) -> FrameCache | Subset[TrainingFrame]:
    """The frames that a network can learn from: a teacher or assistant that was shown none of a frame's points, and
    boxes, would learn to invent objects."""
    if network == STUDENT or cache.report.with_points == len(cache):
        return cache
    return Subset(cache, cache.with_cloud())


def split(
    caches: Sequence[Sized], val_caches: Sequence[Sized], validation_fraction: float
) -> tuple[Dataset[TrainingFrame], Dataset[TrainingFrame]]:
    """Frames to learn from and to validate on.

    Without `val_caches` the last `validation_fraction` of each source is held back: neighbouring frames of a drive
    look so much alike that a random choice would not be held out. A source too short for that gives none.
    """
    if val_caches:
        return _joined(caches), _joined(val_caches)
    train, validation = [], []
    for cache in caches:
        count = len(cache) - int(len(cache) * validation_fraction)
        train.append(Subset(cache, range(count)))
        validation.append(Subset(cache, range(count, len(cache))))
    return _joined(train), _joined(validation)


def _joined(parts: Sequence[Dataset[TrainingFrame]]) -> Dataset[TrainingFrame]:
    """One after the other; of no part an empty one, which `ConcatDataset` alone refuses."""
    return ConcatDataset(parts or [[]])


def check_gaps(
    caches: Sequence[FrameCache], network: str, config: Config, unlabelled: Sequence[FrameCache] = ()
) -> None:
    """Log classes without an example and missing LiDAR clouds.

    Raises:
        TrainingError: no clouds at all, and the network cannot do without.
    """
    counts: Counter[int] = Counter()
    for cache in caches:
        counts.update(cache.report.class_counts)
    for index, name in enumerate(config.student.class_names):
        if caches and not counts[index]:
            consequence = "only the teacher's labels teach" if unlabelled else "the detector will not learn"
            _log.warning("no labelled %s in the training data: %s this class", name, consequence)
    frames = sum(cache.report.frames for cache in (*caches, *unlabelled))
    with_points = sum(cache.report.with_points for cache in (*caches, *unlabelled))
    guided = any(asking_weights(network, config).values())
    if not with_points and guided:
        raise TrainingError("no LiDAR cloud in the training data: teacher and assistant have nothing to teach with")
    if not with_points and network != STUDENT:
        raise TrainingError(f"no LiDAR cloud in the training data: the {network} has nothing to learn from")
    if not with_points:
        _log.warning("no LiDAR cloud in the training data: the depth loss has nothing to learn from")
    elif with_points < frames and (guided or network != STUDENT):
        left_out = "" if network == STUDENT else f"; the {network} does not learn from them"
        consequence = left_out or ("; teacher and assistant teach nothing there" if guided else "")
        _log.warning("%s of %s frames have no LiDAR points in the image%s", frames - with_points, frames, consequence)


def check_step_fits(
    network: str, config: Config, guides: Guides, cameras: tuple[int, int], processes: Processes
) -> None:
    """Compare what a step needs with the free memory, which the processes of one machine share on a CPU.

    Args:
        network: to be trained.
        config: of the run.
        guides: that are held beside it.
        cameras: number of calibrations to learn from, and to validate on.
        processes: of the run.

    Raises:
        TrainingError: it does not fit.
    """
    sharing = processes.on_this_machine if torch.device(processes.device).type == "cpu" else 1
    check_memory(memory_need(network, config, guides.networks, *cameras), processes.device, processes=sharing)


def with_largest_images(config: Config, caches: Sequence[FrameCache]) -> Config:
    """The config with an input as large as any source's images, each by its first frame, where they keep their size."""
    settings = config.student.input
    if settings.focal_px is not None:
        return config
    shapes = [cache[0].prepared.image.shape for cache in caches]
    height, width = (max(shape[axis] for shape in shapes) for axis in (0, 1))
    settings = replace(settings, width=max(width, settings.width), height=max(height, settings.height))
    return replace(config, student=replace(config.student, input=settings))


def with_trained_camera(config: Config, caches: Sequence[FrameCache]) -> Config:
    """The config that tells, in the checkpoint, how high cameras hung in training and by how much images were scaled.

    The height is the median over the sources, each by its first frame, to the centimetre.
    """
    settings = config.student.input
    heights_m = [camera_height_m(cache[0].prepared.cam_T_lidar) for cache in caches]
    settings = replace(settings, camera_height_m=round(median(heights_m), 2))
    if settings.focal_px is not None:
        focal_px = [value for cache in caches for value in cache.report.focal_px]
        scale = (settings.focal_px / max(focal_px), settings.focal_px / min(focal_px))
        settings = replace(settings, trained_scale=scale)
    return replace(config, student=replace(config.student, input=settings))


class ProgressBar:
    """Progress of a run on stderr: losses, validation score and remaining time."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, progress: Progress) -> None:
        """Take in one finished step."""
        if self._bar is None:
            self._bar = tqdm(total=progress.steps, initial=progress.step - 1, desc="training", unit="step")
        self._bar.set_postfix(_short(progress.figures, progress.validation), refresh=False)
        self._bar.update()


def _short(figures: Mapping[str, float], validation: Mapping[str, float]) -> dict[str, str]:
    shown = {name.removeprefix("loss_"): f"{value:.3f}" for name, value in figures.items() if name.startswith("loss")}
    if validation:
        shown["val_ap"] = f"{validation['score']:.1f}"
    return shown
