"""From process start to exit code: one way for all nodes, and no traceback for anything that a user may do."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from monotakd_ros.errors import MonotakdError
from monotakd_ros.ros.log import core_log_to
from monotakd_ros.ros.throttle import Throttle

LOOK_UP_S = 0.2
"""How long a signal may wait for its turn."""


STOPPING = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """SIGINT or SIGTERM came while something was under way that may be left as it is."""


class StopFlag:
    """Whether somebody asked the process to end."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self, *_: Any) -> None:
        """Ask; takes a signal handler's arguments."""
        self.is_set = True


def run_node(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Make a node, spin it until SIGINT, SIGTERM, shutdown or its own end, and put it away.

    Args:
        make_node: called once ROS is up. The node has `start() -> bool`, called before spinning (False: give up), and
            `close()`, called whatever happened, while it can still publish. `is_done`, where it has it, ends it.
        args: of the command line; None takes the process's own.

    Returns:
        The exit code: 0, or 1 when the node could not start (the reason is logged), or its `exit_code`.
    """
    with signals_as_flag() as stop:
        return _run(make_node, args, stop)


def _run(make_node: Callable[[], Node], args: Sequence[str] | None, stop: StopFlag) -> int:
    node: Any = None
    try:
        # rclpy's own handlers would end the context before the node can say good-bye.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
        with core_log_to(node.get_logger()):
            return _spin(node, stop)
    except (ExternalShutdownException, Interrupted):
        return 0
    except Exception as error:
        if not _is_users(error):
            raise
        logger = get_logger("monotakd_ros") if node is None else node.get_logger()
        logger.fatal(str(error))
        return 1
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def _is_users(error: Exception) -> bool:
    """Whether a user can mend it: an error of ours, or what rclpy says to arguments that it cannot read."""
    return isinstance(error, MonotakdError) or type(error).__module__.startswith("rclpy")


@contextmanager
def signals_as_flag() -> Iterator[StopFlag]:
    """While inside, SIGINT and SIGTERM, however often they come, set a flag and nothing else."""
    stop = StopFlag()
    before = {number: signal.signal(number, stop.set) for number in STOPPING}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """While inside, SIGINT and SIGTERM also raise `Interrupted`: for what takes long, such as loading a network.

    In another thread than the main one it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPPING}

    def leave(number: int, frame: Any) -> None:
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        raise Interrupted

    try:
        for number in STOPPING:
            signal.signal(number, leave)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _spin(node: Any, stop: StopFlag) -> int:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    throttle = Throttle()
    try:
        if not stop.is_set and not node.start():
            return 1
        while not stop.is_set and not getattr(node, "is_done", False):
            _spin_once(executor, node, throttle)
        return int(getattr(node, "exit_code", 0))
    finally:
        node.close()
        executor.shutdown()


def _spin_once(executor: SingleThreadedExecutor, node: Node, throttle: Throttle) -> None:
    """One callback; one that fails, or a request that rclpy cannot read, is told and takes no other with it."""
    try:
        executor.spin_once(timeout_sec=LOOK_UP_S)
    except (MonotakdError, ExternalShutdownException):
        raise
    except Exception:
        if not rclpy.ok():
            raise
        if throttle.lets_through("callback"):
            node.get_logger().error(f"a callback failed:\n{traceback.format_exc()}")


def main_of(make_node: Callable[[], Node]) -> None:
    """Run a node and leave the process with its exit code."""
    code = run_node(make_node)
    # A terminal and `ros2 launch` may both pass one Ctrl-C on; the second meets the interpreter at its end.
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)
