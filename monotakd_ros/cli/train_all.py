"""`monotakd train all`: teacher, assistant and student one after the other, each taught by the ones before."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import output_errors
from monotakd_ros.cli import stage_plan
from monotakd_ros.cli.argument_types import positive_int, weights_file
from monotakd_ros.cli.unlabelled_sources import check_labelled, check_labelling_teacher
from monotakd_ros.config import Config
from monotakd_ros.errors import ConfigError, OutputError
from monotakd_ros.network.checkpoint import ASSISTANT, STUDENT, TEACHER, build_network, load_checkpoint
from monotakd_ros.network.inherit import start_from
from monotakd_ros.training.guide_maps import require_repeated_frames
from monotakd_ros.training.guides import asking_weights, check_agreement, require_lessons
from monotakd_ros.training.run_folder import CACHE_DIR, FINAL_FILE, STATE_FILE

INIT_AND_RESUME = "--init starts a new run and --resume continues one: give one of them"

DESCRIPTION = """\
Train what a recipe asks for, stage by stage: the teacher on LiDAR; the assistant on camera and LiDAR depth, starting
from the teacher's head; the student, starting from the assistant's trunk. Each is frozen before it teaches. A recipe
without distillation trains the student alone. --init is the student's start, --stop-at holds for each stage.

RUN then holds teacher/, assistant/ and student/, each as `monotakd train NETWORK` leaves it, the cache of frames
that they share, and stages.json, what the run was begun with. The detector is RUN/student/final.pt.
"""

EPILOG = """\
examples:
  monotakd train all --config config/monotakd_small.yaml --recipe paper --data drive_a drive_b --out run
  monotakd train all --config config/monotakd_small.yaml --recipe paper --data drive_a drive_b --out run --resume
  monotakd train all --config config/monotakd_small.yaml --recipe paper --data drive_a drive_b --out run2 \\
      --teacher run/teacher/final.pt --assistant run/assistant/final.pt
  monotakd train all --config config/monotakd_small.yaml --recipe paper --recipe unlabelled --data drive_a \\
      --unlabelled drive_c drive_d --out run3

After Ctrl-C, or a power cut, --resume goes on: stages that are done are kept, the one begun continues from its last.pt.
Steps, --init, --from-scratch and given guides are then those of the run, also where they are left out.
"""


@dataclass(frozen=True)
class Stage:
    """One network to train.

    Attributes:
        network: "teacher", "assistant" or "student".
        out: folder of its run.
        guides: weights of those that teach it, by kind.
        init: weights that it starts from.
    """

    network: str
    out: Path
    guides: dict[str, Path]
    init: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `train all` has beside the arguments of every network."""
    add = parser.add_argument
    text = "steps of teacher and assistant (default: as --steps); with --resume, of those that are not done"
    add("--guide-steps", type=positive_int, metavar="N", help=text)
    add("--from-scratch", action="store_true", help="start every network from random weights")
    for guide in (TEACHER, ASSISTANT):
        add(f"--{guide}", type=weights_file, metavar="CKPT", help=f"take this {guide} instead of training one")


def stages(arguments: argparse.Namespace, config: Config) -> Iterator[Stage]:
    """What is to be trained, in order.

    Raises:
        ConfigError: a teacher is asked for and the config describes none.
    """
    wanted = asking_weights(STUDENT, config)
    ready: dict[str, Path] = {
        kind: path for kind in (TEACHER, ASSISTANT) if (path := getattr(arguments, kind)) is not None
    }
    own = not arguments.from_scratch
    needs_assistant = bool(wanted[ASSISTANT]) and ASSISTANT not in ready
    needs_teacher = bool(wanted[TEACHER] or arguments.unlabelled)
    aligned = needs_assistant and bool(asking_weights(ASSISTANT, config)[TEACHER])
    if (needs_teacher or aligned) and TEACHER not in ready:
        if config.teacher is None:
            raise ConfigError(f"config {config.name}: no `teacher` section, and the recipe asks for a teacher")
        yield Stage(TEACHER, arguments.out / TEACHER, {}, None)
        ready[TEACHER] = arguments.out / TEACHER / FINAL_FILE
    if needs_assistant:
        guides = {TEACHER: ready[TEACHER]} if aligned else {}
        yield Stage(ASSISTANT, arguments.out / ASSISTANT, guides, ready.get(TEACHER) if own else None)
        ready[ASSISTANT] = arguments.out / ASSISTANT / FINAL_FILE
    needed = {TEACHER: needs_teacher, ASSISTANT: bool(wanted[ASSISTANT])}
    guides = {kind: ready[kind] for kind in (TEACHER, ASSISTANT) if needed[kind]}
    start = ready.get(ASSISTANT, ready.get(TEACHER)) if own else None
    yield Stage(STUDENT, arguments.out / STUDENT, guides, arguments.init or start)


def check_place(arguments: argparse.Namespace) -> None:
    """Check that the folder may be used; changes nothing.

    Raises:
        OutputError: stages are there, and neither --resume nor --overwrite is given.
    """
    there = [kind for kind in (TEACHER, ASSISTANT, STUDENT) if (arguments.out / kind).exists()]
    if there and not (arguments.resume or arguments.overwrite):
        raise OutputError(
            f"{arguments.out}: exists and holds {', '.join(there)}; continue with --resume, replace it with "
            "--overwrite, or choose another folder"
        )


