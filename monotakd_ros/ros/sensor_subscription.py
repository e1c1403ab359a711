"""How the nodes subscribe to sensors: best effort, with a QoS that users may change and are told of where it fails."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions

from monotakd_ros.errors import ConfigError
from monotakd_ros.ros.optional import ros_message_types

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

OVERRIDABLE = QoSOverridingOptions(
    (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
)


def subscribe_to_sensor(
    node: Node, message: str, name: str, callback: Callable[[Any], None], on_problem: Callable[[str], None]
) -> Any:
    """Subscribe to a topic.

    Args:
        node: whose subscription it is.
        message: its type, e.g. "sensor_msgs/msg/Image".
        name: of the topic as users remap it; a resolved one would be remapped twice.
        callback: takes each message.
        on_problem: takes what keeps messages from coming, in words; it is logged, too.

    Raises:
        ConfigError: a QoS override of the topic is not valid.
    """
    topic = node.resolve_topic_name(name)

    def incompatible(event: Any) -> None:
        policy = str(QoSPolicyKind(event.last_policy_kind).name).lower()
        text = (
            f"a publisher of {topic} offers another QoS than is asked for ({policy}): nothing comes from it; set "
            f"qos_overrides.{topic}.subscription.{policy}"
        )
        on_problem(text)
        node.get_logger().error(text)

    kind, events = ros_message_types(message), SubscriptionEventCallbacks(incompatible_qos=incompatible)
    qos = copy.copy(qos_profile_sensor_data)  # rclpy writes overrides into it, and all share that one
    try:
        return node.create_subscription(
            kind, name, callback, qos, event_callbacks=events, qos_overriding_options=OVERRIDABLE
        )
    except Exception as error:  # rclpy and DDS have many kinds for a QoS that cannot be
        raise ConfigError(f"subscription of {topic}: are its qos_overrides valid? {error}") from error
