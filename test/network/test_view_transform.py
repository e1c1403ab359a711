"""The lift equals trilinear sampling of the explicit frustum volume, forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from monotakd_ros.frame import FrameBatch
from monotakd_ros.geometry.depth_bins import DepthBins
from monotakd_ros.geometry.grid import VoxelGrid
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.network.lift_plan import LiftPlanCache, make_plan
from monotakd_ros.network.view_transform import ViewTransform

GRID = VoxelGrid((1.0, -10.4, -3.0, 14.0, 10.4, 1.0), (0.65, 0.65, 0.5))
BINS = DepthBins(2.0, 12.0, 24)
CHANNELS, ROWS, COLUMNS = 5, 12, 25
WIDTH, HEIGHT = 200, 96


def make_inputs(batch: int = 2, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Feature, depth logits, and calibrations that differ within the batch."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, CHANNELS, ROWS, COLUMNS, generator=generator, requires_grad=True)
    logits = torch.randn(batch, BINS.num_bins + 1, ROWS, COLUMNS, generator=generator, requires_grad=True)
    img_P_cam = torch.tensor([[120.0, 0, 100, 10], [0, 120, 40, 0.2], [0, 0, 1, 0.003]]).repeat(batch, 1, 1)
    cam_T_lidar = torch.from_numpy(nominal_cam_T_lidar()).float().repeat(batch, 1, 1)
    valid_px = torch.tensor([[0.0, 0.0, WIDTH, HEIGHT]]).repeat(batch, 1)
    shift = torch.arange(batch, dtype=torch.float32)
    img_P_cam[:, 0, 2] -= 9 * shift
    cam_T_lidar[:, 0, 3] += 0.3 * shift
    valid_px[:, 2] -= 8 * shift
    return features, logits, img_P_cam, cam_T_lidar, valid_px


def lift(view, features, logits, img_P_cam, cam_T_lidar, valid_px) -> torch.Tensor:
    """Softmax, plan and lift, as a student does."""
    images = torch.zeros((len(features), 3, 8 * features.shape[2], 8 * features.shape[3]), dtype=torch.uint8)
    batch = FrameBatch(images.to(features.device), valid_px, img_P_cam, cam_T_lidar, ("",) * len(features))
    return view(features, logits.softmax(dim=1), view.batch_plan(batch))


def sampled_volume(features, logits, coordinates) -> torch.Tensor:
    """Outer product, then 5-D `grid_sample` at continuous indices (B, Y * X * Z, 3)."""
    depth = logits.softmax(dim=1)[:, :-1]
    volume = features[:, :, None] * depth[:, None]
    normalized = (coordinates + 0.5) / torch.tensor([COLUMNS, ROWS, BINS.num_bins]) * 2 - 1
    normalized = torch.where(torch.isfinite(normalized), normalized, -2.0)
    x, y, z = GRID.shape_xyz
    voxels = F.grid_sample(volume.double(), normalized.unflatten(1, (y, x, z)), align_corners=False)
    return voxels.permute(0, 1, 4, 2, 3).float()


def all_coordinates(view, img_P_cam, cam_T_lidar) -> torch.Tensor:
    shape = (BINS.num_bins, ROWS, COLUMNS)
    frames = zip(img_P_cam, cam_T_lidar)
    return torch.stack([view.coordinates(projection, pose, (WIDTH, HEIGHT), shape) for projection, pose in frames])


@pytest.mark.parametrize("sampling", ["exact", "official"])
def test_equals_the_frustum_volume_forward_and_backward(sampling):
    view = ViewTransform(GRID, BINS, sampling)
    features, logits, img_P_cam, cam_T_lidar, valid_px = make_inputs()
    voxels = lift(view, features, logits, img_P_cam, cam_T_lidar, valid_px)
    expected = sampled_volume(features, logits, all_coordinates(view, img_P_cam, cam_T_lidar))
    assert voxels.shape == expected.shape == (2, CHANNELS, 8, 32, 20)
    assert 0.3 < (expected != 0).float().mean() < 0.9, "a test needs voxels inside and outside the frustum"
    torch.testing.assert_close(voxels, expected, atol=1e-5, rtol=0)
    grad = torch.randn(voxels.shape, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad(voxels, (features, logits), grad)
    for ours, reference in zip(got, torch.autograd.grad(expected, (features, logits), grad)):
        torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-5)


def test_gradient_against_finite_differences():
    """Central differences in a random direction (the lift computes in float32, too coarse for gradcheck)."""
    view = ViewTransform(GRID, BINS)
    features, logits, *calibration = make_inputs(1)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    weight = torch.randn((1, CHANNELS, 8, 32, 20), generator=torch.Generator().manual_seed(3))

    def value(step: float) -> torch.Tensor:
        return (lift(view, features, logits + step * direction, *calibration).double() * weight).sum()

    slope = (torch.autograd.grad(value(0.0), logits)[0] * direction).sum()
    assert slope.item() == pytest.approx((value(0.01) - value(-0.01)).item() / 0.02, rel=1e-2)


def test_exact_sampling_by_hand():
    """A voxel centre that projects on pixel (8 u, 8 v) at the middle of bin k reads f[v, u] p[k] and nothing else."""
    grid = VoxelGrid((9.0, -1.0, -1.0, 11.0, 1.0, 1.0), (2.0, 2.0, 2.0))  # one voxel, centred at x = 10
    bins = DepthBins(2.0, 18.0, 1)  # one bin, centred at 10 m
    view = ViewTransform(grid, bins)
    img_P_cam = torch.tensor([[[50.0, 0, 24, 0], [0, 50, 16, 0], [0, 0, 1, 0]]])
    cam_T_lidar = torch.from_numpy(nominal_cam_T_lidar(0.0, 0.0)).float()[None]
    coordinates = view.coordinates(img_P_cam[0], cam_T_lidar[0], (64, 40), (1, 5, 8))
    expected_bin = bins.continuous_index(torch.tensor(10.0, dtype=torch.float64)) - 0.5
    torch.testing.assert_close(coordinates, torch.tensor([[3.0, 2.0, expected_bin]], dtype=torch.float64))
    features = torch.arange(40.0).view(1, 1, 5, 8)
    logits = torch.zeros(1, 2, 5, 8)
    voxels = lift(view, features, logits, img_P_cam, cam_T_lidar, torch.tensor([[0.0, 0.0, 64.0, 40.0]]))
    assert voxels.item() == pytest.approx((2 * 8 + 3) * 0.5 * (1 - abs(expected_bin.item())), rel=1e-5)


def test_official_grid_equals_the_published_code(data_dir):
    """The published code's own normalised sampling grid of a KITTI frame."""
    numpy = pytest.importorskip("numpy")
    given = numpy.load(data_dir / "parity" / "input.npz")
    published = numpy.load(data_dir / "parity" / "student_released.npz")
    grid = VoxelGrid((2.0, -30.08, -3.0, 46.8, 30.08, 1.0), (0.32, 0.32, 0.4))
    view = ViewTransform(grid, DepthBins(2.0, 46.8, 120), "official")
    height, width = given["image_shape"].tolist()
    img_P_cam, cam_T_lidar = (torch.from_numpy(given[f"trans_{name}"]) for name in ("cam_to_img", "lidar_to_cam"))
    coordinates = view.coordinates(img_P_cam, cam_T_lidar, (width, height), (120, 47, 156))
    normalized = (coordinates + 0.5) / torch.tensor([156, 47, 120]) * 2 - 1
    shape = published["frustum_grid/shape"].tolist()
    assert shape == [1, 140, 188, 10, 3]
    ours = normalized.view(188, 140, 10, 3).transpose(0, 1).reshape(-1)[torch.from_numpy(published["frustum_grid/idx"])]
    theirs = torch.from_numpy(published["frustum_grid/val"]).double()
    inside = ours.isfinite() & (ours.abs() <= 1)
    assert inside.sum() > 5000
    torch.testing.assert_close(ours[inside], theirs[inside], atol=5e-6, rtol=0)


