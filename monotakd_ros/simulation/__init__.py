"""A small drivable world, ray-cast headless: camera images, LiDAR clouds and exact 3D labels from a seed."""
