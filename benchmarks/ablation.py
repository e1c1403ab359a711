"""What each kind of distillation brings: every recipe trained with several seeds, scored on drives nobody saw.

Trains a teacher and an assistant once (or takes ready ones), then a student per recipe and seed, evaluates each with
`monotakd evaluate`, and writes OUT/table.md, table.json and table.png: mean AP over seeds, its interval, the gain over
the baseline and the share of the teacher's lead that the gain closes (see `evaluation.repeated_runs`). Each run is a
command of its own, `OUT/runs/RECIPE-SEED/train.log`. Started again, it goes on where it stopped; runs that are done
are kept, and other settings are refused. With --so-far the same command, also while the first one runs, writes the
table of the runs that are done.

python benchmarks/ablation.py --config config/monotakd_tiny.yaml --data DRIVE... --test-data HELD_OUT... --out OUT
python benchmarks/ablation.py ... --recipes none direct imd cmrd paper --seeds 0 1 2 --steps 800 --jobs 2
python benchmarks/ablation.py ... --recipes none paper paper+unlabelled --unlabelled RECORDING...
python benchmarks/ablation.py ... --recipes start paper+unlabelled_only --unlabelled RECORDING... \
    --init monotakd_small --teacher teacher_small --assistant assistant_small
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from monotakd_ros.atomic import atomic_path
from monotakd_ros.cli.argument_types import weights_file
from monotakd_ros.cli.unlabelled_sources import check_apart
from monotakd_ros.config import Config
from monotakd_ros.config_file import from_dict, load_config, to_dict
from monotakd_ros.errors import ConfigError, MonotakdError, TrainingError
from monotakd_ros.evaluation.bootstrap import Resampling, ap_once
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES, Cell, KittiScores
from monotakd_ros.evaluation.repeated_runs import RowFigure, row_figures
from monotakd_ros.network.checkpoint import STUDENT, load_checkpoint
from monotakd_ros.network.precision import usable_amp
from monotakd_ros.provenance import training_code
from monotakd_ros.report.boxes_file import BOXES_NAME, read_boxes
from monotakd_ros.report.writer import JSON_NAME
from monotakd_ros.shipped import checkpoint_path, recipe_path
from monotakd_ros.visualization.repeated_runs_chart import draw_repeated_runs

RECIPES = ("none", "direct", "imd", "cmrd", "paper")
START = "start"
"""Row of the weights that the students start from (--init), as they are."""
OWN_STARTS = ("assistant", "scratch")
"""Values of --init that name no file."""
GUIDES = ("teacher", "assistant")
ALIGNING = "paper"
"""Recipe by which the teacher aligns the assistant; a teacher does not look at it."""
PLAN_FILE, TABLE_FILE, JSON_FILE, PICTURE_FILE = "plan.json", "table.md", "table.json", "table.png"
STOP_AFTER_S = 60.0


@dataclass(frozen=True)
class Run:
    """One detector: how it is trained, and where."""

    name: str
    network: str
    folder: Path
    arguments: tuple[str, ...]
    init: Path | None = None

    @property
    def weights(self) -> Path:
        return self.folder / "train" / "final.pt"

    @property
    def boxes(self) -> Path:
        return self.folder / "report" / BOXES_NAME

    def commands(self, test_data: Sequence[Path], device: str) -> Iterator[list[str]]:
        """What is left to do: training (from where it stopped), then the report."""
        train = self.folder / "train"
        if self.arguments and not self.weights.is_file():
            begin = ["--overwrite"] if self.init is None else ["--init", str(self.init), "--overwrite"]
            start = ["--resume"] if (train / "last.pt").is_file() else begin
            yield ["train", self.network, *self.arguments, "--out", str(train), *start]
        if not is_whole(self.boxes):
            data = ["--data", *map(str, test_data)]
            out = ["--out", str(self.folder / "report"), "--resamples", "0", "--pictures", "0", "--device", device]
            again = ["--overwrite"] if self.boxes.parent.is_dir() else []
            yield ["evaluate", "--checkpoint", str(self.weights), *data, *out, *again]


def is_whole(boxes: Path) -> bool:
    """Whether the report that these boxes lie in is there, and of all frames: an interrupted one is of some."""
    report = boxes.parent / JSON_NAME
    if not (boxes.is_file() and report.is_file()):
        return False
    return not json.loads(report.read_text(encoding="utf-8"))["run"]["interrupted"]


def command_line(command: Sequence[str]) -> list[str]:
    """The process that runs a command of `monotakd`."""
    return [sys.executable, "-m", "monotakd_ros.cli.main", *command]


class Children:
    """Runs commands as processes and takes them along when it is interrupted."""

    def __init__(self, threads: int) -> None:
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def work(self, run: Run, commands: Callable[[], Iterator[list[str]]]) -> None:
        """Run the commands of one detector, one after the other.

        Raises:
            TrainingError: one failed; names its log.
        """
        run.folder.mkdir(parents=True, exist_ok=True)
        for command in commands():
            log = run.folder / f"{command[0]}.log"
            with log.open("ab") as file:
                process = subprocess.Popen(
                    command_line(command),
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,
                )
                self._running.add(process)
                code = process.wait()
                self._running.discard(process)
            if self._stopped:
                return
            if code:
                raise TrainingError(f"{run.name}: `monotakd {command[0]}` ended with {code}; see {log}")

    def stop(self) -> None:
        """Ctrl-C for every process: a training saves its state."""
        self._stopped = True
        for process in list(self._running):
            process.send_signal(signal.SIGINT)
        for process in list(self._running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_AFTER_S)


def guide_runs(arguments: argparse.Namespace) -> list[Run]:
    """Teacher and assistant; those given are only evaluated."""
    runs = []
    for kind in GUIDES:
        given: Path | None = getattr(arguments, kind)
        folder = arguments.out / "guides" / kind
        if given is not None:
            take(given, folder)
        training: tuple[str, ...] = ()
        start = None
        if given is None:
            settings = train_arguments(arguments, layers(arguments, ALIGNING), arguments.guide_steps, 0)
            training = (*settings, "--data", *map(str, arguments.data))
        if given is None and kind == "assistant":
            start = runs[0].weights
            training += ("--teacher", str(start))
        runs.append(Run(kind, kind, folder, training, start))
    return runs


def take(given: Path, folder: Path) -> None:
    """Put weights where a run's own would be; another process may be reading those that are there already."""
    link = folder / "train" / "final.pt"
    if link.is_symlink() and link.resolve() == given.resolve():
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    if not link.exists():
        link.symlink_to(given.resolve())


