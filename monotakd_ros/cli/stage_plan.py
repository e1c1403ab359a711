"""What a run of `monotakd train all` was begun with, kept in its folder, so that --resume trains the same again.

Each stage's `last.pt` knows its own settings. What decides stages that were not begun yet, the start of the student,
given guides and numbers of steps, is only here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import atomic_path, output_errors
from monotakd_ros.errors import TrainingError
from monotakd_ros.network.checkpoint import ASSISTANT, STUDENT, TEACHER
from monotakd_ros.provenance import file_sha256
from monotakd_ros.training.run_folder import STATE_FILE

KINDS = (TEACHER, ASSISTANT, STUDENT)
PLAN_FILE = "stages.json"
WEIGHTS = ("init", TEACHER, ASSISTANT)
STEPS = ("steps", "guide_steps")


def write_plan(arguments: argparse.Namespace) -> None:
    """Keep what decides the stages of a new run; weights by path and SHA-256.

    Raises:
        OutputError: the folder cannot be written.
    """
    plan = {name: getattr(arguments, name) for name in (*STEPS, "from_scratch")}
    _write(arguments.out, plan | {name: _name(getattr(arguments, name)) for name in WEIGHTS})


def forget_plan(out: Path) -> None:
    """Remove the plan of a run that is replaced.

    Raises:
        OutputError: it cannot be removed.
    """
    with output_errors(out):
        (out / PLAN_FILE).unlink(missing_ok=True)


def resumed(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments of a run to resume, with what was left out as it was at first.

    Numbers of steps may be given anew, and are kept. Guides take as many as at first, whatever the student then takes.
    A folder in which nothing was begun gets a plan; a run of an earlier version goes on without one.

    Raises:
        TrainingError: weights or a start that the run was not begun with; weights that are not there any more, or
            changed; a damaged plan.
        OutputError: the folder cannot be written.
    """
    path = arguments.out / PLAN_FILE
    if not path.is_file():
        if not any((arguments.out / kind / STATE_FILE).is_file() for kind in KINDS):
            write_plan(arguments)
        return arguments
    plan = _read(path)
    if arguments.from_scratch and not plan["from_scratch"]:
        raise TrainingError(f"{path}: the run was begun without --from-scratch: leave it out, or start a new run")
    asked = [TEACHER, ASSISTANT]
    if not (arguments.out / STUDENT / STATE_FILE).is_file():  # else its start was taken long ago
        asked.append("init")
    weights: dict[str, Path | None] = {"init": None}
    weights |= {name: _same_weights(path, name, getattr(arguments, name), plan[name]) for name in asked}
    plan["guide_steps"] = arguments.guide_steps or plan["guide_steps"] or plan["steps"]
    plan["steps"] = arguments.steps or plan["steps"]
    _write(arguments.out, plan)
    return argparse.Namespace(**vars(arguments) | plan | weights)


def _name(path: Path | None) -> dict[str, str] | None:
    return None if path is None else {"path": str(path.resolve()), "sha256": file_sha256(path)}


def _write(out: Path, plan: Mapping[str, Any]) -> None:
    with atomic_path(out / PLAN_FILE) as temporary:
        temporary.write_text(json.dumps(plan, indent=1), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        return {name: plan[name] for name in (*STEPS, "from_scratch", *WEIGHTS)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: expected what the run was begun with ({error!r}): start a new run") from error


def _same_weights(plan: Path, name: str, given: Path | None, known: dict[str, str] | None) -> Path | None:
    """The weights to go on with: those that the run was begun with, wherever they now are."""
    if known is None:
        if given is not None:
            raise TrainingError(f"{plan}: the run was begun without --{name}: leave it out, or start a new run")
        return None
    path = given or Path(known["path"])
    if not path.is_file():
        raise TrainingError(
            f"{path}: expected the weights that the run was begun with (--{name}), found nothing: if they lie "
            "elsewhere now, say where"
        )
    if file_sha256(path) != known["sha256"]:
        raise TrainingError(f"{path}: not the weights that the run was begun with (--{name}): give those")
    return path
