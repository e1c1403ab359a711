"""The assistant: the student's trunk lifted with measured depth."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from monotakd_ros.config import AssistantConfig
from monotakd_ros.errors import FrameError
from monotakd_ros.network.assistant import build_assistant
from monotakd_ros.network.student import build_student


def make_assistant(config, **settings):
    torch.manual_seed(0)
    return build_assistant(config, AssistantConfig(**settings))


def test_shapes(tiny_config, batch_with_clouds):
    assistant = make_assistant(tiny_config).eval()
    output = assistant(batch_with_clouds)
    count = 16 * 18 * 3 * 2
    assert output.cls_logits.shape == (2, count, 3)
    assert output.box_codes.shape == (2, count, 7)
    assert output.dir_logits.shape == (2, count, 2)
    assert output.bev.shape == (2, 10, 16, 18)
    assert output.depth.shape == (2, 13, 8, 19)
    assert len(assistant.decode(output)) == 2


@pytest.mark.parametrize("cell_depth", ["nearest", "mean"])
def test_it_is_the_student_with_the_measured_depth(tiny_config, batch_with_clouds, cell_depth):
    """With the student's weights, and depth measured, trunk and head give the same as the assistant's."""
    student = build_student(tiny_config).eval()
    assistant = make_assistant(tiny_config, cell_depth=cell_depth).eval()
    shared = {key: value for key, value in student.state_dict().items() if key in assistant.state_dict()}
    assistant.load_state_dict(shared)
    output = assistant(batch_with_clouds)
    images = student.normalization(batch_with_clouds.images, batch_with_clouds.valid_px)
    features, _ = student.encoder(images)
    voxels = student.view_transform(features, output.depth, student.lift_plan(batch_with_clouds))
    bev = student.adaptation(student.collapse(voxels))
    torch.testing.assert_close(output.bev, bev)
    torch.testing.assert_close(output.cls_logits, student.head(student.bev_backbone(bev))[0])


def test_gradients_reach_every_parameter_from_the_boxes(tiny_config, batch_with_clouds):
    assistant = make_assistant(tiny_config).train()
    output = assistant(batch_with_clouds)
    (output.cls_logits.square().mean() + output.box_codes.square().mean() + output.dir_logits.sum()).backward()
    without = [name for name, item in assistant.named_parameters() if item.grad is None or not item.grad.any()]
    assert without == []


def test_the_image_network_ends_where_the_feature_comes_from(tiny_config):
    keys = make_assistant(tiny_config).state_dict()
    assert any(key.startswith("encoder.backbone.layer3.") for key in keys)
    assert not any("layer4" in key or "classifier" in key for key in keys)


def test_an_empty_cloud_lifts_nothing(tiny_config, batch_with_clouds):
    assistant = make_assistant(tiny_config).eval()
    empty = (torch.zeros(0, 3), batch_with_clouds.points_img[1])
    output = assistant(dataclasses.replace(batch_with_clouds, points_img=empty))
    assert torch.equal(output.depth[0, :-1], torch.zeros_like(output.depth[0, :-1]))
    assert output.bev[0].std(dim=(1, 2)).max() == 0, "nothing tells one cell from another"
    torch.testing.assert_close(output.bev[1], assistant(batch_with_clouds).bev[1])


def test_points_that_are_not_finite_or_out_of_range_count_as_none(tiny_config, batch_with_clouds):
    assistant = make_assistant(tiny_config)
    nowhere = torch.tensor([[40.0, 20.0, torch.nan], [40.0, 20.0, 500.0], [torch.nan, 20.0, 9.0], [-50.0, 20.0, 9.0]])
    depth = assistant.measured_depth(dataclasses.replace(batch_with_clouds, points_img=(nowhere, nowhere)))
    assert not depth[:, :-1].any()


def test_clouds_are_needed(tiny_config, batch):
    with pytest.raises(FrameError, match="the assistant needs the LiDAR cloud of every frame: expected 2, got 0"):
        make_assistant(tiny_config)(batch)
