"""The student as a whole: shapes, gradients, padding, batches, the shipped configurations."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from monotakd_ros.config import InputConfig, ResidualConfig
from monotakd_ros.config_file import load_config
from monotakd_ros.errors import FrameError
from monotakd_ros.network.image_normalization import ImageNormalization
from monotakd_ros.network.student import build_student


def make_student(config):
    torch.manual_seed(0)
    return build_student(config)


def tensors(output) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(output).items() if value is not None}


def without_gradient(network) -> list[str]:
    return [name for name, item in network.named_parameters() if item.grad is None or not item.grad.any()]


def with_residual(config, fusion="adapted", blocks=1, **changes):
    bev = dataclasses.replace(config.bev, adaptation_blocks=blocks)
    return dataclasses.replace(config, bev=bev, residual=ResidualConfig(fusion, **changes))


def test_shapes(tiny_config, batch):
    student = make_student(tiny_config).eval()
    output = student(batch)
    count = 16 * 18 * 3 * 2
    assert output.cls_logits.shape == (2, count, 3)
    assert output.box_codes.shape == (2, count, 7)
    assert output.dir_logits.shape == (2, count, 2)
    assert output.depth_logits.shape == (2, 13, 8, 19)
    assert output.bev.shape == (2, 10, 16, 18)
    assert student.head.anchors.shape == (count, 7)
    found = student.decode(output)
    assert len(found) == 2 and all(boxes.boxes.shape == (len(boxes), 7) for boxes in found)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("sampling", ["exact", "official"])
def test_gradients_reach_every_parameter(tiny_config, batch, block, sampling):
    config = dataclasses.replace(
        tiny_config,
        encoder=dataclasses.replace(tiny_config.encoder, block=block, channels=(8, 12, 16, 20)),
        lift=dataclasses.replace(tiny_config.lift, sampling=sampling),
    )
    student = make_student(config).train()
    output = student(batch)
    sum(value.float().square().mean() for value in tensors(output).values()).backward()
    assert without_gradient(student) == []


def test_head_alone_moves_the_depth_head_and_the_backbone(tiny_config, batch):
    """Detection must teach depth through the lift, without any depth loss."""
    student = make_student(tiny_config).train()
    student(batch).cls_logits.square().mean().backward()
    assert student.encoder.classifier[4].weight.grad.any()
    assert student.encoder.backbone.conv1.weight.grad.any()


def test_a_frame_does_not_depend_on_its_batch(tiny_config, batch):
    student = make_student(tiny_config).eval()
    together = student(batch)
    for index in range(2):
        alone = student(
            dataclasses.replace(
                batch,
                images=batch.images[index : index + 1],
                valid_px=batch.valid_px[index : index + 1],
                img_P_cam=batch.img_P_cam[index : index + 1],
                cam_T_lidar=batch.cam_T_lidar[index : index + 1],
            )
        )
        for name, value in tensors(alone).items():
            torch.testing.assert_close(value[0], getattr(together, name)[index], atol=1e-4, rtol=1e-4)


def test_padding_has_no_influence(tiny_config, batch):
    student = make_student(tiny_config).eval()
    images = batch.images.clone()
    images[1, :, :, 145:] = 255
    changed = student(dataclasses.replace(batch, images=images))
    assert torch.equal(changed.cls_logits, student(batch).cls_logits)


def test_normalization_by_hand():
    normalize = ImageNormalization(InputConfig(mean=(0.5, 0.0, 0.0), std=(0.25, 1.0, 1.0)))
    images = torch.full((1, 3, 3, 4), 255, dtype=torch.uint8)
    out = normalize(images, torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
    assert out[0, 0].tolist() == [[0, 2, 2, 0], [0, 2, 2, 0], [0, 0, 0, 0]]
    assert out[0, 1].tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert not list(normalize.state_dict())


class TestResidualBranch:
    """What each setting computes, and what its parameters learn from."""

    def test_off_does_not_touch_the_boxes(self, tiny_config, batch):
        plain = make_student(dataclasses.replace(tiny_config, bev=with_residual(tiny_config).bev)).eval()
        beside = make_student(with_residual(tiny_config, "off")).eval()
        beside.load_state_dict(plain.state_dict(), strict=False)
        output = beside(batch, with_residual=True)
        assert torch.equal(output.cls_logits, plain(batch).cls_logits)
        assert output.residual_bev.shape == output.bev.shape
        assert beside(batch).residual_bev is None, "nothing is computed that nobody asked for"

    def test_off_learns_from_distillation_only(self, tiny_config, batch):
        student = make_student(with_residual(tiny_config, "off", assistant_branch=True)).train()
        output = student(batch, with_residual=True)
        (output.cls_logits.square().mean() + output.box_codes.square().mean() + output.dir_logits.sum()).backward()
        without = without_gradient(student)
        assert without and all(name.startswith("residual.") for name in without)
        output = student(batch, with_residual=True)
        output.residual_bev.square().mean().backward()
        assert all(name.startswith("residual.assistant_collapse.") for name in without_gradient(student))

    def test_adapted_reaches_every_parameter_from_the_boxes(self, tiny_config, batch):
        student = make_student(with_residual(tiny_config)).train()
        output = student(batch)
        (output.cls_logits.square().mean() + output.box_codes.square().mean() + output.dir_logits.sum()).backward()
        assert without_gradient(student) == []

    def test_collapsed_leaves_the_adaptation_blocks_to_distillation(self, tiny_config, batch):
        student = make_student(with_residual(tiny_config, "collapsed")).train()
        output = student(batch)
        (output.cls_logits.square().mean() + output.box_codes.square().mean() + output.dir_logits.sum()).backward()
        without = without_gradient(student)
        assert without and all(name.startswith("adaptation.") for name in without)
        student(batch).bev.square().mean().backward()
        assert without_gradient(student) == []

    def test_the_two_fusions_differ_by_the_map_they_take(self, tiny_config, batch):
        adapted = make_student(with_residual(tiny_config)).eval()
        collapsed = make_student(with_residual(tiny_config, "collapsed")).eval()
        collapsed.load_state_dict(adapted.state_dict(), strict=False)  # it has no norm of its own at the end
        assert not torch.allclose(adapted(batch).cls_logits, collapsed(batch).cls_logits)
        no_blocks = with_residual(tiny_config, "collapsed", blocks=0), with_residual(tiny_config, blocks=0)
        first, second = (make_student(config).eval()(batch) for config in no_blocks)
        assert torch.equal(first.cls_logits, second.cls_logits), "the same without adaptation blocks"

    def test_the_assistant_branch_shares_the_alignment(self, tiny_config, batch):
        student = make_student(with_residual(tiny_config, "off", assistant_branch=True)).eval()
        branch = student.residual
        branch.assistant_collapse.load_state_dict(branch.collapse.state_dict())
        voxels = torch.randn(1, 6, 4, 16, 18, generator=torch.Generator().manual_seed(0))
        assert torch.equal(branch.assistant(voxels), branch(voxels))


class TestBadImages:
    @pytest.mark.parametrize(
        "spoil",
        [lambda images: images.float(), lambda images: images.permute(0, 2, 3, 1), lambda images: images[0]],
        ids=["floats", "channels last", "no batch"],
    )
    def test_type_and_channel_order(self, tiny_config, single, spoil):
        with pytest.raises(FrameError, match=r"expected uint8 RGB images of shape \(B, 3, H, W\)"):
            make_student(tiny_config)(dataclasses.replace(single, images=spoil(single.images)))

    def test_size_of_a_network_with_its_own_camera(self, tiny_config, single):
        height, width = single.images.shape[-2:]
        own = InputConfig(width=width + 8, height=height, focal_px=90.0, center_px=(74.0, 30.0))
        student = make_student(dataclasses.replace(tiny_config, input=own))
        with pytest.raises(FrameError, match=rf"\(B, 3, {height}, {width + 8}\)"):
            student(single)


def test_a_plan_made_beforehand_gives_the_same(tiny_config, batch):
    student = make_student(tiny_config).eval()
    assert torch.equal(student(batch, student.lift_plan(batch)).cls_logits, student(batch).cls_logits)


def test_no_box_above_the_threshold(tiny_config, single):
    postprocess = dataclasses.replace(tiny_config.postprocess, score_threshold=0.999)
    student = make_student(dataclasses.replace(tiny_config, postprocess=postprocess)).eval()
    boxes = student.decode(student(single))[0]
    assert len(boxes) == 0 and boxes.boxes.shape == (0, 7)


@pytest.mark.skipif(torch.__version__ < (2, 5), reason="older compilers cannot make the output, a dataclass")
def test_compiles_without_a_graph_break(tiny_config, single):
    """The forward pass is one graph; running the generated code needs a C++ compiler and is left to the benchmark."""
    student = make_student(with_residual(tiny_config)).eval()
    compiled = torch.compile(student, fullgraph=True, backend="eager")
    with torch.no_grad():
        plan = student.lift_plan(single)
        torch.testing.assert_close(compiled(single, plan).cls_logits, student(single, plan).cls_logits)


def test_forward_and_backward_repeat_bit_for_bit(tiny_config, batch):
    def gradients() -> list[torch.Tensor]:
        student = make_student(tiny_config).train()
        student(batch).box_codes.square().sum().backward()
        return [item.grad for item in student.parameters() if item.grad is not None]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients()))


def test_autocast_stays_close(tiny_config, batch):
    student = make_student(tiny_config).eval()
    with torch.no_grad():
        plain = student(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            coarse = student(batch)
    torch.testing.assert_close(coarse.cls_logits.float(), plain.cls_logits, atol=0.1, rtol=0.05)


def test_shipped_small_student_is_small(repository):
    config = load_config(repository / "config" / "student_small.yaml").student
    student = build_student(config)
    assert sum(item.numel() for item in student.parameters()) <= 10_000_000


def test_paper_student_has_the_published_size(repository):
    with torch.device("meta"):
        student = build_student(load_config(repository / "config" / "monotakd_r50.yaml").student)
    unused = 66_689 + 82_176  # of the published student's 46,717,058: its GC block and its assistant's collapse
    own_norm = 2 * 128  # the fusion module's last convolution shares none
    assert sum(item.numel() for item in student.parameters()) == 46_717_058 - unused + own_norm
    assert student.head.anchors.shape == (157_920, 7)
