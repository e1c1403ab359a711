"""A recording through the detector: boxes to a bag, pictures, and a summary. Runs without ROS."""
