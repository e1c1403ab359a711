"""DeepLabV3 on a dilated ResNet: image in, image feature and depth logits out.

Stages 3 and 4 are dilated instead of strided, so features and logits have stride 8 and cell i is centred on
pixel 8 i. Module names inside follow torchvision (`conv1`, `layer1.0.conv1`, `classifier.0.convs.0.0`, ...), so that
the keys of published weights differ by a prefix only. Image normalisation is not here but in `student`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from monotakd_ros.config import EncoderConfig
from monotakd_ros.network.norm import PooledBatchNorm2d

FEATURE_STRIDE = 8
BOTTLENECK_RATIO = 4
STAGE_STRIDES = (1, 2, 1, 1)
STAGE_DILATIONS = ((1, 1), (1, 1), (1, 2), (2, 4))
"""(first block, other blocks): a dilated stage's first block keeps the dilation of the stage before."""


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A bias-free 3x3 convolution that keeps the size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (B, in, H, W) -> (B, out, H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride, dilation)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, 1, dilation)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)) + shortcut, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries stride and dilation) and 1x1 convolution at a quarter of the width, and a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        width = out_channels // BOTTLENECK_RATIO
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        return F.relu(self.bn3(self.conv3(out)) + shortcut, inplace=True)


BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(nn.Module):
    """The dilated trunk: images (B, 3, H, W) -> the outputs of `feature_stage` and of the last of `stages` stages.

    The first stage has stride 4, the others 8. Outputs that nobody needs are not kept.
    """

    def __init__(self, config: EncoderConfig, stages: int = 4) -> None:
        super().__init__()
        block, stem, channels = BLOCKS[config.block], config.stem_channels, config.channels
        self.stages, self.feature_stage = stages, config.feature_stage
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        for index, (count, out_channels) in enumerate(zip(config.layers[:stages], channels)):
            in_channels = stem if index == 0 else channels[index - 1]
            first, others = STAGE_DILATIONS[index]
            blocks = [block(in_channels, out_channels, STAGE_STRIDES[index], first)]
            blocks += [block(out_channels, out_channels, 1, others) for _ in range(count - 1)]
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        feature = x
        for number in range(1, self.stages + 1):
            x = getattr(self, f"layer{number}")(x)
            feature = x if number <= self.feature_stage else feature
        return feature, x


class ImagePooling(nn.Sequential):
    """The whole image's mean, through a 1x1 convolution, spread back over (B, C, Hf, Wf)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            PooledBatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).expand(-1, -1, *x.shape[-2:])


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: (B, in, Hf, Wf) -> (B, out, Hf, Wf)."""

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int], dropout: float) -> None:
        super().__init__()
        branches: list[nn.Module] = [_conv_norm_relu(nn.Conv2d(in_channels, out_channels, 1, bias=False))]
        branches += [_conv_norm_relu(conv3x3(in_channels, out_channels, dilation=rate)) for rate in rates]
        branches.append(ImagePooling(in_channels, out_channels))
        self.convs = nn.ModuleList(branches)
        self.project = _conv_norm_relu(nn.Conv2d(len(branches) * out_channels, out_channels, 1, bias=False))
        self.project.append(nn.Dropout(dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(torch.cat([branch(x) for branch in self.convs], dim=1))


def _conv_norm_relu(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True))


class ChannelReduction(nn.Module):
    """1x1 convolution, norm, ReLU: the channels that are lifted into 3D."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class FeatureEncoder(nn.Module):
    """Normalised images (B, 3, H, W) -> feature (B, C, Hf, Wf): `ImageEncoder` without the depth head.

    The ResNet ends at the stage that the feature comes from.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.backbone = ResNet(config, config.feature_stage)
        self.channel_reduce = ChannelReduction(config.channels[config.feature_stage - 1], config.feature_channels)
        self.apply(_init_conv)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.channel_reduce(self.backbone(images)[-1])


class ImageEncoder(nn.Module):
    """Normalised images (B, 3, H, W) -> feature (B, C, Hf, Wf) and depth logits (B, D + 1, Hf, Wf).

    Hf = ceil(H / 8), Wf = ceil(W / 8). The last logit is the class "out of range".

    Source: CaDDN (Reading et al., CVPR 2021), sec. 3.1; DeepLabV3 (Chen et al., 2017).
    """

    def __init__(self, config: EncoderConfig, num_bins: int) -> None:
        super().__init__()
        width = config.aspp_channels
        self.backbone = ResNet(config)
        self.classifier = nn.Sequential(
            AtrousPyramid(config.channels[-1], width, config.aspp_rates, config.dropout),
            conv3x3(width, width),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, num_bins + 1, 1),
        )
        self.channel_reduce = ChannelReduction(config.channels[config.feature_stage - 1], config.feature_channels)
        self.apply(_init_conv)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        feature, last = self.backbone(images)
        return self.channel_reduce(feature), self.classifier(last)


def _init_conv(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
