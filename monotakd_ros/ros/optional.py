"""Parts of ROS that some installations lack, imported where they are used, with an error that says what to install."""

from __future__ import annotations

import functools
import importlib
import os
from types import ModuleType
from typing import Any

from monotakd_ros.errors import MissingDependencyError

IN_PACKAGE = {"tf2_ros": "tf2_ros_py"}
"""Packages of modules that are called otherwise."""


def ros_module(name: str, needed_for: str, otherwise: str) -> ModuleType:
    """Import a part of ROS.

    Args:
        name: module, e.g. "tf2_ros" or "vision_msgs.msg".
        needed_for: what asks for it, e.g. "publish_detections".
        otherwise: what works without it.

    Raises:
        MissingDependencyError: it is not installed, or does not load; says what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        apt_package = IN_PACKAGE.get(package, package).replace("_", "-")
        apt_name = f"ros-{os.environ.get('ROS_DISTRO', '$ROS_DISTRO')}-{apt_package}"
        raise MissingDependencyError(
            f"{needed_for} needs {package}, which does not load here ({error}): `apt install {apt_name}` and source "
            f"ROS again, or {otherwise}"
        ) from error


@functools.cache  # asked for every part of every message
def ros_message_types(name: str) -> Any:
    """The class of a message name such as "vision_msgs/msg/Detection3DArray".

    Raises:
        MissingDependencyError: its package is not installed.
    """
    package, _, kind = name.split("/")
    return getattr(ros_module(f"{package}.msg", name, "turn off what publishes it"), kind)