def test_one_calibration_is_planned_once_and_another_anew():
    view = ViewTransform(GRID, BINS)
    features, logits, img_P_cam, cam_T_lidar, valid_px = make_inputs(3)
    lift(view, features, logits, img_P_cam, cam_T_lidar, valid_px)
    assert len(view.plans) == 3
    lift(view, features, logits, img_P_cam[[0, 0, 2]], cam_T_lidar[[0, 0, 2]], valid_px)
    assert len(view.plans) == 3
    assert not list(view.state_dict())
    assert len(copy.deepcopy(view).plans) == 0


def test_official_sampling_depends_on_the_largest_image_of_the_batch():
    features, logits, img_P_cam, cam_T_lidar, valid_px = make_inputs(2)
    view = ViewTransform(GRID, BINS, "official")
    together = lift(view, features, logits, img_P_cam, cam_T_lidar, valid_px)
    alone = lift(view, features[1:], logits[1:], img_P_cam[1:], cam_T_lidar[1:], valid_px[1:])
    assert not torch.allclose(together[1:], alone, atol=1e-3)
    exact = ViewTransform(GRID, BINS, "exact")
    together = lift(exact, features, logits, img_P_cam, cam_T_lidar, valid_px)
    alone = lift(exact, features[1:], logits[1:], img_P_cam[1:], cam_T_lidar[1:], valid_px[1:])
    torch.testing.assert_close(together[1:], alone)


