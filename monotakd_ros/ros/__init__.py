"""The only room that may import ROS: nodes, their parameters, tf, diagnostics, the log bridge.

Reading and building messages needs no ROS and is in `data/from_msg.py` and `data/to_msg.py`; modules here
that need none (settings, the worker, counts) import none, so that their tests run anywhere.
"""
