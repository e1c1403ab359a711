"""Published MonoTAKD, CMKD and SECOND weights, turned into ours: every key accounted for, or an error that lists them.

A student's file decides what is built: with the residual branch (MonoTAKD) or without (CMKD), ResNet50 or 101. Sparse
convolution weights may come in the layout of spconv 2.x or in one of the two older ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from monotakd_ros.config import Config, EncoderConfig, ResidualConfig
from monotakd_ros.errors import CheckpointError
from monotakd_ros.network.checkpoint import ASSISTANT, KINDS, STUDENT, TEACHER, build_network
from monotakd_ros.network.official_keys import (
    ASSISTANT_BRANCH,
    BRANCH,
    CAMERA_KEYS,
    LIDAR_KEYS,
    RENAMES,
    STAGE3,
    UNUSED,
    official_name,
    reason_unused,
)

RESNET50_STAGE3, RESNET101_STAGE3 = 6, 23
SPARSE_DIM = 5

LAYOUTS = {
    "spconv 2.x": (0, 1, 2, 3, 4),
    "spconv 1.x": (4, 0, 1, 2, 3),
    "spconv 1.0": (3, 0, 1, 2, 4),
}
"""The axes of a file's weight that become (C_out, kz, ky, kx, C_in): the file's own order is that one, then
(kz, ky, kx, C_in, C_out), then (kz, ky, kx, C_out, C_in)."""


@dataclass(frozen=True, eq=False)
class Converted:
    """A network of ours, ready to be saved.

    Attributes:
        config: what to build.
        state_dict: float32 (counters int64), keys and shapes those of that network.
        unused: reason -> official keys left out for it.
        layout: spconv layout of the file; None where it has no sparse weights.
    """

    config: Config
    state_dict: dict[str, torch.Tensor]
    unused: dict[str, tuple[str, ...]]
    layout: str | None


def convert(model_state: Mapping[str, torch.Tensor], kind: str, config: Config, fusion: bool = False) -> Converted:
    """Published weights as ours.

    Args:
        model_state: official key -> tensor.
        kind: "student", "assistant" or "teacher".
        config: the official networks' settings (`config/official_r50.yaml`); depth of the ResNet and residual branch
            are adapted to the file.
        fusion: students: feed the residual branch to the detector, as the released code does once its commented-out
            line is switched on. Off is how the published weights were trained.

    Raises:
        CheckpointError: keys are missing, unexpected, mis-shaped, mistyped or not finite (all are listed, by official
            name), the sparse layouts contradict each other, or `fusion` is asked of a file without residual branch.
    """
    assert kind in KINDS, f"expected one of {KINDS}, got {kind}"
    config = _config_for(model_state, kind, config, fusion)
    with torch.device("meta"):
        own = build_network(kind, config).state_dict()
    sources = {official_name(key, RENAMES[kind]): key for key in own}
    expected = {name: own[key].shape for name, key in sources.items()}
    counters = {name for name, key in sources.items() if not own[key].is_floating_point()}
    unused = {key: reason_unused(key, UNUSED[kind]) for key in model_state if key not in sources}
    layout = _sparse_layout(model_state, expected)
    tensors = {name: _arranged(model_state[name], layout) for name in sources if name in model_state}
    unexpected = [key for key, reason in unused.items() if reason is None]
    _require_fit(kind, model_state, expected, counters, tensors, unexpected)
    by_reason: dict[str, tuple[str, ...]] = {}
    for key, reason in unused.items():
        by_reason[str(reason)] = (*by_reason.get(str(reason), ()), key)
    return Converted(config, {key: tensors[name] for name, key in sources.items()}, by_reason, layout)


def _config_for(model_state: Mapping[str, torch.Tensor], kind: str, config: Config, fusion: bool) -> Config:
    name, student = config.name, config.student
    if _is_resnet101(model_state, student.encoder):
        first, second, _, fourth = student.encoder.layers
        encoder = dataclasses.replace(student.encoder, layers=(first, second, RESNET101_STAGE3, fourth))
        name, student = f"{name}, ResNet101", dataclasses.replace(student, encoder=encoder)
    if kind == STUDENT:
        student = dataclasses.replace(student, residual=_residual_for(model_state, fusion))
    else:
        assert not fusion, "fusion is a student's setting"
    return dataclasses.replace(config, name=name, student=student)


def _is_resnet101(model_state: Mapping[str, torch.Tensor], encoder: EncoderConfig) -> bool:
    """Whether the file has more third-stage blocks than ResNet50, from which ResNet101 differs in nothing else."""
    return encoder.layers[2] == RESNET50_STAGE3 and _has(model_state, (f"{STAGE3}{RESNET50_STAGE3}.",))


def _residual_for(model_state: Mapping[str, torch.Tensor], fusion: bool) -> ResidualConfig | None:
    if _has(model_state, BRANCH):
        return ResidualConfig("collapsed" if fusion else "off", _has(model_state, (ASSISTANT_BRANCH,)))
    if fusion:
        raise CheckpointError(
            "fusion needs the residual branch (map_to_bev_module.block_copy, .sam, backbone_2d.fusion_nn), and this "
            "file has none: it is the student of CMKD; import it with fusion off"
        )
    return None


def _has(model_state: Mapping[str, torch.Tensor], beginnings: tuple[str, ...]) -> bool:
    return any(key.startswith(beginnings) for key in model_state)


def _sparse_layout(model_state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Size]) -> str | None:
    """The one spconv layout that all sparse weights of the file have; None where it has none of a known shape.

    A layer with as many inputs as outputs fits both older layouts; those with more outputs (the first of all among
    them) decide for the whole file.

    Raises:
        CheckpointError: layers contradict each other.
    """
    fits: dict[str, list[str]] = {}
    for name in expected.keys() & model_state.keys():
        shape = model_state[name].shape
        if len(expected[name]) == len(shape) == SPARSE_DIM:
            fits[name] = [layout for layout, axes in LAYOUTS.items() if _permuted(shape, axes) == expected[name]]
    found = [fitting for fitting in fits.values() if fitting]
    common = [layout for layout in LAYOUTS if all(layout in fitting for fitting in found)]
    if found and not common:
        layers = (
            f"{name} {tuple(model_state[name].shape)}: {' or '.join(fits[name])}" for name in expected if fits.get(name)
        )
        raise CheckpointError(f"the file mixes layouts of sparse weights: {'; '.join(layers)}")
    return common[0] if found else None


def _permuted(shape: torch.Size, axes: tuple[int, ...]) -> torch.Size:
    return torch.Size(shape[axis] for axis in axes)


def _arranged(tensor: torch.Tensor, layout: str | None) -> torch.Tensor:
    """Float32 on the CPU (counters int64), sparse weights as (C_out, kz, ky, kx, C_in)."""
    if tensor.dim() == SPARSE_DIM and layout is not None:
        tensor = tensor.permute(LAYOUTS[layout])
    return tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else torch.int64).contiguous()


def _require_fit(
    kind: str,
    model_state: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Size],
    counters: set[str],
    tensors: Mapping[str, torch.Tensor],
    unexpected: list[str],
) -> None:
    problems = {
        "missing": [name for name in expected if name not in tensors],
        "unexpected": unexpected,
        "of another shape": [
            f"{name} (expected {tuple(expected[name])}, got {tuple(model_state[name].shape)})"
            for name, tensor in tensors.items()
            if expected[name] != tensor.shape
        ],
        "of another type": [
            f"{name} ({model_state[name].dtype})"
            for name in tensors
            if name not in counters and not model_state[name].is_floating_point()
        ],
        "negative variances": [
            name for name, tensor in tensors.items() if name.endswith("running_var") and tensor.min() < 0
        ],
        "not finite": [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())],
    }
    found = {problem: names for problem, names in problems.items() if names}
    looks_like = _looks_like(model_state, kind)
    if found and looks_like:  # then hundreds of names say nothing
        counts = ", ".join(f"{len(names)} {problem}" for problem, names in found.items())
        raise CheckpointError(f"expected the keys of an official {kind}, but {looks_like} (keys: {counts})")
    if found:
        lines = "; ".join(f"{len(names)} {problem}: {', '.join(names)}" for problem, names in found.items())
        raise CheckpointError(f"these keys do not make an official {kind}: {lines}")


def _looks_like(model_state: Mapping[str, torch.Tensor], kind: str) -> str | None:
    """Which other network a file holds, in words; None if there is no sign of one."""
    if kind != TEACHER and _has(model_state, (LIDAR_KEYS,)):
        return "these are a teacher's"
    if kind == TEACHER and _has(model_state, (CAMERA_KEYS,)):
        return "these are a student's"
    if kind == ASSISTANT and _has(model_state, BRANCH):
        return "a residual branch tells MonoTAKD's student; the published assistant is CMKD's student"
    return None
