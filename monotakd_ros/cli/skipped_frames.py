"""Frames that a command could not use, named at its end."""

from __future__ import annotations

import sys
from collections.abc import Sequence

MAX_NAMED = 10
"""How many are named one by one."""


def name_skipped(skipped: Sequence[object]) -> None:
    """Say on stderr which frames were skipped, and why."""
    for error in skipped[:MAX_NAMED]:
        print(f"skipped: {error}", file=sys.stderr)
    if len(skipped) > MAX_NAMED:
        print(f"skipped: and {len(skipped) - MAX_NAMED} more", file=sys.stderr)
