"""`monotakd generate`: recordings with camera and LiDAR become a set of training data, labelled by a teacher."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from monotakd_ros.cli.argument_types import positive_int, weights_file
from monotakd_ros.cli.source_arguments import SOURCE_HELP, add_source_arguments, source_options
from monotakd_ros.cli.view import preview_bag
from monotakd_ros.config_file import load_settings
from monotakd_ros.errors import ConfigError, MonotakdError
from monotakd_ros.generation.generate import Engine, GenerationRequest, GenerationResult, bound_by, generate
from monotakd_ros.generation.local_engine import local_engine
from monotakd_ros.generation.ray_engine import import_ray, run_on_ray
from monotakd_ros.generation.runner import Busy, RunnerSettings
from monotakd_ros.generation.segments import Segment
from monotakd_ros.generation.settings import ALL_FRAMES, FeatureOf, GenerationSettings, SetFormat
from monotakd_ros.preview.bag import require_free
from monotakd_ros.preview.source import BoxedSource
from monotakd_ros.provenance import usable_cores

PREVIEW_FRAMES = 500
"""More would be slow to look at, and as large as the set itself."""

DESCRIPTION = """\
Make training data from recordings that hold camera and LiDAR: choose frames, let the teacher (and the assistant) label
them, clean the labels, write a KITTI folder that `monotakd train --data OUT` takes as it is.

Kept are at most --max-rate frames a second, and of those only ones where the vehicle moved or the picture changed.
A box of the teacher becomes a label with its score; one that is doubtful (low score, few points, no agreement of the
assistant or of neighbouring clouds) becomes `Uncertain_TYPE`, which nothing is learned from; the rest is dropped.

OUT then holds training/{image_2,velodyne,calib,label_2,depth_2,depth_2_features}, teacher/ and assistant/ (all their
boxes), truth/ (labels of the recording, if it has any: they are not used), frames/ (origin, quality, and the reason of
every verdict), segments/ (checksums, and every image that was left out with its reason), frames.csv, poses.txt,
ImageSets/all.txt, set.json (settings, weights, versions) and manifest.json (checksums; `monotakd verify OUT`).
"""

EPILOG = """\
examples:
  monotakd generate drive_a drive_b --out set --teacher run/teacher/final.pt --assistant run/assistant/final.pt
  monotakd generate drive.mcap --out set --teacher teacher.pt --max-rate 1 --jobs 4
  monotakd generate drive_c --out set --teacher teacher.pt            # adds a recording to the set
  monotakd verify set
  monotakd train student --config config/monotakd_small.yaml --data set --out run

Ctrl-C, or a kill, loses at most the segments that were being worked on: run the same command again to go on. The set
is, byte for byte, what an uninterrupted run makes, and on a CPU does not depend on --jobs.
"""


def add_parser(subparsers: Any) -> None:
    """Register `generate`."""
    parser = subparsers.add_parser(
        "generate",
        help="make training data from recordings with LiDAR",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", metavar="BAG", type=Path, nargs="+", help=SOURCE_HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="the set: a new folder, or one begun")
    parser.add_argument("--teacher", type=weights_file, required=True, metavar="CKPT", help="weights of the teacher")
    parser.add_argument(
        "--assistant", type=weights_file, metavar="CKPT", help="weights of the assistant, for a second opinion"
    )
    parser.add_argument(
        "--config", type=Path, metavar="YAML", help="settings (config/generate.yaml has them all; default: those)"
    )
    parser.add_argument(
        "--format", choices=get_args(SetFormat), help="KITTI folders, or tar shards for large sets (default: kitti)"
    )
    parser.add_argument(
        "--features",
        nargs="+",
        choices=get_args(FeatureOf),
        help="also write the bird's-eye-view maps of these networks (float16, gzipped), for other training code",
    )
    parser.add_argument("--max-rate", type=float, metavar="HZ", help="at most so many frames a second (0: no limit)")
    parser.add_argument("--all-frames", action="store_true", help="leave out none that could be used")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument(
        "--jobs", type=positive_int, metavar="N", help="processes that work at once (default: all cores; 1 on CUDA)"
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where segments are worked on: processes of this machine, or a Ray cluster that shares its files "
        "(default: local)",
    )
    parser.add_argument(
        "--address", metavar="ADDRESS", help="of a running Ray cluster (default: one on this machine, for this run)"
    )
    parser.add_argument(
        "--preview",
        type=Path,
        metavar="OUT",
        help=f"when the set is finished, also write a bag to look at in RViz and Foxglove, of at most {PREVIEW_FRAMES} "
        "frames (see `monotakd view --help`); an earlier preview there is replaced",
    )
    add_source_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Generate; returns the exit code."""
    request = GenerationRequest(
        sources=tuple(args.sources),
        out=args.out,
        teacher=args.teacher,
        assistant=args.assistant,
        device=args.device,
        options=replace(source_options(args), read_cut=True),
        settings=settings_of(args),
    )
    if args.address and args.engine != "ray":
        raise ConfigError("--address is the address of a Ray cluster: it needs --engine ray")
    if args.engine == "ray":
        import_ray()
    if args.preview is not None:
        require_free(args.preview, overwrite=False, inputs=[*args.sources, args.out])
    jobs = args.jobs or (1 if args.device != "cpu" else usable_cores())
    with tqdm(desc="generate", unit="image", file=sys.stderr, disable=None) as bar:
        result = generate(request, engine_of(args.engine, jobs, args.address), _Bar(bar))
    code = report(request.out, result, jobs)
    if args.preview is not None and result.manifest is not None and result.manifest["frames"]:
        with contextlib.closing(BoxedSource(request.out)) as source:
            preview_bag(source, args.preview, PREVIEW_FRAMES)
    return code


