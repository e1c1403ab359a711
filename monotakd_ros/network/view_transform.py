"""The lift: image feature and depth distribution to voxels, without the frustum volume.

The frustum volume is the outer product V[c, d, v, u] = p[d, v, u] f[c, v, u], sampled trilinearly at each voxel's
projection (u, v, b). Because it is an outer product, the sample is a weighted sum of four columns of f, the weights
being bilinear weight x depth probability interpolated between two bins at that corner. Where and with which weights
to read depends on the calibration only and is kept in a `LiftPlan`; weights and sum are per frame.
"""

from __future__ import annotations

import torch
from torch import nn

from monotakd_ros.config import Sampling
from monotakd_ros.frame import FrameBatch
from monotakd_ros.geometry.depth_bins import DepthBins
from monotakd_ros.geometry.grid import VoxelGrid
from monotakd_ros.network.image_encoder import FEATURE_STRIDE
from monotakd_ros.network.lift_plan import LiftPlan, LiftPlanCache, batch_plan, make_plan
from monotakd_ros.network.weighted_sum import weighted_sum

MIN_SCALE = 1e-8


class ViewTransform(nn.Module):
    """Feature (B, C, Hf, Wf) and depth distribution (B, D + 1, Hf, Wf) -> voxels (B, C, Z, Y, X) float32.

    Computed in float32 whatever autocast says. In memory the result is (B, Y, X, Z, C).

    Args:
        grid: voxels in the lidar frame.
        bins: depth bins, along z of the camera frame.
        sampling: `exact` reads where a voxel's centre projects: cell i is centred on pixel 8 i, bin k on index
            k + 0.5. `official` repeats the published code: pixel / (image size - 1) and bin / (D - 1), sampled as by
            `grid_sample(align_corners=False)`, the image size being the largest of the batch.

    Source: CaDDN (Reading et al., CVPR 2021), sec. 3.1 "frustum to voxel transformation".
    """

    def __init__(self, grid: VoxelGrid, bins: DepthBins, sampling: Sampling = "exact") -> None:
        super().__init__()
        self.grid, self.bins, self.sampling = grid, bins, sampling
        self.plans = LiftPlanCache()

    def forward(self, features: torch.Tensor, depth: torch.Tensor, plan: LiftPlan) -> torch.Tensor:
        """Lift a batch.

        Args:
            features: (B, C, Hf, Wf).
            depth: (B, D + 1, Hf, Wf) probabilities; the last class "out of range" is not lifted.
            plan: of the batch's calibrations, see `batch_plan`.
        """
        with torch.autocast(features.device.type, enabled=False):
            rows = features.float().permute(0, 2, 3, 1).flatten(0, 2).contiguous()  # (B * Hf * Wf, C)
            by_cell = depth.float().permute(0, 2, 3, 1).reshape(-1)  # (B * Hf * Wf * (D + 1),)
            voxels = weighted_sum(rows, _entry_weights(plan, by_cell), plan)
        x, y, z = self.grid.shape_xyz
        return voxels.unflatten(0, (len(features), y, x, z)).permute(0, 4, 3, 1, 2)

    def batch_plan(self, batch: FrameBatch) -> LiftPlan:
        """The plan of a batch's calibrations, from the cache where they are known; made on the host."""
        height, width = batch.images.shape[-2:]
        shape = (self.bins.num_bins, -(-height // FEATURE_STRIDE), -(-width // FEATURE_STRIDE))
        right, bottom = batch.valid_px[:, 2:].amax(dim=0).tolist()
        calibrations = zip(batch.img_P_cam.cpu(), batch.cam_T_lidar.cpu())
        device = batch.images.device
        return batch_plan([self.plan(*calibration, (right, bottom), shape, device) for calibration in calibrations])

    def plan(
        self,
        img_P_cam: torch.Tensor,
        cam_T_lidar: torch.Tensor,
        image_size: tuple[float, float],
        shape: tuple[int, int, int],
        device: torch.device,
    ) -> LiftPlan:
        """The plan of one calibration, from the cache where it is known.

        Args:
            img_P_cam: (3, 4) on the CPU.
            cam_T_lidar: (4, 4) on the CPU.
            image_size: (width, height) px, which `official` sampling normalises by.
            shape: (D, Hf, Wf).
            device: where the plan lives.
        """

        def make() -> LiftPlan:
            # A plan first made in inference mode (validation) must also serve training.
            with torch.inference_mode(False), torch.no_grad():
                coordinates = self.coordinates(img_P_cam.to(device), cam_T_lidar.to(device), image_size, shape)
                return make_plan(coordinates, shape)

        size_matters = image_size if self.sampling == "official" else None
        key = (img_P_cam.numpy().tobytes(), cam_T_lidar.numpy().tobytes(), size_matters, shape, str(device))
        return self.plans.get(key, make)

    def coordinates(
        self,
        img_P_cam: torch.Tensor,
        cam_T_lidar: torch.Tensor,
        image_size: tuple[float, float],
        shape: tuple[int, int, int],
    ) -> torch.Tensor:
        """Where each voxel reads: (Y * X * Z, 3) float64 continuous u, v, bin index; not finite = nowhere."""
        u, v, b = self._project(img_P_cam.double(), cam_T_lidar.double()).unbind(dim=1)
        if self.sampling == "exact":
            return torch.stack([u / FEATURE_STRIDE, v / FEATURE_STRIDE, b - 0.5], dim=1)
        num_bins, height, width = shape
        u = u / (image_size[0] - 1) * width - 0.5
        v = v / (image_size[1] - 1) * height - 0.5
        return torch.stack([u, v, b / (num_bins - 1) * num_bins - 0.5], dim=1)

    def _project(self, img_P_cam: torch.Tensor, cam_T_lidar: torch.Tensor) -> torch.Tensor:
        """(Y * X * Z, 3) float64: pixel u, v and continuous bin of the voxel centres; NaN bin in front of the range."""
        centers = self.grid.centers().permute(1, 2, 0, 3).reshape(-1, 3).to(img_P_cam)
        centers_cam = centers @ cam_T_lidar[:3, :3].T + cam_T_lidar[:3, 3]
        homogeneous = centers_cam @ img_P_cam[:, :3].T + img_P_cam[:, 3]
        depth = homogeneous[:, 2] - img_P_cam[2, 3]
        uv_px = homogeneous[:, :2] / homogeneous[:, 2:].clamp(min=MIN_SCALE)
        return torch.cat([uv_px, self.bins.continuous_index(depth)[:, None]], dim=1)


def _entry_weights(plan: LiftPlan, depth: torch.Tensor) -> torch.Tensor:
    """(K,) bilinear weight x interpolated depth probability, from the distribution (B * Hf * Wf * (D + 1),)."""
    return depth.index_select(0, plan.bins) * plan.near_weight + depth.index_select(0, plan.bins + 1) * plan.far_weight
