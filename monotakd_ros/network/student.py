"""The camera detector: images and calibration in, raw head maps out, and from these to boxes.

Image in the network's own camera (`data/preprocess.py` brings it there); normalisation happens here. No argument
comes from a LiDAR.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from monotakd_ros.config import InputConfig, StudentConfig
from monotakd_ros.frame import FrameBatch
from monotakd_ros.network.anchor_head import AnchorHead, DecodedBoxes
from monotakd_ros.network.bev_backbone import BevBackbone
from monotakd_ros.network.height_collapse import HeightCollapse
from monotakd_ros.network.image_encoder import ImageEncoder
from monotakd_ros.network.view_transform import ViewTransform


@dataclass(frozen=True, eq=False)
class StudentOutput:
    """What the student computes for a batch.

    Attributes:
        cls_logits: (B, A, K), anchors flattened as (y, x, class, rotation).
        box_codes: (B, A, 7) residuals to the anchors.
        dir_logits: (B, A, 2).
        depth_logits: (B, D + 1, Hf, Wf), the last class "out of range".
        bev: (B, C, Y, X) the student's visual BEV feature, after the height collapse.
    """

    cls_logits: torch.Tensor
    box_codes: torch.Tensor
    dir_logits: torch.Tensor
    depth_logits: torch.Tensor
    bev: torch.Tensor


class ImageNormalization(nn.Module):
    """uint8 RGB (B, 3, H, W) -> float32, zero mean and unit deviation; 0 outside the image content.

    Mean and deviation are settings, not weights: they live in the config and stay out of the state dict.
    """

    def __init__(self, config: InputConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor, valid_px: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.uint8, f"expected uint8 images, got {images.dtype}"
        normalized = (images.float() / 255.0 - self.mean) / self.std
        height, width = images.shape[-2:]
        left, top, right, bottom = (edge[:, None] for edge in valid_px.unbind(dim=1))
        columns = torch.arange(width, device=images.device)
        rows = torch.arange(height, device=images.device)
        valid_columns, valid_rows = (columns >= left) & (columns < right), (rows >= top) & (rows < bottom)
        valid = valid_rows[:, None, :, None] & valid_columns[:, None, None, :]  # (B, 1, H, W)
        return torch.where(valid, normalized, torch.zeros_like(normalized))


class Student(nn.Module):
    """FrameBatch -> StudentOutput; `decode` turns that into boxes.

    Source: MonoTAKD (Liu et al., CVPR 2025), the visual branch; CaDDN (Reading et al., CVPR 2021).
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        grid, bins = config.grid.build(), config.depth.build()
        self.normalization = ImageNormalization(config.input)
        self.encoder = ImageEncoder(config.encoder, bins.num_bins)
        self.view_transform = ViewTransform(grid, bins, config.lift.sampling)
        self.collapse = HeightCollapse(config.encoder.feature_channels, grid.shape_xyz[2], config.bev.collapse_channels)
        self.bev_backbone = BevBackbone(config.bev.collapse_channels, config.bev)
        self.head = AnchorHead(self.bev_backbone.out_channels, config.head, config.postprocess, grid)

    def forward(self, batch: FrameBatch) -> StudentOutput:
        images = self.normalization(batch.images, batch.valid_px)
        features, depth_logits = self.encoder(images)
        voxels = self.view_transform(features, depth_logits, batch.img_P_cam, batch.cam_T_lidar, batch.valid_px)
        bev = self.collapse(voxels)
        cls_logits, box_codes, dir_logits = self.head(self.bev_backbone(bev))
        return StudentOutput(cls_logits, box_codes, dir_logits, depth_logits, bev)

    def decode(self, output: StudentOutput) -> list[DecodedBoxes]:
        """Boxes of each frame of the batch, best score first."""
        maps = zip(output.cls_logits, output.box_codes, output.dir_logits)
        return [self.head.decode(*frame) for frame in maps]


def build_student(config: StudentConfig) -> Student:
    """A student with random weights."""
    return Student(config)