def settings_of(args: argparse.Namespace) -> GenerationSettings:
    """The settings of the file, changed by the options.

    Raises:
        ConfigError: the file is unreadable, or a setting is unknown or out of range.
    """
    settings = GenerationSettings() if args.config is None else load_settings(GenerationSettings, args.config)
    selection = settings.selection
    if args.all_frames:
        selection = ALL_FRAMES
    if args.max_rate is not None:
        selection = replace(selection, max_rate_hz=args.max_rate)
    features = settings.features if args.features is None else tuple(dict.fromkeys(args.features))
    return replace(settings, selection=selection, format=args.format or settings.format, features=features)


def engine_of(name: str, jobs: int, address: str | None) -> Engine:
    """Segments on this machine, or on a cluster."""

    def run_segments(
        settings: RunnerSettings, segments: Sequence[Segment], on_image: Callable[[int], None]
    ) -> Iterator[tuple[Segment, Busy | MonotakdError]]:
        return run_on_ray(settings, segments, jobs, address, on_image)

    return run_segments if name == "ray" else local_engine(jobs)


def report(out: Path, result: GenerationResult, jobs: int) -> int:
    """Say how it went; returns the exit code."""
    busy = result.busy
    if result.segments_done:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in busy.seconds.most_common())
        print(f"{busy.images} images looked at in {result.wall_s:.1f} s, {busy.images / result.wall_s:.1f} a second")
        print(f"{busy.kept} kept; bound by {bound_by(result, jobs)}; the workers' time: {stages}")
    if result.segments_kept:
        print(f"{result.segments_kept} segments were done before")
    for name, why in result.broken.items():
        print(f"warning: {name} cannot be read to its end: {why}", file=sys.stderr)
    for key, why in result.failed.items():
        print(f"error: segment {key}: {why}", file=sys.stderr)
    if result.manifest is None:
        print(f"{out}: not finished: run again with all its recordings", file=sys.stderr)
        return 1
    for reason, count in result.manifest["skipped"].items():
        print(f"left out: {count} ({reason})")
    if not result.manifest["frames"]:
        print(
            f"{out}: no frame was kept, for the reasons above: `monotakd inspect` says more of the recordings, "
            "--all-frames leaves out fewer",
            file=sys.stderr,
        )
        return 1
    for kind, count in result.manifest["boxes"].items():
        print(f"boxes: {count} {kind}")
    _report_quality(result.manifest["quality"])
    print(f"{out}: {result.manifest['frames']} frames; train with --data {out}")
    return 0


def _report_quality(quality: dict[str, Any]) -> None:
    """Precision and recall, where the recordings have labels."""
    for name, sides in quality.get("classes", {}).items():
        figures = [
            f"{side}: precision {_number(point['precision'])}, recall {_number(point['recall'])}"
            for side, point in sides.items()
        ]
        print(f"against the recordings' labels, {name}: {'; '.join(figures)}")


def _number(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


class _Bar:
    """Progress on stderr."""

    def __init__(self, bar: tqdm) -> None:
        self._bar = bar

    def planning(self, source: Path) -> None:
        self._bar.set_description(f"reading {source.name}")

    def planned(self, images_to_do: int) -> None:
        self._bar.set_description("generate")
        self._bar.reset(total=images_to_do)

    def images(self, count: int) -> None:
        self._bar.update(count)
