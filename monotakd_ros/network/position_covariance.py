"""How sure the position of a box is: a covariance that is long along the viewing ray, narrower across, flat in height.

A camera knows the direction of an object well and its distance badly; the spread of the predicted depth
distribution on the object says how badly. Trackers need this shape, not one number.
"""

from __future__ import annotations

import torch

from monotakd_ros.geometry.depth_bins import DepthBins
from monotakd_ros.network.image_encoder import FEATURE_STRIDE

SAMPLE_SHARES = (-0.25, 0.0, 0.25)
"""Share of a box's size, from its centre, at which the depth distribution is read: 3 x 3 x 3 points."""
WINDOW_MIN_M = 2.0
WINDOW_SHARE = 0.3
NEAR_DEPTH_M = 0.1
MIN_LENGTH_M = 1e-6
"""Shorter vectors have no direction."""
MAX_OBLIQUENESS = 4.0
MIN_UP_M = 0.05
ACROSS_SHARE = 0.2
"""Share of the spread along the ray that also shows across it: what confuses the depth of a feature on the BEV map (an
occluder, a neighbour) shifts it sideways, too. Measured on simulated drives, docs/results.md."""
UNIFORM_VARIANCE = 1.0 / 12.0
"""Variance of the uniform distribution on an interval of length one."""


def position_covariance(
    distribution: torch.Tensor,
    boxes_lidar: torch.Tensor,
    img_P_cam: torch.Tensor,
    cam_T_lidar: torch.Tensor,
    valid_px: torch.Tensor,
    bins: DepthBins,
    bev_cell_m: float,
) -> torch.Tensor:
    """Covariance of the centres of one frame's boxes.

    With z the depth of a box's centre, r the unit vector from the camera's optical centre to it (lidar axes), a the
    horizontal unit vector across it, u = r x a, and t_d, w_d the centre and width of depth bin d:

        p_d       = mean over the sample points of distribution[d], for bins with |t_d - z| <= max(2 m, 0.3 z)
        q_d       = p_d + (1 - sum p) / number of such bins      mass elsewhere counts as "anywhere in the window"
        m         = sum q_d t_d
        var_z     = max(sum q_d ((t_d - m)^2 + w_d^2 / 12), w(z)^2 / 12)      w(z): width of the bin that holds z
        sigma_ray = sqrt(var_z) * min((distance to the centre) / z, 4)
        sigma_cell   = 8 px * z / f / sqrt(12)                   one feature cell, uniformly
        sigma_across = sqrt(sigma_cell^2 + bev_cell^2 / 12 + (0.2 sigma_ray)^2)
        sigma_up     = max(sigma_cell, 5 cm)
        covariance = sigma_ray^2 r r^T + sigma_across^2 a a^T + sigma_up^2 u u^T

    The sample points are a 3 x 3 x 3 lattice over the inner half of the box, projected to the nearest feature cell;
    points behind the camera or outside the image content are left out (with none left, q is uniform on the window).
    A centre nearer than the first depth bin counts as at its front edge.

    Args:
        distribution: (D + 1, Hf, Wf) depth probabilities, the last class "out of range".
        boxes_lidar: (N, 7) lidar.
        img_P_cam: (3, 4) projection of the network image.
        cam_T_lidar: (4, 4).
        valid_px: (4,) left, top, right, bottom of the image content.
        bins: the depth bins of the distribution.
        bev_cell_m: size of a cell of the BEV map, m.

    Returns:
        (N, 3, 3) float32, m^2, lidar axes; symmetric, positive definite.
    """
    boxes, projection, extrinsic = boxes_lidar.float(), img_P_cam.float(), cam_T_lidar.float()
    optical_center_cam = -torch.linalg.solve(projection[:, :3], projection[:, 3])
    centers_cam = boxes[:, :3] @ extrinsic[:3, :3].T + extrinsic[:3, 3]
    depth = centers_cam[:, 2].clamp(min=bins.min_m)
    ray_cam = centers_cam - optical_center_cam
    length = ray_cam.norm(dim=1)
    ahead = ray_cam.new_tensor([0.0, 0.0, 1.0])
    unit_cam = torch.where(length[:, None] > MIN_LENGTH_M, ray_cam / length.clamp(min=MIN_LENGTH_M)[:, None], ahead)
    ray = unit_cam @ extrinsic[:3, :3]
    distance = length.clamp(min=NEAR_DEPTH_M)

    probability = _probability_at_boxes(distribution, boxes, projection, extrinsic, valid_px)
    variance_z = _depth_variance(probability, depth, bins)
    variance_ray = variance_z * (distance / depth).clamp(max=MAX_OBLIQUENESS) ** 2
    variance_cell = UNIFORM_VARIANCE * (FEATURE_STRIDE * depth / projection[0, 0]) ** 2
    variance_across = variance_cell + UNIFORM_VARIANCE * bev_cell_m**2 + ACROSS_SHARE**2 * variance_ray
    axes = _axes_at_ray(ray)
    variances = torch.stack([variance_ray, variance_across, variance_cell.clamp(min=MIN_UP_M**2)], dim=1)
    covariance = (axes * variances[:, None]) @ axes.mT
    return 0.5 * (covariance + covariance.mT)


