"""Where pictures and bags may go: somewhere new, and not into what is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from monotakd_ros.atomic import refuse_to_lose
from monotakd_ros.errors import OutputError


def require_place(out: Path, overwrite: bool, inputs: Iterable[Path]) -> None:
    """Check that a folder may be made, before the work that fills it.

    Args:
        out: the folder.
        overwrite: whether something of ours there may be replaced.
        inputs: what is read; a set would not verify any more with strange files in it.

    Raises:
        OutputError: something is there, or it lies in an input.
    """
    inputs = list(inputs)
    for path in inputs:
        if path.resolve() in out.resolve().parents:
            raise OutputError(f"{out}: expected a folder apart from {path}, found one inside of it")
    refuse_to_lose(out, overwrite, inputs)
