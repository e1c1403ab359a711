"""Teacher: outputs, and clouds that are missing, empty or broken; recorded outputs: test_parity."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from monotakd_ros.config import BevConfig, GridConfig, LidarEncoderConfig, PostprocessConfig, TeacherConfig
from monotakd_ros.config_file import load_config
from monotakd_ros.errors import FrameError
from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.teacher import Teacher, build_teacher

TINY = TeacherConfig(
    grid=GridConfig((2.0, -8.0, -3.0, 20.0, 8.0, 1.0), (0.25, 0.25, 0.2)),
    encoder=LidarEncoderConfig((4, 6, 8), 1, 8),
    bev=BevConfig(16, (1, 1), (1, 2), (8, 12), (6, 6)),
)


pytestmark = pytest.mark.usefixtures("one_thread")


def random_cloud(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size, low = torch.tensor([18.0, 16.0, 4.0, 1.0]), torch.tensor([2.0, -8.0, -3.0, 0.0])
    return torch.rand(count, 4, generator=generator) * size + low


def make_batch(*clouds: torch.Tensor, frames: int | None = None) -> FrameBatch:
    """Frames with these clouds; the teacher reads no image."""
    frames = len(clouds) if frames is None else frames
    nothing = torch.zeros(frames, 0)
    names = tuple(f"{index:06d}" for index in range(frames))
    return FrameBatch(nothing, nothing, nothing, nothing, names, points_img=clouds, points_lidar=clouds)


@pytest.fixture
def teacher() -> Teacher:
    torch.manual_seed(0)
    return build_teacher(TINY).eval()


def test_shapes_of_the_output(teacher):
    output = teacher(make_batch(random_cloud(300), random_cloud(200, 1)))
    anchors = 16 * 18 * 6
    assert output.cls_logits.shape == (2, anchors, 3) and output.box_codes.shape == (2, anchors, 7)
    assert output.dir_logits.shape == (2, anchors, 2) and output.bev.shape == (2, 16, 16, 18)
    assert output.depth is None
    assert len(teacher.head.anchors) == anchors


def test_a_batch_equals_its_frames(teacher):
    clouds = random_cloud(300), random_cloud(0), random_cloud(200, 1)
    together = teacher(make_batch(*clouds))
    for index, cloud in enumerate(clouds):
        alone = teacher(make_batch(cloud))
        for name in ("bev", "cls_logits", "box_codes", "dir_logits"):
            whole, single = getattr(together, name)[index], getattr(alone, name)[0]
            torch.testing.assert_close(whole, single, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("values", [(), (50.0, 0, 0, 0), (float("nan"), 0, 0, 0)], ids=["empty", "outside", "nan"])
def test_a_cloud_without_a_point_in_range(teacher, values, training):
    output = teacher.train(training)(make_batch(torch.tensor(values).reshape(-1, 4)))
    assert not output.bev.any()
    assert torch.isfinite(output.cls_logits).all()
    assert len(teacher.decode(output)) == 1


def test_clouds_that_are_missing_or_misshaped(teacher):
    with pytest.raises(FrameError, match="expected 2, got 0"):
        teacher(make_batch(frames=2))
    with pytest.raises(FrameError, match="expected 2, got 1"):
        teacher(make_batch(random_cloud(5), frames=2))
    with pytest.raises(FrameError, match=r"000001.*\(M, 4\).*\(5, 3\)"):
        teacher(make_batch(random_cloud(5), random_cloud(5)[:, :3]))


def test_decode_gives_boxes_per_frame():
    teacher = build_teacher(
        dataclasses.replace(TINY, postprocess=PostprocessConfig(score_threshold=0.001, max_boxes=9))
    )
    with torch.inference_mode():
        decoded = teacher.eval().decode(teacher(make_batch(random_cloud(300), random_cloud(0))))
    assert [len(boxes) for boxes in decoded] == [9, 9]
    assert torch.isfinite(decoded[0].boxes).all()


def test_gradient_reaches_every_parameter(teacher):
    output = teacher.train()(make_batch(random_cloud(400), random_cloud(300, 1)))
    maps = output.cls_logits, output.box_codes, output.dir_logits
    sum((values * torch.randn_like(values)).sum() for values in maps).backward()
    assert [name for name, p in teacher.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_autocast_stays_close(teacher):
    batch = make_batch(random_cloud(400))
    expected = teacher(batch)
    with torch.autocast("cpu", torch.bfloat16):
        output = teacher(batch)
    assert torch.equal(output.bev, expected.bev)
    torch.testing.assert_close(output.cls_logits.float(), expected.cls_logits, atol=0.05, rtol=0.02)


def test_sizes_of_the_configurations(repository):
    assert sum(p.numel() for p in build_teacher(TeacherConfig()).parameters()) == 5_685_544
    small = load_config(repository / "config" / "monotakd_small.yaml")
    teacher = build_teacher(small.teacher).eval()
    points = torch.rand(100, 4) * torch.tensor([44.0, 30.0, 3.0, 1.0]) + torch.tensor([2.0, -15.0, -2.5, 0.0])
    assert teacher(make_batch(points)).bev.shape == (1, small.student.bev.collapse_channels, 94, 70)
