"""A set of training data from recordings: plan, work on what is not done yet, finish."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from monotakd_ros.data.source import SourceOptions
from monotakd_ros.errors import MonotakdError, OutputError, SourceError
from monotakd_ros.generation.finish import finish_set
from monotakd_ros.generation.runner import Busy, RunnerSettings, make_labeller
from monotakd_ros.generation.segments import Segment, plan_source, source_digests
from monotakd_ros.generation.set_folder import MANIFEST_FILE, SetFolder
from monotakd_ros.generation.settings import GenerationSettings
from monotakd_ros.provenance import CheckpointName, code_commit, versions

MAIN_SHARE = 0.5
"""A stage that is busy for less of the time does not bound a run."""


class Engine(Protocol):
    """Works on segments somewhere; yields each with its times or its recording's error.

    `on_image` is told of every image that was looked at. What it raises, other than an
    error of a recording, ends the work.
    """

    def __call__(
        self, settings: RunnerSettings, segments: Sequence[Segment], on_image: Callable[[int], None]
    ) -> Iterator[tuple[Segment, Busy | MonotakdError]]: ...


@dataclass(frozen=True)
class GenerationRequest:
    """What to generate.

    Attributes:
        sources: recordings; ones that the set has already are known by their content.
        out: the set's folder, new or begun.
        teacher: checkpoint.
        assistant: checkpoint, or None.
        device: of the networks.
        options: how recordings are read.
        settings: see there.
    """

    sources: tuple[Path, ...]
    out: Path
    teacher: Path
    assistant: Path | None
    device: str = "cpu"
    options: SourceOptions = field(default_factory=SourceOptions)
    settings: GenerationSettings = field(default_factory=GenerationSettings)


@dataclass
class GenerationResult:
    """How it went.

    Attributes:
        busy: times of the segments of this run, summed over workers.
        wall_s: seconds that the segments of this run took.
        segments_done: worked on by this run.
        segments_kept: done by earlier runs.
        failed: error by the segment's key, of those that could not be worked on.
        broken: name of a recording and why it could not be read to its end.
        manifest: of the finished set; None while segments are missing.
    """

    busy: Busy = field(default_factory=Busy)
    wall_s: float = 0.0
    segments_done: int = 0
    segments_kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None


class Watcher(Protocol):
    """Is told how it goes."""

    def planning(self, source: Path) -> None:
        """A recording is being read through, for its checksum and its segments."""
        ...

    def planned(self, images_to_do: int) -> None:
        """The work begins."""
        ...

    def images(self, count: int) -> None:
        """So many images more were looked at."""
        ...


def generate(request: GenerationRequest, engine: Engine, watcher: Watcher) -> GenerationResult:
    """Make a set, or go on with one.

    Args:
        request: what to make.
        engine: where the work is done.
        watcher: for progress.

    Raises:
        OutputError: the folder holds something else, another run writes it, or it cannot be written.
        SourceError: a recording cannot be opened.
        CheckpointError, ConfigError: networks, device or settings are not usable.
    """
    labeller = make_labeller(_runner_settings(request, {}))  # what is wrong with them shows before hours of planning
    facts = set_facts(request, labeller.class_names)
    folder = SetFolder(request.out)
    result = GenerationResult()
    with folder.begun(facts):
        paths = _add_sources(folder, request, watcher, result)
        planned = folder.planned()
        left = [segment for segment in planned if not folder.is_done(segment)]
        todo = [segment for segment in left if segment.source in paths]
        result.segments_kept = len(planned) - len(left)
        if todo:
            (request.out / MANIFEST_FILE).unlink(missing_ok=True)
        watcher.planned(sum(map(len, todo)))
        _work(engine, _runner_settings(request, paths), todo, watcher, result)
        if not result.failed and len(todo) == len(left):
            result.manifest = finish_set(folder, facts["thresholds"])
    return result


def set_facts(request: GenerationRequest, class_names: Sequence[str]) -> dict[str, Any]:
    """What a set says about how it was made; all of it has to match for another run to go on with it.

    Raises:
        CheckpointError: a checkpoint cannot be read.
    """
    options = {name: value for name, value in asdict(request.options).items() if name != "split"}
    return {
        "thresholds": {name: request.settings.cleaning.threshold_of(name) for name in class_names},
        "settings": asdict(request.settings),
        "reading": {name: str(value) if isinstance(value, Path) else value for name, value in options.items()},
        "teacher": asdict(CheckpointName.of(request.teacher)),
        "assistant": request.assistant and asdict(CheckpointName.of(request.assistant)),
        "device": request.device.partition(":")[0],
        "versions": versions(),
        "code_commit": code_commit(),
    }


def _runner_settings(request: GenerationRequest, paths: dict[int, Path]) -> RunnerSettings:
    sources = tuple(sorted(paths.items()))
    return RunnerSettings(
        request.out, sources, request.teacher, request.assistant, request.device, request.options, request.settings
    )


def _add_sources(
    folder: SetFolder, request: GenerationRequest, watcher: Watcher, result: GenerationResult
) -> dict[int, Path]:
    """Path of every recording of this run by its number in the set; new ones get the next numbers."""
    known = {source["number"]: source["files"] for source in folder.sources()}
    paths: dict[int, Path] = {}
    for path in request.sources:
        watcher.planning(path)
        if not path.exists():
            raise SourceError(f"{path}: no such file or folder")
        _require_apart(path, request.out)
        digests = source_digests(path)
        number = next((number for number, files in known.items() if files == digests), len(known))
        if number in paths:
            raise SourceError(f"{path}: the same recording as {paths[number]}, given twice")
        if number not in known:
            plan = plan_source(path, number, request.options, request.settings.segment_s)
            folder.add_source(number, path, digests, plan)
            known[number] = digests
        paths[number] = path
    for source in folder.sources():
        if source["broken"] is not None:
            result.broken[source["name"]] = source["broken"]
    return paths


def _require_apart(source: Path, out: Path) -> None:
    if out.resolve() in (source.resolve(), *source.resolve().parents) or source.resolve() in out.resolve().parents:
        raise OutputError(f"{out}: expected a folder apart from the recording {source}")


def _work(
    engine: Engine, settings: RunnerSettings, todo: Sequence[Segment], watcher: Watcher, result: GenerationResult
) -> None:
    started = time.perf_counter()
    if todo:
        with contextlib.closing(engine(settings, todo, watcher.images)) as outcomes:
            for segment, outcome in outcomes:
                if isinstance(outcome, MonotakdError):
                    result.failed[segment.key] = str(outcome)
                else:
                    result.busy.add(outcome)
                    result.segments_done += 1
    result.wall_s = time.perf_counter() - started


def bound_by(result: GenerationResult, workers: int) -> str:
    """What a run spent its time on: the stage that was busy longest, with its share of the workers' time."""
    seconds = Counter({name: value for name, value in result.busy.seconds.items() if value > 0})
    if not seconds or result.wall_s <= 0:
        return "nothing"
    name, most = seconds.most_common(1)[0]
    share = most / (result.wall_s * workers)
    busiest = f"{name} ({share:.0%} of the time)"
    return busiest if share >= MAIN_SHARE else f"starting and waiting; the busiest stage: {busiest}"
