"""From bytes to what the image encoder takes."""

from __future__ import annotations

import torch
from torch import nn

from monotakd_ros.config import InputConfig
from monotakd_ros.errors import FrameError


class ImageNormalization(nn.Module):
    """uint8 RGB (B, 3, H, W) -> float32, zero mean and unit deviation; 0 outside the image content.

    Mean and deviation are settings, not weights: they live in the config and stay out of the state dict.
    """

    def __init__(self, config: InputConfig) -> None:
        super().__init__()
        self.size = None if config.focal_px is None else (config.height, config.width)
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor, valid_px: torch.Tensor) -> torch.Tensor:
        """Normalise a batch.

        Args:
            images: (B, 3, H, W) uint8 RGB; of a network with a camera of its own (`focal_px`) exactly its size.
            valid_px: (B, 4) left, top, right, bottom (exclusive) of the image content.

        Raises:
            FrameError: another type, channel order or size.
        """
        self._check(images)
        normalized = (images.float() / 255.0 - self.mean) / self.std
        height, width = images.shape[-2:]
        left, top, right, bottom = (edge[:, None] for edge in valid_px.unbind(dim=1))
        columns = torch.arange(width, device=images.device)
        rows = torch.arange(height, device=images.device)
        valid_columns, valid_rows = (columns >= left) & (columns < right), (rows >= top) & (rows < bottom)
        valid = valid_rows[:, None, :, None] & valid_columns[:, None, None, :]  # (B, 1, H, W)
        return torch.where(valid, normalized, torch.zeros_like(normalized))

    def _check(self, images: torch.Tensor) -> None:
        expected = "(B, 3, H, W)" if self.size is None else f"(B, 3, {self.size[0]}, {self.size[1]})"
        fits = images.dim() == 4 and images.shape[1] == 3 and self.size in (None, tuple(images.shape[2:]))
        if images.dtype != torch.uint8 or not fits:
            raise FrameError(
                f"expected uint8 RGB images of shape {expected}, got {images.dtype} {tuple(images.shape)}; "
                "data.preprocess.prepare and collate make them"
            )
