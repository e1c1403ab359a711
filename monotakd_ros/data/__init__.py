"""Sources of frames (KITTI, raw drives, bags), their writers, and preprocessing; no ROS import."""
