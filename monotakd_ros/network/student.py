"""The camera detector: images and calibration in, raw head maps out, and from these to boxes.

Image in the network's own camera (`data/preprocess.py` brings it there); normalisation happens here. Boxes need nothing
of a LiDAR; only the released code's assistant branch, in training, looks at clouds.
"""

from __future__ import annotations

import torch
from torch import nn

from monotakd_ros.config import StudentConfig
from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.anchor_head import AnchorHead, DecodedBoxes
from monotakd_ros.network.bev_adaptation import BevAdaptation
from monotakd_ros.network.bev_backbone import BevBackbone
from monotakd_ros.network.detection_output import StudentOutput
from monotakd_ros.network.feature_fusion import FeatureFusionModule
from monotakd_ros.network.height_collapse import HeightCollapse
from monotakd_ros.network.image_encoder import ImageEncoder
from monotakd_ros.network.image_normalization import ImageNormalization
from monotakd_ros.network.lift_plan import LiftPlan
from monotakd_ros.network.measured_depth import cell_layout, measured_distribution
from monotakd_ros.network.residual_branch import ResidualBranch
from monotakd_ros.network.view_transform import ViewTransform


class Student(nn.Module):
    """FrameBatch -> StudentOutput; `decode` turns that into boxes.

    image -> feature f, depth distribution d -> voxels f x d -> visual map F (and, with a residual branch, its map R)
    -> F or FFM(F + R), see `ResidualConfig` -> BEV backbone -> head.

    Source: MonoTAKD (Liu et al., CVPR 2025); CaDDN (Reading et al., CVPR 2021) for the visual trunk.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        grid, bins = config.grid.build(), config.depth.build()
        features, heights, channels = config.encoder.feature_channels, grid.shape_xyz[2], config.bev.collapse_channels
        residual = config.residual
        self.fusion_mode = "off" if residual is None else residual.fusion
        self.normalization = ImageNormalization(config.input)
        self.encoder = ImageEncoder(config.encoder, bins.num_bins)
        self.view_transform = ViewTransform(grid, bins, config.lift.sampling)
        self.collapse = HeightCollapse(features, heights, channels)
        self.adaptation = BevAdaptation(channels, config.bev.adaptation_blocks)
        self.residual = residual and ResidualBranch(features, heights, channels, residual.assistant_branch)
        shared_norm = self.fusion_mode == "collapsed"
        self.fusion = None if self.fusion_mode == "off" else FeatureFusionModule(channels, shared_norm)
        self.bev_backbone = BevBackbone(channels, config.bev)
        self.head = AnchorHead(self.bev_backbone.out_channels, config.head, config.postprocess, grid)

    def forward(
        self,
        batch: FrameBatch,
        plan: LiftPlan | None = None,
        with_residual: bool = False,
        with_assistant: bool = False,
    ) -> StudentOutput:
        """Head maps of a batch.

        Args:
            batch: images and calibrations; nothing of a LiDAR is looked at for the boxes.
            plan: `lift_plan(batch)` made beforehand, so that the forward pass is tensor operations only (and compiles
                without a graph break); None makes it here.
            with_residual: also give the residual branch's map where the boxes do not need it.
            with_assistant: also give the map of the residual branch's own assistant, from the batch's clouds.

        Raises:
            FrameError: the images are not the network's; `with_assistant` and the batch carries no clouds.
        """
        images = self.normalization(batch.images, batch.valid_px)
        # Before the image network, because a plan waits for the device: calibrations come to the host.
        plan = self.lift_plan(batch) if plan is None else plan
        features, depth_logits = self.encoder(images)
        depth = torch.softmax(depth_logits.float(), dim=1)
        voxels = self.view_transform(features, depth, plan)
        collapsed = self.collapse(voxels)
        bev = self.adaptation(collapsed)
        residual_bev = None
        if self.residual is not None and (with_residual or self.fusion is not None):
            residual_bev = self.residual(voxels)
        assistant_bev = self._assistant_map(batch, features, plan) if with_assistant else None
        detected = bev
        if self.fusion is not None:
            detected = self.fusion(collapsed if self.fusion_mode == "collapsed" else bev, residual_bev)
        cls_logits, box_codes, dir_logits = self.head(self.bev_backbone(detected))
        return StudentOutput(cls_logits, box_codes, dir_logits, bev, depth, depth_logits, residual_bev, assistant_bev)

    def _assistant_map(self, batch: FrameBatch, features: torch.Tensor, plan: LiftPlan) -> torch.Tensor:
        """The released code's F^A: the student's own image feature at the mean measured depth of each cell."""
        assert self.residual is not None, "config ties the assistant branch to a residual section"
        batch.require_clouds("the student's assistant branch")
        layout = cell_layout(batch.images.shape[-2:], self.view_transform.sampling)
        depth = measured_distribution(batch.points_img, layout, self.view_transform.bins, "mean")
        return self.residual.assistant(self.view_transform(features, depth, plan))

    def lift_plan(self, batch: FrameBatch) -> LiftPlan:
        """What the lift reads for this batch's calibrations; computed on the host, cached per calibration."""
        return self.view_transform.batch_plan(batch)

    def decode(self, output: StudentOutput) -> list[DecodedBoxes]:
        """Boxes of each frame of the batch, best score first."""
        return self.head.decode_batch(output)


def build_student(config: StudentConfig) -> Student:
    """A student with random weights."""
    return Student(config)
