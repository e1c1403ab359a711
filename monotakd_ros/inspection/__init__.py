"""What a recording is worth before hours of work go into it: topics, times, transforms, and LiDAR against image."""
