"""`monotakd describe`: what a config or a weights file holds, and what its networks cost, module by module."""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch

from monotakd_ros.cli.argument_types import positive_int, weights_file
from monotakd_ros.cli.describe_report import report
from monotakd_ros.cli.description import Description, describe_checkpoint, describe_config, is_checkpoint
from monotakd_ros.detector import resolve_device
from monotakd_ros.network.checkpoint import KINDS

DESCRIPTION = """\
Say what a config (YAML) or a weights file holds, then run each of its networks on one made-up frame of the config's
input size and print, module by module: parameters, multiply-adds (GMACs), output shapes, time and tensor memory.

A config describes a student and an assistant, and a teacher where it has a `teacher` section. A weights file holds
one network.
"""

EPILOG = """\
examples:
  monotakd describe config/monotakd_small.yaml
  monotakd describe config/monotakd_r50.yaml --kind student --device cuda
  monotakd describe run/best.pt --json > best.json
"""


def add_parser(subparsers: Any) -> None:
    """Register `describe`."""
    parser = subparsers.add_parser(
        "describe",
        help="say what a config or weights file holds, and what its networks cost",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file", metavar="CONFIG|CHECKPOINT", type=weights_file, help="YAML file of settings, or weights"
    )
    parser.add_argument("--kind", choices=KINDS, help="only this network (default: all that the file describes)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--repeats", type=positive_int, default=3, metavar="N", help="timed passes (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Describe one file."""
    device = resolve_device(args.device)
    torch.manual_seed(0)
    describe = describe_checkpoint if is_checkpoint(args.file) else describe_config
    description: Description = describe(args.file, args.kind, device, args.repeats)
    print(json.dumps(description.to_dict(), indent=2) if args.json else report(description))
    return 0
