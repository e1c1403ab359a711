"""The LiDAR teacher: clouds to BEV feature and boxes (SECOND with the residual sparse encoder)."""

from __future__ import annotations

from torch import nn

from monotakd_ros.config import TeacherConfig
from monotakd_ros.errors import FrameError
from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.anchor_head import AnchorHead, DecodedBoxes
from monotakd_ros.network.bev_backbone import BevBackbone
from monotakd_ros.network.detection_output import DetectionOutput
from monotakd_ros.network.lidar_encoder import LidarEncoder
from monotakd_ros.network.voxelization import POINT_FEATURES, voxelize


class Teacher(nn.Module):
    """FrameBatch -> DetectionOutput; `decode` turns that into boxes. Of the batch only the clouds are read.

    Source: SECOND (Yan et al., Sensors 2018); MonoTAKD (Liu et al., CVPR 2025), the teacher.
    """

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        self.grid = config.grid.build()
        self.lidar_encoder = LidarEncoder(config.encoder, POINT_FEATURES)
        self.bev_backbone = BevBackbone(config.bev.collapse_channels, config.bev)
        self.head = AnchorHead(self.bev_backbone.out_channels, config.head, config.postprocess, config.bev_grid)

    def forward(self, batch: FrameBatch) -> DetectionOutput:
        """Raises FrameError: a frame has no cloud, or one that is not (M, 4). An empty cloud (0, 4) is one."""
        _require_clouds(batch)
        voxels = voxelize(batch.points_lidar, self.grid, self.config.max_points_per_voxel, self.config.max_voxels)
        bev = self.lidar_encoder(voxels)
        return DetectionOutput(*self.head(self.bev_backbone(bev)), bev, depth=None)

    def decode(self, output: DetectionOutput) -> list[DecodedBoxes]:
        """Boxes of each frame of the batch, best score first."""
        return self.head.decode_batch(output)


def _require_clouds(batch: FrameBatch) -> None:
    batch.require_clouds("the teacher")
    for cloud, name in zip(batch.points_lidar, batch.names):
        if cloud.ndim != 2 or cloud.shape[1] != POINT_FEATURES:
            raise FrameError(f"frame {name}: expected a cloud of (M, {POINT_FEATURES}), got {tuple(cloud.shape)}")


def build_teacher(config: TeacherConfig) -> Teacher:
    """A teacher with random weights."""
    return Teacher(config)
