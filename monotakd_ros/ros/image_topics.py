"""Which topic a camera's images come on, and as what. No ROS."""

from __future__ import annotations

COMPRESSED = "/compressed"


def image_source(image_topic: str, transport: str) -> tuple[str, str]:
    """Topic and message type to subscribe to.

    Args:
        image_topic: resolved and remapped. One that ends in `/compressed` is meant as it is, whatever the transport: of
            image_transport's topics people name the one that they see.
        transport: "raw" or "compressed".
    """
    if transport == "compressed" or image_topic.endswith(COMPRESSED):
        return image_topic.removesuffix(COMPRESSED) + COMPRESSED, "sensor_msgs/msg/CompressedImage"
    return image_topic, "sensor_msgs/msg/Image"