def student_runs(arguments: argparse.Namespace, guides: Sequence[Run]) -> list[Run]:
    """A student per seed and recipe, seed by seed, so that early tables hold every recipe."""
    weights = {run.name: run.weights for run in guides}
    start = starts(arguments, weights["assistant"])
    runs = []
    if START in arguments.recipes:
        folder = arguments.out / "runs" / START
        take(start, folder)
        runs.append(Run(START, "student", folder, ()))
    for seed in arguments.seeds:
        for recipe in trained(arguments):
            settings = train_arguments(arguments, layers(arguments, recipe), arguments.steps, seed)
            training = settings_of(arguments, recipe).training
            asked = training.distillation
            unlabelled = training.semi_supervised.unlabelled_fraction > 0
            if not training.semi_supervised.unlabelled_only:
                settings += ["--data", *map(str, arguments.data)]
            if unlabelled:
                settings += ["--unlabelled", *map(str, arguments.unlabelled)]
            if asked.teacher_weights or unlabelled:
                settings += ["--teacher", str(weights["teacher"])]
            if asked.assistant_weights:
                settings += ["--assistant", str(weights["assistant"])]
            if arguments.guide_cache and (asked.teacher_weights or asked.assistant_weights):
                settings += ["--guide-cache", str(arguments.guide_cache)]
            name = run_name(recipe, seed)
            runs.append(Run(name, "student", arguments.out / "runs" / name, tuple(settings), start))
    return runs


