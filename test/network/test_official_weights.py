"""The official key map: every key accounted for, every layout, and every way a file can be wrong."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from monotakd_ros.config import Config, ResidualConfig
from monotakd_ros.config_file import load_config
from monotakd_ros.errors import CheckpointError
from monotakd_ros.network.checkpoint import build_network, load_weights
from monotakd_ros.network.official_keys import BRANCH, RENAMES, official_name
from monotakd_ros.network.official_weights import convert

LAYOUT_OF = {"spconv 2.x": (0, 1, 2, 3, 4), "spconv 1.x": (1, 2, 3, 4, 0), "spconv 1.0": (1, 2, 3, 0, 4)}
EXTRA = {"global_step": torch.zeros(1, dtype=torch.int64)}
GLOBAL_CONTEXT = {"map_to_bev_module.GC_block.conv_mask.weight": torch.zeros(1, 10, 1, 1)}


@pytest.fixture
def config(tiny_config_of_three) -> Config:
    """Tiny networks with all that the official ones have."""
    student = tiny_config_of_three.student
    student = dataclasses.replace(
        student,
        bev=dataclasses.replace(student.bev, adaptation_blocks=2),
        residual=ResidualConfig("collapsed", assistant_branch=True),
    )
    return dataclasses.replace(tiny_config_of_three, student=student)


def official_state(kind: str, config: Config) -> dict[str, torch.Tensor]:
    """What the official code would have saved of such a network."""
    torch.manual_seed(3)
    state = build_network(kind, config).state_dict()
    official = {official_name(key, RENAMES[kind]): tensor for key, tensor in state.items()}
    return {**EXTRA, **official, **(GLOBAL_CONTEXT if kind == "student" else {})}


def without(state: dict[str, torch.Tensor], *beginnings: str) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in state.items() if not key.startswith(beginnings)}


def cmkd_state(config: Config) -> dict[str, torch.Tensor]:
    """The student without residual branch, which is also the published assistant."""
    return without(official_state("student", config), *BRANCH)


def same(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[key], other[key]) for key in state)


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_a_network_comes_back_whole(config, kind):
    torch.manual_seed(3)
    network = build_network(kind, config)
    converted = convert(official_state(kind, config), kind, config, fusion=kind == "student")
    assert converted.config == config
    assert same(converted.state_dict, network.state_dict())
    load_weights(build_network(kind, converted.config), converted.state_dict, "here")


def test_fusion_off_leaves_the_fusion_module_out(config):
    state = official_state("student", config)
    converted = convert(state, "student", config)
    assert converted.config.student.residual == ResidualConfig("off", assistant_branch=True)
    load_weights(build_network("student", converted.config), converted.state_dict, "here")
    unused = {key for keys in converted.unused.values() for key in keys}
    assert unused == {key for key in state if re.search("fusion_nn|GC_block|global_step", key)}
    assert len(converted.unused) == 3 and len(converted.state_dict) + len(unused) == len(state)


def test_a_file_without_the_assistant_branch(config):
    converted = convert(
        without(official_state("student", config), "map_to_bev_module.block_target."), "student", config
    )
    assert converted.config.student.residual == ResidualConfig("off", assistant_branch=False)


def test_the_student_of_cmkd(config):
    converted = convert(cmkd_state(config), "student", config)
    assert converted.config.student.residual is None
    load_weights(build_network("student", converted.config), converted.state_dict, "here")
    with pytest.raises(CheckpointError, match="fusion needs the residual branch"):
        convert(cmkd_state(config), "student", config, fusion=True)


def test_the_assistant_leaves_the_depth_head_out(config):
    converted = convert(cmkd_state(config), "assistant", config)
    load_weights(build_network("assistant", converted.config), converted.state_dict, "here")
    assert [len(keys) > 1 for keys in converted.unused.values()] == [False, True, True]
    assert "encoder.backbone.layer3.0.conv1.weight" in converted.state_dict


def test_a_teacher_with_the_fusion_module_it_never_runs(config):
    state = official_state("teacher", config)
    fusion = {"backbone_2d.fusion_nn.conv.weight": torch.zeros(10, 10, 3, 3)}
    plain, wide = convert(state, "teacher", config), convert({**state, **fusion}, "teacher", config)
    assert same(plain.state_dict, wide.state_dict)
    assert [*fusion] in [list(keys) for keys in wide.unused.values()]


@pytest.mark.parametrize("layout", LAYOUT_OF)
def test_every_layout_of_sparse_weights(config, layout):
    state = official_state("teacher", config)
    saved = {key: tensor.permute(LAYOUT_OF[layout]) if tensor.dim() == 5 else tensor for key, tensor in state.items()}
    converted = convert(saved, "teacher", config)
    assert converted.layout == layout
    assert same(converted.state_dict, convert(state, "teacher", config).state_dict)


def test_mixed_layouts_are_refused(config):
    state = official_state("teacher", config)
    state["backbone_3d.conv2.0.0.weight"] = state["backbone_3d.conv2.0.0.weight"].permute(LAYOUT_OF["spconv 1.x"])
    with pytest.raises(CheckpointError, match=r"mixes layouts.*conv2\.0\.0\.weight \(3, 3, 3, 4, 6\): spconv 1\.x"):
        convert(state, "teacher", config)


def test_all_that_does_not_fit_is_listed_by_official_name(config):
    state = official_state("student", config)
    del state["dense_head.conv_cls.bias"], state["map_to_bev_module.sam.dcn.conv1.weight"]
    state["dense_head.conv_new.bias"] = torch.zeros(1)
    state["map_to_bev_module.sam.fc.0.weight"] = torch.zeros(3, 3)
    state["vfe.ffn.ddn.model.backbone.bn1.running_var"][2] = float("inf")
    state["vfe.ffn.channel_reduce.bn.running_var"][0] = -1.0
    state["dense_head.conv_box.bias"] = state["dense_head.conv_box.bias"].to(torch.int32)
    with pytest.raises(CheckpointError) as caught:
        convert(state, "student", config)
    message = str(caught.value)
    assert "2 missing: map_to_bev_module.sam.dcn.conv1.weight, dense_head.conv_cls.bias" in message
    assert "1 unexpected: dense_head.conv_new.bias" in message
    assert "1 of another shape: map_to_bev_module.sam.fc.0.weight (expected (10, 10), got (3, 3))" in message
    assert "1 of another type: dense_head.conv_box.bias (torch.int32)" in message
    assert "1 negative variances: vfe.ffn.channel_reduce.bn.running_var" in message
    assert "1 not finite: vfe.ffn.ddn.model.backbone.bn1.running_var" in message


@pytest.mark.parametrize(
    ("saved", "asked", "message"),
    [
        ("teacher", "student", "these are a teacher's"),
        ("student", "teacher", "these are a student's"),
        ("student", "assistant", "a residual branch tells MonoTAKD's student"),
    ],
)
def test_another_network_is_recognised(config, saved, asked, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        convert(official_state(saved, config), asked, config)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(config, dtype):
    state = official_state("teacher", config)
    narrow = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    converted = convert(narrow, "teacher", config)
    assert {tensor.dtype for tensor in converted.state_dict.values()} == {torch.float32, torch.int64}
    weight = converted.state_dict["head.conv_cls.weight"]
    assert torch.equal(weight, state["dense_head.conv_cls.weight"].to(dtype).float())


def test_resnet101_is_told_by_its_third_stage(config):
    tiny = dataclasses.replace(config.student.encoder, layers=(1, 1, 6, 1))
    base = dataclasses.replace(config, student=dataclasses.replace(config.student, encoder=tiny))
    deep_encoder = dataclasses.replace(tiny, layers=(1, 1, 23, 1))
    deep = dataclasses.replace(base, student=dataclasses.replace(base.student, encoder=deep_encoder))
    assert convert(official_state("student", base), "student", base).config.student.encoder == tiny
    converted = convert(official_state("student", deep), "student", base)
    assert converted.config.student.encoder == deep_encoder
    assert "ResNet101" in converted.config.name


def test_no_keys_at_all(config):
    with pytest.raises(CheckpointError, match=r"missing: vfe\.ffn\.ddn\.model\.backbone\.conv1\.weight"):
        convert({}, "student", config)


@pytest.mark.parametrize(
    ("table", "kind", "fusion", "mapped", "parameters"),
    [
        ("student", "student", False, 702, 46_173_953),
        ("student", "student", True, 718, 46_650_369),
        ("assistant", "student", False, 648, 45_004_673),
        ("assistant", "assistant", False, 544, 13_883_400),
        ("teacher", "teacher", False, 232, 5_685_544),
    ],
)
def test_published_keys_and_sizes(data_dir, repository, table, kind, fusion, mapped, parameters):
    """All keys of the official code's networks, as its state dicts list them."""
    path = data_dir.parent / "design" / "state_dicts" / f"{table}.tsv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    config = load_config(repository / "config" / "official_r50.yaml")
    lines = [line.split("\t") for line in path.read_text().splitlines() if not line.startswith(("#", "key"))]
    sizes = {key: [int(size) for size in shape.strip("(),").split(",") if size.strip()] for key, shape, *_ in lines}
    state = {key: torch.zeros(()).expand(size) for key, size in sizes.items()}
    converted = convert(state, kind, config, fusion)
    unused = sum(map(len, converted.unused.values()))
    assert (len(converted.state_dict), len(converted.state_dict) + unused) == (mapped, len(state))
    with torch.device("meta"):
        network = build_network(kind, converted.config)
    assert {key: tensor.shape for key, tensor in network.state_dict().items()} == {
        key: tensor.shape for key, tensor in converted.state_dict.items()
    }
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
