"""`monotakd import-checkpoint`: published MonoTAKD weights as a checkpoint of this package."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monotakd_ros.atomic import require_free_file
from monotakd_ros.config_file import load_config
from monotakd_ros.errors import CheckpointError, ConfigError, OutputError
from monotakd_ros.network.checkpoint import KINDS, STUDENT, TEACHER, save_checkpoint
from monotakd_ros.network.official_file import OfficialFile, read_official
from monotakd_ros.network.official_weights import Converted, convert
from monotakd_ros.shipped import shipped_path

CONFIG = "official_r50.yaml"
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

DESCRIPTION = """\
Turn a weights file of the official MonoTAKD code into a checkpoint of this package. Every key is accounted for: mapped,
or known to be unused (the reason is printed). Missing, unexpected, mis-shaped, mistyped or non-finite ones are an error
that lists them, and nothing is written. The file is read safely: it cannot run code.

  student     of MonoTAKD (student-8015e10), with its residual branch; or of CMKD (TA-2161), without
  assistant   TA-2161 as the teaching assistant: the same trunk, lifted with measured depth instead of a depth head
  teacher     SECOND with the residual sparse backbone, saved by spconv 1.x or 2.x

ResNet50 and ResNet101 are told apart by the file. The result carries its settings (config/official_r50.yaml).

The paper adds the residual branch to the student's BEV map; the released code computes that branch and drops it, and
its published weights were trained so. Hence --fusion off is the default and gives the published detector. With
--fusion on the boxes come from the fused map, as the released code does once its commented-out line is switched on.
Off leaves the fusion module's weights out: to fuse later, import again.

The official assistant takes its depth from a completed map (IP-Basic); here cells without a LiDAR point are not lifted.
"""

EPILOG = """\
examples:
  monotakd import-checkpoint monotakd_kitti_student-8015e10.pth student.pt --kind student
  monotakd import-checkpoint monotakd_kitti_student-8015e10.pth fused.pt --kind student --fusion on
  monotakd import-checkpoint monotakd_kitti_TA-2161.pth assistant.pt --kind assistant
  monotakd import-checkpoint monotakd_kitti_teacher.pth teacher.pt --kind teacher --overwrite
  monotakd replay /data/kitti --checkpoint student.pt --out boxes
"""


def add_parser(subparsers: Any) -> None:
    """Register `import-checkpoint`."""
    parser = subparsers.add_parser(
        "import-checkpoint",
        help="turn published MonoTAKD weights into a checkpoint of this package",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("official", metavar="OFFICIAL.pth", type=Path, help="a published file, or a bare state dict")
    parser.add_argument("out", metavar="OUT.pt", type=Path, help="checkpoint to write")
    parser.add_argument("--kind", required=True, choices=KINDS, help="which network the file holds")
    parser.add_argument(
        "--fusion", choices=("on", "off"), help="students: detect from the fused map, or from the visual one (default)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.pt")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert one file and say what became of its keys.

    Raises:
        MonotakdError: the file is not what was announced, or OUT may not be written; OUT is then as it was.
    """
    if args.fusion and args.kind != STUDENT:
        raise ConfigError(f"--fusion is a setting of the student; a {args.kind} has no residual branch to fuse")
    _require_free(args.out, args.official, args.overwrite)
    official = read_official(args.official)
    config = load_config(shipped_path("config", CONFIG))
    try:
        converted = convert(official.model_state, args.kind, config, args.fusion == "on")
    except CheckpointError as error:
        raise CheckpointError(f"{args.official}: {error}") from error
    save_checkpoint(
        args.out, converted.state_dict, converted.config, _metadata(official, converted, args.kind), args.kind
    )
    print("\n".join(_report(official, converted, args.kind, args.out)))
    return 0


def _require_free(out: Path, official: Path, overwrite: bool) -> None:
    if out.exists() and official.exists() and out.samefile(official):
        raise OutputError(f"{out}: is the official file itself; choose another name")
    require_free_file(out, overwrite)


def _metadata(official: OfficialFile, converted: Converted, kind: str) -> dict[str, Any]:
    return {
        "imported_from": {"file": official.name, "sha256": official.sha256, **official.facts},
        "fusion": _fusion(converted, kind),
        "sparse_layout": converted.layout,
        "keys_mapped": len(converted.state_dict),
        "keys_unused": {reason: len(keys) for reason, keys in converted.unused.items()},
    }


def _report(official: OfficialFile, converted: Converted, kind: str, out: Path) -> Iterator[str]:
    yield f"network     {_network(converted, kind)}, {_parameters(converted):,} parameters"
    yield f"mapped      {len(converted.state_dict)} of {len(official.model_state)} keys"
    for reason, keys in converted.unused.items():
        yield f"not needed  {len(keys)}: {reason}"
    if converted.layout:
        yield f"layout      sparse convolutions as {converted.layout} saves them"
    yield f"written     {out}"
    yield f"next        monotakd replay SOURCE --checkpoint {out} --out boxes"


def _network(converted: Converted, kind: str) -> str:
    if kind == TEACHER:
        return "teacher (SECOND)"
    student = converted.config.student
    depth = 2 + 3 * sum(student.encoder.layers)  # three convolutions per bottleneck
    if kind != STUDENT:
        return f"{kind} (ResNet{depth})"
    if student.residual is None:
        return f"student of CMKD (ResNet{depth}, no residual branch)"
    return f"student (ResNet{depth}, residual branch, fusion {'off' if student.residual.fusion == 'off' else 'on'})"


def _parameters(converted: Converted) -> int:
    return sum(tensor.numel() for key, tensor in converted.state_dict.items() if not key.endswith(STATISTICS))


def _fusion(converted: Converted, kind: str) -> str | None:
    residual = converted.config.student.residual
    return residual.fusion if kind == STUDENT and residual is not None else None
