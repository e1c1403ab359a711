"""Types of command-line arguments that several verbs share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from monotakd_ros.errors import MonotakdError
from monotakd_ros.shipped import checkpoint_path


def positive_int(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number >= 1, got {text}")
    return value


def finite(text: str) -> float:
    """A number that is neither NaN nor infinite.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {text}")
    return value


def weights_file(text: str) -> Path:
    """A checkpoint: a path, or the name of shipped weights.

    Raises:
        argparse.ArgumentTypeError: a name that no shipped weights have, or damaged ones.
    """
    try:
        return checkpoint_path(text)
    except MonotakdError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