def check_rows(arguments: argparse.Namespace) -> None:
    """Check, before anything is written, that every row has a name of its own and what it learns from, and learns
    nothing of what it is tested on.

    Raises:
        ConfigError: it has not, or does.
        CheckpointError: the row `start` is of no student.
    """
    names = [run_name(recipe, seed) for recipe in trained(arguments) for seed in arguments.seeds]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"--recipes, --seeds: two runs would be called {', '.join(twice)}: rename a recipe's file")
    for option in ("data", "unlabelled", "val_data"):
        check_apart("--test-data", arguments.test_data, f"--{option.replace('_', '-')}", getattr(arguments, option))
    if START in arguments.recipes:
        if arguments.init in OWN_STARTS:
            raise ConfigError(f"--recipes {START}: --init has to name a student's weights, got {arguments.init}")
        load_checkpoint(checkpoint_path(arguments.init), STUDENT)
    rows = [settings_of(arguments, recipe).training.semi_supervised for recipe in trained(arguments)]
    own_guides = [kind for kind in GUIDES if getattr(arguments, kind) is None]
    if not arguments.data and (own_guides or not all(row.unlabelled_only for row in rows)):
        raise ConfigError("--data: expected labelled sources for the guides and rows that learn from them, got none")
    if not arguments.unlabelled and any(row.unlabelled_fraction > 0 for row in rows):
        raise ConfigError("--unlabelled: expected recordings for the rows that learn from them, got none")


def starts(arguments: argparse.Namespace, assistant: Path) -> Path | None:
    """Weights that the students start from; None: random ones."""
    if arguments.init in OWN_STARTS:
        return {"assistant": assistant, "scratch": None}[arguments.init]
    return checkpoint_path(arguments.init)


def trained(arguments: argparse.Namespace) -> list[str]:
    """Rows that are trained."""
    return [recipe for recipe in arguments.recipes if recipe != START]


def run_name(recipe: str, seed: int | None) -> str:
    """Of a run, which is its folder's too; `start` is one for all seeds."""
    if recipe == START:
        return START
    return f"{'+'.join(Path(part).stem for part in recipe.split('+'))}-{seed}"


def layers(arguments: argparse.Namespace, recipe: str) -> list[str]:
    """What is laid over the config for a row: its parts, joined by +, then what all rows and the guides share."""
    return [*recipe.split("+"), *arguments.overlay]


def settings_of(arguments: argparse.Namespace, recipe: str) -> Config:
    return load_config(arguments.config, *map(recipe_path, layers(arguments, recipe)))


def computed_as(settings: Config, device: torch.device) -> Config:
    """The settings in the precision that the device computes in."""
    amp = usable_amp(settings.training.amp, device)
    return replace(settings, training=replace(settings.training, amp=amp))


def train_arguments(arguments: argparse.Namespace, recipes: Sequence[str], steps: int | None, seed: int) -> list[str]:
    """Of `monotakd train`, but for the network, the folder and what to learn from."""
    settings = ["--config", str(arguments.config)]
    for recipe in recipes:
        settings += ["--recipe", str(recipe)]
    if arguments.val_data:
        settings += ["--val-data", *map(str, arguments.val_data)]
    if steps is not None:
        settings += ["--steps", str(steps)]
    cache = arguments.cache or arguments.out / "cache"
    return [*settings, "--seed", str(seed), "--cache", str(cache), "--device", arguments.device]


