"""Boxes in, numbers out: KITTI AP and its noise, errors, calibration, nuScenes' metrics. Knows no network."""
