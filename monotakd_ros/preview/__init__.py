"""A generated set, or any source, to look at: pictures, a bag for RViz and Foxglove, a window."""
