"""The core's log records, in the node's log: same levels, the module's name in front."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class NodeLogHandler(logging.Handler):
    """Hands records of `logging` to a node's logger.

    Args:
        logger: of rclpy: has `debug`, `info`, `warning`, `error`, `fatal`.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.name.removeprefix('monotakd_ros.')}: {self.format(record)}"  # with its traceback, if any
        # rclpy keys its rules by the calling line and refuses another level there, so each level has a line.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


@contextmanager
def core_log_to(logger: Any) -> Iterator[None]:
    """While inside, what `monotakd_ros` logs goes to a node's logger."""
    core, handler = logging.getLogger("monotakd_ros"), NodeLogHandler(logger)
    level, propagate = core.level, core.propagate
    core.addHandler(handler)
    core.setLevel(logging.INFO)
    core.propagate = False
    try:
        yield
    finally:
        core.removeHandler(handler)
        core.setLevel(level)
        core.propagate = propagate
