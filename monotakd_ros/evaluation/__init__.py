"""Boxes in, numbers out: KITTI average precision. Knows no network."""
