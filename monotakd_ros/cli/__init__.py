"""The `monotakd` command: one file per verb. The only room that prints; it never imports ROS."""
