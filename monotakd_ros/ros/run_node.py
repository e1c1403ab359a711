"""From process start to exit code: one way for all nodes, and no traceback for anything that a user may do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from monotakd_ros.errors import MonotakdError
from monotakd_ros.ros.log import core_log_to


def run_node(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Make a node, spin it until SIGINT, SIGTERM or shutdown, and put it away.

    Args:
        make_node: called once ROS is up. The node has `start() -> bool`, called before spinning (False: give up), and
            `close()`, called whatever happened.
        args: of the command line; None takes the process's own.

    Returns:
        The exit code: 0, or 1 when the node could not start (the reason is logged).
    """
    rclpy.init(args=args)
    node: Any = None
    try:
        node = make_node()
        with core_log_to(node.get_logger()):
            return _spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except MonotakdError as error:
        logger = rclpy.logging.get_logger("monotakd_ros") if node is None else node.get_logger()
        logger.fatal(str(error))
        return 1
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def _spin(node: Any) -> int:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if not node.start():
            return 1
        executor.spin()
        return 0
    finally:
        node.close()
        executor.shutdown()


def main_of(make_node: Callable[[], Node]) -> None:
    """Run a node and leave the process with its exit code."""
    sys.exit(run_node(make_node))
