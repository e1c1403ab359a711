"""The 2D convolutional backbone on the BEV map; key names follow OpenPCDet's `BaseBEVBackbone`."""

from __future__ import annotations

import torch
from torch import nn

from monotakd_ros.config import BevConfig

NORM_EPS = 1e-3
NORM_MOMENTUM = 0.01


class BevBackbone(nn.Module):
    """BEV map (B, in, Y, X) -> (B, sum of upsample_channels, Y, X).

    Each stage is a strided convolution and `stage_layers` more; every stage's output is brought back to (Y, X) and
    all are concatenated. Where Y or X is no multiple of a stage's stride, its output is cropped.

    Source: SECOND (Yan et al., Sensors 2018), sec. 3.1.3.
    """

    def __init__(self, in_channels: int, config: BevConfig) -> None:
        super().__init__()
        self.blocks, self.deblocks = nn.ModuleList(), nn.ModuleList()
        stride_so_far = 1
        stages = zip(config.stage_layers, config.stage_strides, config.stage_channels, config.upsample_channels)
        for layers, stride, channels, upsampled in stages:
            stride_so_far *= stride
            self.blocks.append(_stage(in_channels, channels, stride, layers))
            self.deblocks.append(_upsample(channels, upsampled, stride_so_far))
            in_channels = channels
        self.out_channels = sum(config.upsample_channels)

    def forward(self, bev: torch.Tensor) -> torch.Tensor:
        rows, columns = bev.shape[-2:]
        outputs = []
        for block, deblock in zip(self.blocks, self.deblocks):
            bev = block(bev)
            outputs.append(deblock(bev)[..., :rows, :columns])
        return torch.cat(outputs, dim=1)


def _stage(in_channels: int, channels: int, stride: int, layers: int) -> nn.Sequential:
    # The explicit padding layer keeps the key numbering of published weights.
    modules: list[nn.Module] = [nn.ZeroPad2d(1), nn.Conv2d(in_channels, channels, 3, stride, bias=False)]
    modules += _norm_relu(channels)
    for _ in range(layers):
        modules += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), *_norm_relu(channels)]
    return nn.Sequential(*modules)


def _upsample(channels: int, out_channels: int, stride: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(channels, out_channels, stride, stride, bias=False)
    return nn.Sequential(conv, *_norm_relu(out_channels))


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels, eps=NORM_EPS, momentum=NORM_MOMENTUM), nn.ReLU(inplace=True)]
