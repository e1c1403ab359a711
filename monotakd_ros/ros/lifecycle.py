"""A mend for rclpy's lifecycle nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode


def answer_illegal_transitions(node: LifecycleNode) -> None:
    """Answer a request for a transition that the node's state does not allow, with `success` false.

    rclpy raises in the callback of the service instead, and whoever asked waits for ever.
    """

    def wrap(change_state: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def answered(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except Exception as error:  # rclpy's class for it is private
                asked = request.transition.label or request.transition.id
                node.get_logger().warning(f"transition {asked} is refused: {error}")
                response.success = False
                return response

        return answered

    for service in node.services:
        if service.srv_type is ChangeState:
            service.callback = wrap(service.callback)
