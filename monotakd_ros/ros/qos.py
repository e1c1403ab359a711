"""Qualities of service that several publishers share: each gets an object of its own.

rclpy writes the overrides of a topic into the profile that it is given, so a shared one would carry them to all.
"""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile


def latched() -> QoSProfile:
    """For who comes late, such as RViz that is started between two messages: the last one is kept for it."""
    return QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