def test_cache_forgets_the_least_recently_used():
    cache, built = LiftPlanCache(max_plans=2), []

    def get(key: str) -> None:
        def make():
            built.append(key)
            return make_plan(torch.zeros((1, 3), dtype=torch.float64), (1, 1, 1))

        cache.get((key,), make)

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert built == ["a", "b", "c", "b"]
    assert len(cache) == 2


def test_a_plan_made_in_inference_mode_serves_training():
    view = ViewTransform(GRID, BINS)
    features, logits, *calibration = make_inputs()
    with torch.inference_mode():
        lift(view, features, logits, *calibration)
    lift(view, features, logits, *calibration).sum().backward()
    assert features.grad is not None and logits.grad is not None


def test_a_camera_that_sees_no_voxel_gives_zeros():
    features, logits, img_P_cam, cam_T_lidar, valid_px = make_inputs()
    cam_T_lidar[:, 2, 3] -= 100.0  # everything lies behind
    voxels = lift(ViewTransform(GRID, BINS), features, logits, img_P_cam, cam_T_lidar, valid_px)
    assert voxels.shape == (2, CHANNELS, 8, 32, 20) and not voxels.any()
    voxels.sum().backward()
    assert not features.grad.any()


def test_autocast_does_not_coarsen_the_lift():
    view = ViewTransform(GRID, BINS)
    inputs = make_inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        voxels = lift(view, *inputs)
    assert voxels.dtype == torch.float32
    torch.testing.assert_close(voxels, lift(view, *inputs))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_equals_cpu():
    view = ViewTransform(GRID, BINS)
    features, logits, *calibration = make_inputs()
    on_cpu = lift(view, features, logits, *calibration)
    on_cuda = lift(view, features.cuda(), logits.cuda(), *(item.cuda() for item in calibration))
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, atol=1e-5, rtol=0)
    expected = torch.autograd.grad(on_cpu.square().sum(), (features, logits))
    for ours, reference in zip(torch.autograd.grad(on_cuda.square().sum(), (features, logits)), expected):
        torch.testing.assert_close(ours, reference, atol=1e-4, rtol=1e-4)
