"""tf2 lookups as (4, 4) arrays, at a message's own time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.time import Time

from monotakd_ros.data.from_msg import transform_from_msg
from monotakd_ros.errors import CalibrationError
from monotakd_ros.ros.optional import ros_module

POLL_S = 0.005


class TransformError(CalibrationError):
    """tf does not connect two frames at a time."""


class TransformLookup:
    """Listens to tf. Lookups may wait: call them from a thread that does not spin the node.

    Args:
        node: its executor feeds the listener.
        timeout_s: how long a lookup waits for tf to arrive.

    Raises:
        MissingDependencyError: tf2_ros is not installed.
    """

    def __init__(self, node: Node, timeout_s: float) -> None:
        self._tf2 = ros_module("tf2_ros", "output_frame and lidar_frame", "leave both empty")
        self._node, self._timeout_s = node, timeout_s
        self._buffer = self._tf2.Buffer(node=node)
        self._listener = self._tf2.TransformListener(self._buffer, node, spin_thread=False)

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """target_T_source (4, 4) at `stamp_ns`; the identity where both are the same frame.

        Raises:
            TransformError: not connected then, even after waiting.
        """
        if target == source:
            return np.eye(4)
        stamp = Time(nanoseconds=stamp_ns)
        self._wait(target, source, stamp)
        try:
            found: Any = self._buffer.lookup_transform(target, source, stamp)
        except self._tf2.TransformException as error:
            raise TransformError(f"tf from {source!r} to {target!r} at {stamp_ns} ns: {error}") from error
        return transform_from_msg(found).parent_T_child

    def clear(self) -> None:
        """Forget everything that was heard, static transforms excepted: time has jumped."""
        self._buffer.clear()

    def close(self) -> None:
        """Stop listening, and give back what the buffer never does."""
        self._listener.unregister()
        # The node's clock would call a handle that is gone.
        if (jumps := getattr(self._buffer, "jump_handle", None)) is not None:
            jumps.unregister()
        if (frames := getattr(self._buffer, "srv", None)) is not None:
            self._node.destroy_service(frames)

    def _wait(self, target: str, source: str, stamp: Time) -> None:
        # By the wall clock: the node's own may stand still (a paused bag), and a lookup must end.
        deadline = time.monotonic() + self._timeout_s
        while not self._buffer.can_transform(target, source, stamp) and time.monotonic() < deadline:
            time.sleep(POLL_S)
