"""The student as a whole: shapes, gradients, padding, batches, the shipped configurations."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from monotakd_ros.config import InputConfig, load_config
from monotakd_ros.network.student import ImageNormalization, build_student


def make_student(config):
    torch.manual_seed(0)
    return build_student(config)


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
    loss = sum(value.float().square().mean() for value in vars(output).values())
    loss.backward()
    without = [name for name, item in student.named_parameters() if item.grad is None or not item.grad.any()]
    assert without == []


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
        for name, value in vars(alone).items():
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


def test_images_must_be_bytes(tiny_config, single):
    with pytest.raises(AssertionError, match="uint8"):
        make_student(tiny_config)(dataclasses.replace(single, images=single.images.float()))


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
    detection_parts = 45_004_673 - 726_016  # published CMKD student less its adaptation blocks, which come later
    assert sum(item.numel() for item in student.parameters()) == detection_parts
    assert student.head.anchors.shape == (157_920, 7)
