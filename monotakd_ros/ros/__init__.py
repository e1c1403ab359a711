"""The only room that may import ROS. Empty for now: the live nodes come with a later release.

What will live here: the lifecycle detector node and the data-generation node, their parameters, tf lookup, diagnostics
and the log bridge. Reading and building messages needs no ROS and is in `data/from_msg.py` and `data/to_msg.py`.
"""
