"""What a run of `monotakd train all` was begun with, kept in its folder, so that --resume trains the same again.

Each stage's `last.pt` knows its own settings. What decides stages that were not begun yet, the start of the student,
given guides and numbers of steps, is only here.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import atomic_path, output_errors
from monotakd_ros.config import Config
from monotakd_ros.errors import TrainingError
from monotakd_ros.network.checkpoint import ASSISTANT, KINDS, TEACHER
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.training.run_folder import STATE_FILE

PLAN_FILE = "stages.json"
WEIGHTS = ("init", TEACHER, ASSISTANT)


@dataclass(frozen=True)
class GivenWeights:
    """A weights file of the command line: absolute path, and what tells its content."""

    path: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> GivenWeights:
        """Raises CheckpointError: unreadable."""
        return cls(str(path.resolve()), CheckpointName.of(path).sha256)


@dataclass(frozen=True)
class StagePlan:
    """What decides the stages, beside config and data, which every stage's state knows.

    Attributes:
        steps: of the student.
        guide_steps: of teacher and assistant.
        from_scratch: every network starts from random weights.
        init: start of the student.
        teacher: taken instead of training one.
        assistant: taken instead of training one.
    """

    steps: int
    guide_steps: int
    from_scratch: bool = False
    init: GivenWeights | None = None
    teacher: GivenWeights | None = None
    assistant: GivenWeights | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace, config: Config) -> StagePlan:
        """The plan of a new run.

        Raises:
            CheckpointError: weights that cannot be read.
        """
        steps = arguments.steps or config.training.steps
        given = {name: path and GivenWeights.of(path) for name in WEIGHTS for path in [getattr(arguments, name)]}
        return cls(steps, arguments.guide_steps or steps, arguments.from_scratch, **given)

    def resumed(self, arguments: argparse.Namespace, where: Path, begun: bool) -> StagePlan:
        """The plan to go on with: numbers of steps may be given anew, and weights may lie elsewhere.

        Guides take as many steps as at first, whatever the student then takes.

        Args:
            arguments: of the command that resumes; what it leaves out is as it was.
            where: the plan's file, for messages.
            begun: whether any stage was; else weights may be others.

        Raises:
            TrainingError: weights or a start that the run was not begun with; weights that are gone, or changed.
            CheckpointError: weights that cannot be read.
        """
        if begun and arguments.from_scratch and not self.from_scratch:
            raise TrainingError(f"{where}: the run was begun without --from-scratch: leave it out, or start a new run")
        plan = replace(
            self,
            steps=arguments.steps or self.steps,
            guide_steps=arguments.guide_steps or self.guide_steps,
            from_scratch=self.from_scratch or arguments.from_scratch,
        )
        for name in WEIGHTS:
            path, known = getattr(arguments, name), getattr(self, name)
            if path is not None:
                plan = replace(plan, **{name: GivenWeights.of(path)})
            if path is not None and begun:
                _require_same(where, name, known, getattr(plan, name))
        return plan

    def arguments(self, student_begun: bool) -> dict[str, Any]:
        """What it decides, as arguments of the command line.

        Args:
            student_begun: it then has its own state, and its start is not looked at any more.

        Raises:
            TrainingError: weights that are gone, or changed.
        """
        weights = {name: _still_there(name, getattr(self, name)) for name in (TEACHER, ASSISTANT)}
        weights["init"] = None if student_begun else _still_there("init", self.init)
        plain = {"steps": self.steps, "guide_steps": self.guide_steps, "from_scratch": self.from_scratch}
        return {**plain, **weights}


def begun_stages(out: Path) -> list[str]:
    """The networks of a run that have a state to go on from."""
    return [kind for kind in KINDS if (out / kind / STATE_FILE).is_file()]


def write_plan(out: Path, plan: StagePlan) -> None:
    """Keep the plan of a run.

    Raises:
        OutputError: the folder cannot be written.
    """
    with atomic_path(out / PLAN_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(plan), indent=1), encoding="utf-8")


def read_plan(out: Path) -> StagePlan | None:
    """The plan of a run; None where there is none, as of a run of an earlier version.

    Raises:
        TrainingError: it is damaged.
    """
    path = out / PLAN_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        weights = {name: item and GivenWeights(**item) for name in WEIGHTS for item in [values[name]]}
        return StagePlan(int(values["steps"]), int(values["guide_steps"]), bool(values["from_scratch"]), **weights)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: expected what the run was begun with ({error!r}): start a new run") from error


def forget_plan(out: Path) -> None:
    """Remove the plan of a run that is replaced.

    Raises:
        OutputError: it cannot be removed.
    """
    with output_errors(out):
        (out / PLAN_FILE).unlink(missing_ok=True)


def _require_same(where: Path, name: str, known: GivenWeights | None, given: GivenWeights) -> None:
    if known is None:
        raise TrainingError(f"{where}: the run was begun without --{name}: leave it out, or start a new run")
    if known.sha256 != given.sha256:
        raise TrainingError(f"{given.path}: not the weights that the run was begun with (--{name}): give those")


def _still_there(name: str, weights: GivenWeights | None) -> Path | None:
    if weights is None:
        return None
    path = Path(weights.path)
    if not path.is_file():
        raise TrainingError(
            f"{path}: expected the weights that the run was begun with (--{name}), found nothing: if they lie "
            "elsewhere now, say where"
        )
    if GivenWeights.of(path) != weights:
        raise TrainingError(f"{path}: not the weights that the run was begun with (--{name}) any more")
    return path
