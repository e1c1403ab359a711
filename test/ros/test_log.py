"""The core's log in a node's log, and parts of ROS that are missing. No ROS."""

from __future__ import annotations

import logging

import pytest

from monotakd_ros.errors import MissingDependencyError
from monotakd_ros.ros.log import core_log_to
from monotakd_ros.ros.optional import ros_message_types, ros_module


class Logger:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __getattr__(self, level: str):
        return lambda text: self.told.append((level, text))


def test_levels_and_names_arrive() -> None:
    logger = Logger()
    with core_log_to(logger):
        logging.getLogger("monotakd_ros.data.kitti").warning("frame %d is odd", 7)
        logging.getLogger("monotakd_ros.detector").error("no")
        logging.getLogger("monotakd_ros.detector").info("yes")
        logging.getLogger("elsewhere").error("not ours")
    assert logger.told == [
        ("warning", "data.kitti: frame 7 is odd"),
        ("error", "detector: no"),
        ("info", "detector: yes"),
    ]
    logging.getLogger("monotakd_ros.detector").error("afterwards")
    assert len(logger.told) == 3


def test_a_traceback_goes_along() -> None:
    logger = Logger()
    with core_log_to(logger):
        try:
            raise KeyError("lost")
        except KeyError:
            logging.getLogger("monotakd_ros.ros.worker").exception("a round failed")
    ((level, text),) = logger.told
    assert level == "error" and "Traceback" in text and "KeyError: 'lost'" in text


def test_what_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    with pytest.raises(MissingDependencyError, match=r"apt install ros-jazzy-no-such-msgs"):
        ros_message_types("no_such_msgs/msg/Thing")
    with pytest.raises(MissingDependencyError, match=r"merging needs no_such_msgs.*or turn it off"):
        ros_module("no_such_msgs", "merging", "turn it off")
