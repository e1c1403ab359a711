"""`monotakd verify`: whether a generated set is still what it was when it was finished."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monotakd_ros.generation.verify import count_files, verify_set

MAX_NAMED = 20

DESCRIPTION = """\
Read every file of a generated set again and compare it with the checksums of its manifest: finds files that changed,
are missing, or do not belong to it. Exits with 1 when there are any, or when the set was not finished.
"""


def add_parser(subparsers: Any) -> None:
    """Register `verify`."""
    parser = subparsers.add_parser(
        "verify",
        help="check a generated set against its checksums",
        description=DESCRIPTION,
        epilog="example:\n  monotakd verify set\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("set", metavar="DIR", type=Path, help="what `monotakd generate` made")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify; returns the exit code."""
    with tqdm(total=count_files(args.set), desc="verify", unit="file", file=sys.stderr, disable=None) as bar:
        found = verify_set(args.set, bar.update)
    for problem in found.problems[:MAX_NAMED]:
        print(problem, file=sys.stderr)
    if len(found.problems) > MAX_NAMED:
        print(f"and {len(found.problems) - MAX_NAMED} more", file=sys.stderr)
    print(f"{args.set}: {found.files} files read, {len(found.problems) or 'no'} problems")
    return 1 if found.problems else 0
