"""Recordings with camera and LiDAR become training data: frames chosen, labelled by teacher and assistant, kept."""
