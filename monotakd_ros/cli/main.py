"""The `monotakd` command: finds the verb, runs it, turns errors into one line and an exit code.

Each verb is one module of this room with `add_parser(subparsers)`, which sets `run` as a default. Only the module of
the verb that was asked for is imported, so `monotakd --help` is quick, and a library that one verb lacks does not
break the others. Exit codes: 0 done, 1 a clear error, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

from monotakd_ros import __version__
from monotakd_ros.allocator import keep_freed_memory
from monotakd_ros.errors import MissingDependencyError, MonotakdError

EXIT_DONE = 0
EXIT_ERROR = 1
EXIT_INTERRUPTED = 130

VERBS = {
    "simulate": "drive through a simulated world; write a labelled bag or KITTI folder",
    "convert": "turn a bag, KITTI folder or KITTI raw drive into a bag or a KITTI folder",
    "inspect": "say what bags hold and whether they are good for training: times, tf, calibration",
    "generate": "make training data from recordings with LiDAR, labelled by a teacher",
    "verify": "check a generated set against its checksums",
    "view": "look at a generated set or a source: pictures, a bag for RViz and Foxglove, a window",
    "train": "train a network on any of those sources",
    "import-checkpoint": "turn published MonoTAKD weights into a checkpoint of this package",
    "replay": "run a recording through the detector; write boxes, pictures and a summary",
    "evaluate": "score a checkpoint, a recorded bag or KITTI result files; write a report",
    "compare": "say whether one of two evaluated detectors is better beyond noise",
    "describe": "say what a config or weights file holds, and what its networks cost",
    "demo": "simulate a drive, replay it with the shipped weights, compare with the truth",
}

MODULES = {"inspect": "inspect_bag"}
"""Verbs whose module has another name, since `inspect` is one of Python's own."""

EPILOG = """\
examples:
  monotakd demo --out demo_output
  monotakd simulate drive --frames 100 --seed 7
  monotakd replay drive --checkpoint model.pt --out drive_boxes
  monotakd convert /data/kitti/training kitti_bag --format bag

`monotakd VERB --help` explains each verb. Exit codes: 0 done, 1 error, 130 interrupted.
"""


class _UsageError(MonotakdError):
    """The command line itself is wrong; the message carries the usage line."""


class _Parser(argparse.ArgumentParser):
    """Exits with 1 instead of argparse's 2, and takes no abbreviated options (they break when one is added)."""

    def __init__(self, **kwargs) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message}\n{self.format_usage()}(see `{self.prog} --help`)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    keep_freed_memory()
    try:
        args = build_parser(_verb_of(arguments)).parse_args(arguments)
        logging.basicConfig(
            level=logging.INFO if args.verbose else logging.WARNING, format="%(levelname)s: %(message)s"
        )
        return args.run(args)
    except SystemExit as exit_:  # argparse ends --help and --version this way
        return EXIT_DONE if exit_.code is None else int(exit_.code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (MonotakdError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR


def build_parser(verb: str | None) -> argparse.ArgumentParser:
    """The parser with every verb listed and `verb` (if it is one) complete.

    Raises:
        MissingDependencyError: the verb needs a library that is not installed.
    """
    parser = _Parser(
        prog="monotakd",
        description="3D boxes from one camera: simulate, convert, train, replay, evaluate.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"monotakd {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="also log what is being done")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, summary in VERBS.items():
        if name == verb:
            _import_verb(name).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return parser


def _verb_of(arguments: list[str]) -> str | None:
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def _import_verb(name: str):
    try:
        return importlib.import_module(f"monotakd_ros.cli.{MODULES.get(name, name.replace('-', '_'))}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("monotakd_ros"):
            raise
        raise MissingDependencyError(
            f"`monotakd {name}` needs the Python package '{error.name}', which is not installed here; "
            "in a checkout run `make setup`, elsewhere `pip install 'monotakd_ros[all]'`"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