def _axes_at_ray(ray: torch.Tensor) -> torch.Tensor:
    """(N, 3, 3) columns r, a, u of rays (N, 3), lidar: along, across in the ground plane, and upwards from both."""
    level = torch.stack([-ray[:, 1], ray[:, 0], torch.zeros_like(ray[:, 0])], dim=1)
    length = level.norm(dim=1, keepdim=True)
    across = torch.where(
        length > MIN_LENGTH_M, level / length.clamp(min=MIN_LENGTH_M), level.new_tensor([0.0, 1.0, 0.0])
    )
    return torch.stack([ray, across, torch.linalg.cross(ray, across)], dim=2)


def _probability_at_boxes(
    distribution: torch.Tensor,
    boxes: torch.Tensor,
    img_P_cam: torch.Tensor,
    cam_T_lidar: torch.Tensor,
    valid_px: torch.Tensor,
) -> torch.Tensor:
    """(N, D) mean depth distribution over each box's sample points that are in view; zero where none is."""
    cells_per_row, rows = distribution.shape[-1], distribution.shape[-2]
    uv_px, seen = _sample_points_px(boxes, img_P_cam, cam_T_lidar, valid_px)
    u = (uv_px[..., 0] / FEATURE_STRIDE).round().clamp(0, cells_per_row - 1)
    v = (uv_px[..., 1] / FEATURE_STRIDE).round().clamp(0, rows - 1)
    cells = torch.where(seen, v * cells_per_row + u, torch.zeros_like(u)).long()  # (N, 27)
    table = distribution[:-1].float().flatten(1).T  # (Hf * Wf, D)
    weights = seen.float() / seen.sum(dim=1, keepdim=True).clamp(min=1)
    return (table[cells] * weights[..., None]).sum(dim=1)


def _sample_points_px(
    boxes: torch.Tensor, img_P_cam: torch.Tensor, cam_T_lidar: torch.Tensor, valid_px: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (N, 27, 2) of the lattice points and whether each is in view (N, 27) bool."""
    shares = torch.cartesian_prod(*[boxes.new_tensor(SAMPLE_SHARES)] * 3)  # (27, 3)
    local = boxes[:, None, 3:6] * shares
    cos, sin = torch.cos(boxes[:, 6:7]), torch.sin(boxes[:, 6:7])
    offset = torch.stack(
        [local[..., 0] * cos - local[..., 1] * sin, local[..., 0] * sin + local[..., 1] * cos, local[..., 2]], dim=-1
    )
    points_cam = (boxes[:, None, :3] + offset) @ cam_T_lidar[:3, :3].T + cam_T_lidar[:3, 3]
    homogeneous = points_cam @ img_P_cam[:, :3].T + img_P_cam[:, 3]
    uv_px = homogeneous[..., :2] / homogeneous[..., 2:].clamp(min=NEAR_DEPTH_M)
    low, high = valid_px[:2] - 0.5, valid_px[2:] - 0.5
    seen = ((uv_px >= low) & (uv_px < high)).all(dim=-1) & (homogeneous[..., 2] > NEAR_DEPTH_M)
    return uv_px, seen


def _depth_variance(probability: torch.Tensor, depth: torch.Tensor, bins: DepthBins) -> torch.Tensor:
    """(N,) m^2: var_z of `position_covariance` from (N, D) distributions and centre depths (N,)."""
    centers, widths = bins.centers().to(depth), bins.edges().diff().to(depth)
    own_bin = bins.bin_index(depth.clamp(bins.min_m, bins.max_m)).clamp(max=bins.num_bins - 1)
    half_window = (WINDOW_SHARE * depth).clamp(min=WINDOW_MIN_M)
    window = (centers - depth[:, None]).abs() <= half_window[:, None]
    window[torch.arange(len(depth), device=depth.device), own_bin] = True
    inside = probability * window
    elsewhere = (1 - inside.sum(dim=1, keepdim=True)).clamp(min=0)
    q = inside + elsewhere * window / window.sum(dim=1, keepdim=True)
    mean = (q * centers).sum(dim=1, keepdim=True)
    spread = (q * ((centers - mean) ** 2 + UNIFORM_VARIANCE * widths**2)).sum(dim=1)
    return torch.maximum(spread, UNIFORM_VARIANCE * widths[own_bin] ** 2)
