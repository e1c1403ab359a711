"""The teaching assistant: the student's trunk, lifted with the depth that a LiDAR measured."""

from __future__ import annotations

import torch
from torch import nn

from monotakd_ros.config import AssistantConfig, StudentConfig
from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.anchor_head import AnchorHead, DecodedBoxes
from monotakd_ros.network.bev_adaptation import BevAdaptation
from monotakd_ros.network.bev_backbone import BevBackbone
from monotakd_ros.network.detection_output import DetectionOutput
from monotakd_ros.network.height_collapse import HeightCollapse
from monotakd_ros.network.image_encoder import FeatureEncoder
from monotakd_ros.network.image_normalization import ImageNormalization
from monotakd_ros.network.lift_plan import LiftPlan
from monotakd_ros.network.measured_depth import cell_layout, measured_distribution
from monotakd_ros.network.view_transform import ViewTransform


class Assistant(nn.Module):
    """FrameBatch with clouds -> DetectionOutput; `decode` turns that into boxes.

    Every feature cell is lifted to the one depth bin that the LiDAR measured there; cells without a measurement are
    not lifted. There is no depth head, and the image network ends at the stage that the feature comes from.

    Source: MonoTAKD (Liu et al., CVPR 2025), teaching assistant.
    """

    def __init__(self, config: StudentConfig, assistant: AssistantConfig) -> None:
        super().__init__()
        self.config = config
        self.cell_depth = assistant.cell_depth
        grid, channels = config.grid.build(), config.bev.collapse_channels
        self.normalization = ImageNormalization(config.input)
        self.encoder = FeatureEncoder(config.encoder)
        self.view_transform = ViewTransform(grid, config.depth.build(), config.lift.sampling)
        self.collapse = HeightCollapse(config.encoder.feature_channels, grid.shape_xyz[2], channels)
        self.adaptation = BevAdaptation(channels, config.bev.adaptation_blocks)
        self.bev_backbone = BevBackbone(channels, config.bev)
        self.head = AnchorHead(self.bev_backbone.out_channels, config.head, config.postprocess, grid)

    def forward(self, batch: FrameBatch, plan: LiftPlan | None = None) -> DetectionOutput:
        """Head maps of a batch; a frame whose cloud is empty is lifted nowhere.

        Args:
            batch: images, calibrations and `points_img`.
            plan: `lift_plan(batch)` made beforehand; None makes it here.

        Raises:
            FrameError: the images are not the network's, or the batch carries no clouds.
        """
        depth = self.measured_depth(batch)
        images = self.normalization(batch.images, batch.valid_px)
        # Before the image network, because a plan waits for the device: calibrations come to the host.
        plan = self.lift_plan(batch) if plan is None else plan
        voxels = self.view_transform(self.encoder(images), depth, plan)
        bev = self.adaptation(self.collapse(voxels))
        return DetectionOutput(*self.head(self.bev_backbone(bev)), bev, depth)

    def measured_depth(self, batch: FrameBatch) -> torch.Tensor:
        """Depth distribution (B, D + 1, Hf, Wf) of the clouds, one-hot."""
        batch.require_clouds("the assistant")
        layout = cell_layout(batch.images.shape[-2:], self.view_transform.sampling)
        return measured_distribution(batch.points_img, layout, self.view_transform.bins, self.cell_depth)

    def lift_plan(self, batch: FrameBatch) -> LiftPlan:
        """What the lift reads for this batch's calibrations; computed on the host, cached per calibration."""
        return self.view_transform.batch_plan(batch)

    def decode(self, output: DetectionOutput) -> list[DecodedBoxes]:
        """Boxes of each frame of the batch, best score first."""
        return self.head.decode_batch(output)


def build_assistant(config: StudentConfig, assistant: AssistantConfig) -> Assistant:
    """An assistant with random weights."""
    return Assistant(config, assistant)