def plan(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that decides the figures, as plain values."""
    device = torch.device(arguments.device)
    recipes = {name: to_dict(computed_as(settings_of(arguments, name), device)) for name in trained(arguments)}
    given = {kind: _checksum(getattr(arguments, kind)) for kind in GUIDES}
    data: dict[str, Any] = {
        key: [str(path) for path in getattr(arguments, key)] for key in ("data", "unlabelled", "val_data", "test_data")
    }
    steps = {"steps": arguments.steps, "guide_steps": arguments.guide_steps}
    if arguments.init not in OWN_STARTS:
        data["start"] = _checksum(checkpoint_path(arguments.init))
    return {"recipes": recipes, "guides": given, "init": arguments.init, "code": training_code(), **data, **steps}


def _checksum(path: Path | None) -> str | None:
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def check_plan(out: Path, wanted: dict[str, Any], so_far: bool = False) -> None:
    """Write what decides the figures, or compare it with what runs are there for; other recipes may be added.

    Args:
        out: folder of all runs.
        wanted: see `plan`.
        so_far: compare only.

    Raises:
        ConfigError: the folder holds runs of another plan (names what differs), or, with `so_far`, none.
    """
    path = out / PLAN_FILE
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        not_kept_by_earlier_versions = {key: wanted[key] for key in ("code", "start") if key in wanted}
        known = not_kept_by_earlier_versions | known
        differing = [key for key in wanted if key != "recipes" and known.get(key, []) != wanted[key]]
        recipes = {name: to_dict(from_dict(Config, settings)) for name, settings in known["recipes"].items()}
        differing += [
            name for name in wanted["recipes"] if recipes.get(name, wanted["recipes"][name]) != wanted["recipes"][name]
        ]
        if differing:
            raise ConfigError(f"{out}: holds runs of other settings ({', '.join(differing)}): choose another --out")
        wanted = wanted | {"recipes": recipes | wanted["recipes"]}
    elif so_far:
        raise ConfigError(f"{out}: --so-far needs the folder of an ablation, found no {PLAN_FILE} in it")
    if so_far:
        return
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=1), encoding="utf-8")


def work_on_guides(runs: Sequence[Run], arguments: argparse.Namespace, children: Children) -> None:
    """Do what is left of the guides, one at a time: the assistant starts from the teacher."""
    _work_through(runs, arguments, children, "guides", 1)


def work_on_students(runs: Sequence[Run], arguments: argparse.Namespace, children: Children) -> None:
    """Do what is left of the students, `--jobs` at a time."""
    _work_through(runs, arguments, children, "students", arguments.jobs)


def _work_through(
    runs: Sequence[Run], arguments: argparse.Namespace, children: Children, title: str, jobs: int
) -> None:
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(runs), desc=title, unit="run") as bar:
        waiting: set[Future[None]] = {
            pool.submit(children.work, run, lambda run=run: run.commands(arguments.test_data, arguments.device))
            for run in runs
        }
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for item in done:
                    item.result()
                    bar.update()
        except BaseException:
            for item in waiting:
                item.cancel()
            children.stop()
            raise


def table(arguments: argparse.Namespace, guides: Sequence[Run]) -> dict[str, Any]:
    """The figures of the runs that are done.

    Raises:
        TrainingError: a guide is not done, or no run of the first row is.
    """
    resampling = Resampling(0, arguments.resamples, arguments.block_frames)
    reports = {recipe: reports_of(arguments, recipe) for recipe in arguments.recipes}
    done = {recipe: {seed: path for seed, path in paths.items() if is_whole(path)} for recipe, paths in reports.items()}
    baseline = arguments.recipes[0]
    if not done[baseline] or not all(is_whole(run.boxes) for run in guides):
        raise TrainingError(f"{arguments.out}: expected both guides and a run of {baseline} to be done")
    frames = read_boxes(guides[0].boxes)
    of_guides = {run.name: _scores(run.boxes, frames) for run in guides}
    ceiling = of_guides["teacher"]
    rows = {
        recipe: {seed: _scores(path, frames) for seed, path in paths.items()} for recipe, paths in done.items() if paths
    }
    recordings = [Path(frame.name).parts[0] for frame in frames]
    result: dict[str, Any] = {
        "frames": len(recordings),
        "seeds": list(arguments.seeds),
        "not_done": [
            run_name(recipe, seed) for recipe, paths in reports.items() for seed in paths if seed not in done[recipe]
        ],
        "steps": arguments.steps,
        "resamples": resampling.resamples,
        "block_frames": resampling.block_frames,
        "rows": {},
    }
    cells = [Cell(overlaps, name, "3d", "moderate") for name in KITTI_CLASSES for overlaps in ("strict", "loose")]
    cells = [cell for cell in cells if ceiling.events(cell).num_counted()]
    with tqdm(total=len(cells) * sum(map(len, rows.values())), desc="drawing", unit="run", leave=False) as bar:
        for cell in cells:
            figures = row_figures(
                rows,
                cell,
                resampling,
                baseline=baseline,
                ceiling=ceiling,
                recordings=recordings,
                on_run=bar.update,
            )
            key = f"{cell.class_name} {cell.overlaps}"
            result["rows"][key] = {name: _plain(figure) for name, figure in figures.items()}
            result["rows"][key] |= {name: {"mean": ap_once(scores, cell)} for name, scores in of_guides.items()}
    return result


def reports_of(arguments: argparse.Namespace, recipe: str) -> dict[int | None, Path]:
    """Seed -> boxes of a row's runs, done or not; seed None: what --init names, one for all seeds."""
    seeds: list[int | None] = [None] if recipe == START else arguments.seeds
    return {seed: arguments.out / "runs" / run_name(recipe, seed) / "report" / BOXES_NAME for seed in seeds}


def _scores(boxes: Path, of: Sequence[EvaluationFrame]) -> KittiScores:
    """Of a report, which has to be of the same frames as all others.

    Raises:
        TrainingError: it is of others, as where the test data changed in between, or a frame was skipped.
    """
    frames = read_boxes(boxes)
    if [frame.name for frame in frames] != [frame.name for frame in of]:
        raise TrainingError(
            f"{boxes.parent}: a report of {len(frames)} frames that are not the {len(of)} of the teacher's; delete the "
            "reports that the test data as they are now did not give, and run again"
        )
    return KittiScores([frame.truth for frame in frames], [frame.results for frame in frames])


def _plain(figure: RowFigure) -> dict[str, Any]:
    gain, gap = figure.gain, figure.gap_closed
    return {
        "mean": figure.mean,
        "by_seed": {str(seed): value for seed, value in figure.by_seed.items()},
        "interval": list(figure.interval),
        "gain": None if gain is None else {"points": gain[0], "interval": list(gain[1])},
        "gap_closed": None if gap is None else {"share": gap[0], "interval": list(gap[1])},
    }


def heading(result: dict[str, Any]) -> str:
    """What every figure is."""
    return f"{result['frames']} frames, seeds {', '.join(map(str, result['seeds']))}; AP R40 3D moderate"


def draws(result: dict[str, Any]) -> str:
    """What intervals come from."""
    return (
        f"{result['resamples']} draws of frames (runs of {result['block_frames']}) and, where there are several, seeds"
    )


def picture(result: dict[str, Any]) -> bytes:
    """The table as a PNG."""
    undone = f"; {len(result['not_done'])} runs not done yet" if result["not_done"] else ""
    bars = f"bars: 95 % of {draws(result)}; ticks: seeds; hollow: one seed"
    colours = (
        "blue: better than the first row beyond noise, red: worse, grey: neither; %: of the gap to the teacher closed"
    )
    return draw_repeated_runs(result["rows"], f"{heading(result)}, per cent{undone}\n{bars}\n{colours}")


def markdown(result: dict[str, Any]) -> str:
    """The table for people: one section per figure."""
    parts = [f"{heading(result)}; intervals of 95 %: {draws(result)}; gains over the first row.\n"]
    if result["not_done"]:
        parts.append(f"\nNot done yet: {', '.join(result['not_done'])}.\n")
    for key, rows in result["rows"].items():
        parts.append(f"\n**{key}**\n\n| | mean | by seed | gain | gap to the teacher closed |\n|---|---|---|---|---|\n")
        parts += [_line(name, row, result["seeds"]) for name, row in rows.items()]
    return "".join(parts)


def _line(name: str, row: dict[str, Any], seeds: Sequence[int]) -> str:
    if "by_seed" not in row:
        return f"| ({name}) | {row['mean']:.1f} | | | |\n"
    mean = f"{row['mean']:.1f} ({row['interval'][0]:.1f} to {row['interval'][1]:.1f})"
    values = row["by_seed"]
    asked = list(values) if str(None) in values else map(str, seeds)
    by_seed = " / ".join(f"{values[seed]:.1f}" if seed in values else "–" for seed in asked)
    gain, gap = row["gain"], row["gap_closed"]
    gained = closed = ""
    if gain is not None and gain["interval"] != [0.0, 0.0]:
        gained = f"{gain['points']:+.1f} ({gain['interval'][0]:+.1f} to {gain['interval'][1]:+.1f})"
        if gap is not None:
            closed = f"{gap['share']:.0%} ({gap['interval'][0]:.0%} to {gap['interval'][1]:.0%})"
    return f"| {name} | {mean} | {by_seed} | {gained} | {closed} |\n"


def write_table(out: Path, result: dict[str, Any]) -> None:
    """Each file whole or not at all."""
    texts = {JSON_FILE: json.dumps(result, indent=1), TABLE_FILE: markdown(result)}
    contents = {name: text.encode() for name, text in texts.items()} | {PICTURE_FILE: picture(result)}
    for name, content in contents.items():
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = result.add_argument
    add("--config", type=Path, required=True, help="networks and training settings, without distillation")
    add(
        "--overlay", action="append", default=[], metavar="FILE", help="more settings over every recipe, for guides too"
    )
    add(
        "--recipes",
        nargs="+",
        default=list(RECIPES),
        metavar="NAME",
        help=f"rows, parts joined by +; first: baseline; {START}: what --init names, as it is",
    )
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--data", type=Path, nargs="+", default=[], metavar="SOURCE", help="labelled, to learn from")
    add("--unlabelled", type=Path, nargs="+", default=[], metavar="SOURCE", help="for rows with unlabelled recordings")
    add("--guide-cache", type=Path, metavar="DIR", help="keep what the guides give, for all rows")
    add("--val-data", type=Path, nargs="+", default=[], metavar="SOURCE", help="to watch while training")
    add("--test-data", type=Path, nargs="+", required=True, metavar="SOURCE", help="to score on; seen by no run")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of all runs; goes on where it stopped")
    for kind in GUIDES:
        add(f"--{kind}", type=weights_file, metavar="CKPT", help=f"a ready {kind} instead of training one")
    add("--init", default="assistant", help="start of students: assistant (default), scratch, or a checkpoint")
    add("--steps", type=int, help="of a student (default: the config's)")
    add("--guide-steps", type=int, help="of teacher and assistant (default: the config's)")
    add("--cache", type=Path, metavar="DIR", help="prepared frames (default: OUT/cache)")
    add("--jobs", type=int, default=1, help="students at a time")
    add("--threads", type=int, default=1, help="CPU threads of a run")
    add("--device", default="cpu")
    add("--so-far", action="store_true", help="train nothing, write the table of the runs that are done")
    add("--resamples", type=int, default=1000)
    add("--block-frames", type=int, default=10, help="consecutive frames drawn together")
    return result


def main() -> None:
    arguments = parser().parse_args()
    for stop in (signal.SIGINT, signal.SIGTERM):  # also where a shell's background job ignores Ctrl-C
        signal.signal(stop, signal.default_int_handler)
    children = Children(arguments.threads)
    try:
        check_rows(arguments)
        check_plan(arguments.out, plan(arguments), arguments.so_far)
        guides = guide_runs(arguments)
        students = student_runs(arguments, guides)
        if not arguments.so_far:
            work_on_guides(guides, arguments, children)
            work_on_students(students, arguments, children)
        write_table(arguments.out, table(arguments, guides))
    except MonotakdError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
    print((arguments.out / TABLE_FILE).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