def check_given(arguments: argparse.Namespace, config: Config) -> None:
    """Check, before the first stage, what only a later one reads.

    Raises:
        CheckpointError: given weights are unreadable, or not such as the stage needs.
        ConfigError: labelled sources that are missing, or of use to no stage; a guides' cache for frames that never
            come back.
        TrainingError: a stage would learn nothing.
    """
    networks = [stage.network for stage in stages(arguments, config)]
    for network in networks:
        require_lessons(network, config)
    check_labelled(arguments, config, networks)
    asked = [asking_weights(network, config) for network in networks]
    taught = {kind: any(weights.get(kind) for weights in asked) for kind in (TEACHER, ASSISTANT)}
    if arguments.guide_cache is not None and any(taught.values()):
        require_repeated_frames(config.training.augment)
    for kind, needed in taught.items():
        path = getattr(arguments, kind)
        if path is not None and needed:
            check_agreement(path, kind, load_checkpoint(path, kind).config, config)
    if arguments.teacher is not None and arguments.unlabelled:
        check_labelling_teacher(arguments.teacher, config)
    if arguments.init is not None:
        start_from(build_network(STUDENT, config), STUDENT, arguments.init)


def plan_stages(arguments: argparse.Namespace, config: Config) -> tuple[stage_plan.StagePlan | None, dict[str, Any]]:
    """Check all but the sources; changes nothing.

    Returns:
        What decides the stages, with --resume that of the run that is gone on with (None: it was begun by an earlier
        version, which does not say), and arguments to lay over those of the command line.

    Raises:
        OutputError: see `check_place`.
        CheckpointError: see `check_given`.
        ConfigError: see `check_given`; or a start for a run of an earlier version, which does not say what it had.
        TrainingError: see `check_given` and `stage_plan`.
    """
    check_place(arguments)
    out = arguments.out
    begun = stage_plan.begun_stages(out) if arguments.resume else []
    known = stage_plan.read_plan(out) if arguments.resume else None
    if known is not None:
        plan = known.resumed(arguments, out / stage_plan.PLAN_FILE, bool(begun))
        decided = plan.arguments(STUDENT in begun)
        check_given(argparse.Namespace(**vars(arguments) | decided), config)
        return plan, decided
    if begun and arguments.init is not None:
        raise ConfigError(INIT_AND_RESUME)
    check_given(arguments, config)
    return None if begun else stage_plan.StagePlan.of(arguments, config), {}


def keep_plan(arguments: argparse.Namespace, config: Config, plan: stage_plan.StagePlan | None) -> None:
    """Begin: keep what decides the stages in the run's folder; a run that is replaced cannot be gone on with any more.

    Raises:
        OutputError: the folder cannot be written.
    """
    if not arguments.resume:
        stage_plan.forget_plan(arguments.out)
        forget_states(arguments, config)
    if plan is not None:
        stage_plan.write_plan(arguments.out, plan)


def forget_states(arguments: argparse.Namespace, config: Config) -> None:
    """With --overwrite, remove what stages of the run that is replaced could be resumed from.

    Else, once interrupted, --resume would go on with old stages taught by guides that are no more.

    Raises:
        OutputError: a file cannot be removed.
    """
    if arguments.overwrite:
        for stage in stages(arguments, config):
            with output_errors(stage.out):
                (stage.out / STATE_FILE).unlink(missing_ok=True)


def run_stages(
    plan: Sequence[Stage],
    arguments: argparse.Namespace,
    config: Config,
    train: Callable[[argparse.Namespace], int],
    say: Callable[[str], None],
) -> int:
    """Train every stage with `train`, the function behind `monotakd train NETWORK`; tells each to `say`.

    Ends with a stage that was told to stop before its last step.
    """
    for number, stage in enumerate(plan, start=1):
        say(f"== {stage.network} ({number} of {len(plan)}): {stage.out}")
        train(stage_arguments(arguments, config, stage))
        if not (stage.out / FINAL_FILE).is_file():  # --stop-at
            break
    return 0


def stage_arguments(arguments: argparse.Namespace, config: Config, stage: Stage) -> argparse.Namespace:
    """The command line of one stage: a run that was begun goes on, what was left before its first state is replaced."""
    labels_are_for_guides = config.training.semi_supervised.unlabelled_only
    begun = arguments.resume and (stage.out / STATE_FILE).is_file()
    steps = arguments.steps if stage.network == STUDENT else arguments.guide_steps or arguments.steps  # None: its own
    if begun and stage.network != STUDENT and (stage.out / FINAL_FILE).is_file():
        steps = None  # done, and others were taught by it
    own = {
        "network": stage.network,
        "out": stage.out,
        "cache": arguments.cache or arguments.out / CACHE_DIR,
        "init": None if begun else stage.init,
        "resume": begun,
        "overwrite": not begun,
        "steps": steps,
        TEACHER: stage.guides.get(TEACHER),
        ASSISTANT: stage.guides.get(ASSISTANT),
        "data": [] if stage.network == STUDENT and labels_are_for_guides else arguments.data,
        "unlabelled": arguments.unlabelled if stage.network == STUDENT else [],
    }
    return argparse.Namespace(**vars(arguments) | own)
