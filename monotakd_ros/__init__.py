"""Monocular 3D detection for ROS 2, taught by LiDAR (MonoTAKD, CVPR 2025, arXiv 2404.04910)."""

__version__ = "0.1.0"
