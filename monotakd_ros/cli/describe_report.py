"""The text of `monotakd describe`: settings, then a table per network, in at most 120 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from monotakd_ros.cli.description import Description
from monotakd_ros.config import Config, InputConfig, StudentConfig, TeacherConfig
from monotakd_ros.network.checkpoint import STUDENT, TEACHER
from monotakd_ros.network.cost import ModuleCost, NetworkCost
from monotakd_ros.network.peak_memory import MIB

WIDTH = 120
KEY_WIDTH = 10
HEADER = f"  {'module':<24}{'parameters':>12}{'GMACs':>9}{'ms':>9}{'tensors MiB':>13}  output"
NOTES = """\
GMACs     billions of multiply-adds of convolutions, matrix products and weighted gathers; element-wise work, norms,
          pooling and resampling are not counted. Sparse convolutions: of the site pairs that this cloud fills.
ms        shortest pass; the made-up frame has a noise image and a LiDAR-like cloud. Boxes (NMS) not included.
tensors   most that tensors alive at one moment took while the module ran, its input included, weights excluded.
memory    CPU: resident, libraries and weights included; CUDA: allocated on the device."""
UNUSED = "not used for boxes with these settings"


def report(description: Description) -> str:
    """Everything about one file."""
    lines = list(_settings(description))
    for kind, cost in description.networks.items():
        lines += ["", f"{kind}: {description.device}", HEADER]
        lines += [_row(module) for module in cost.modules]
        lines += [_row(cost.whole), _memory(cost)]
    return "\n".join([*lines, "", NOTES])


def _settings(description: Description) -> Iterator[str]:
    config, kinds = description.config, description.networks.keys()
    yield _fact("file", description.path)
    yield _fact("config", config.name)
    if kinds - {TEACHER}:
        yield from _camera_settings(config.student)
    if STUDENT in kinds:
        branch = config.student.residual
        yield _fact("fusion", branch.fusion if branch else "none: the student has no residual branch")
    yield from _teacher_settings(config, only_teacher=not kinds - {TEACHER})
    if description.weights:
        yield _fact("weights", f"{description.weights.size_bytes / MIB:.1f} MiB, sha256 {description.weights.sha256}")
        for name, value in _flat(description.weights.metadata):
            yield _fact("metadata", f"{name}: {value}")


def _camera_settings(config: StudentConfig) -> Iterator[str]:
    columns, rows, heights = config.grid.build().shape_xyz
    dx, dy, _ = config.grid.voxel_size_m
    yield _fact("classes", ", ".join(config.class_names))
    yield _fact("input", _input(config.input))
    yield _fact(
        "BEV grid", f"{columns} x {rows} cells (x, y) of {dx:g} x {dy:g} m, {heights} heights; {_range(config)}"
    )
    yield _fact(
        "depth",
        f"{config.depth.num_bins} bins (LID), {config.depth.min_m:g} to {config.depth.max_m:g} m; lift samples "
        f"`{config.lift.sampling}`",
    )


def _teacher_settings(config: Config, only_teacher: bool) -> Iterator[str]:
    teacher = config.teacher
    if teacher is None:
        yield _fact("teacher", "none: the config has no `teacher` section")
        return
    if only_teacher:
        yield _fact("classes", ", ".join(teacher.class_names))
    shape = " x ".join(map(str, teacher.grid.build().shape_xyz))
    size = " x ".join(f"{edge:g}" for edge in teacher.grid.voxel_size_m)
    yield _fact("teacher", f"{shape} voxels (x, y, z) of {size} m; {_range(teacher)}")


def _input(config: InputConfig) -> str:
    size = f"{config.width} x {config.height} px"
    if config.focal_px is None or config.center_px is None:
        return f"{size}; other images keep their own size"
    u, v = config.center_px
    return f"{size}, focal length {config.focal_px:g} px, principal point ({u:g}, {v:g}); images are brought to it"


def _range(config: StudentConfig | TeacherConfig) -> str:
    x0, y0, z0, x1, y1, z1 = config.grid.range_m
    return f"x {x0:g} to {x1:g}, y {y0:g} to {y1:g}, z {z0:g} to {z1:g} m"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested metadata, in words, with dotted names."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, torch.Tensor):
        yield name, f"tensor {tuple(value.shape)}"
    else:
        yield name, f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())


def _fact(key: str, text: str) -> str:
    return _cut(f"{key:<{KEY_WIDTH}}{text}")


def _row(module: ModuleCost) -> str:
    *parents, name = module.name.split(".") if module.name else ["whole"]
    start = f"  {'  ' * len(parents) + name:<24}{module.parameters:>12,}"
    if not module.used:
        return f"{start}{'-':>9}{'-':>9}{'-':>13}  {UNUSED}"
    output = "" if not module.name else ", ".join(module.output)
    return _cut(f"{start}{module.macs / 1e9:>9.2f}{module.milliseconds:>9.1f}{module.tensor_mib:>13.1f}  {output}")


def _memory(cost: NetworkCost) -> str:
    before, peak = cost.memory.before_mib, cost.memory.peak_mib
    if before is None or peak is None:
        return "  memory    not told by this system"
    return f"  memory    {before:.0f} MiB before the first pass, {peak:.0f} MiB at the peak"


def _cut(line: str) -> str:
    line = line.rstrip()
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
