"""Frames with their boxes into a bag for RViz and Foxglove."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from monotakd_ros.data.boxed_bag_writer import BOX_TOPICS, BoxedBagWriter
from monotakd_ros.errors import FrameError
from monotakd_ros.preview.output import require_place
from monotakd_ros.preview.source import BoxedSource
from monotakd_ros.visualization.box_styles import BOX_STYLES

MCAP_SUFFIX = ".mcap"


def bag_folder(out: Path) -> Path:
    """The folder of a bag that may be named by its file: `out.mcap` is `out/out.mcap`."""
    return out.with_suffix("") if out.suffix == MCAP_SUFFIX else out


def require_free(out: Path, overwrite: bool, inputs: Iterable[Path]) -> None:
    """Check that a bag may be written, before the work that fills it.

    An earlier preview is replaced without asking for it, since it holds nothing that its set does not.

    Raises:
        OutputError: something else is there.
    """
    folder = bag_folder(out)
    require_place(folder, overwrite or is_preview(folder), inputs)


def is_preview(folder: Path) -> bool:
    """Whether a folder is a bag that `write_bag` made of a set."""
    try:
        text = (folder / "metadata.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return f"{BOX_TOPICS['teacher']}/markers" in text


def write_bag(
    source: BoxedSource,
    out: Path,
    count: int | None = None,
    overwrite: bool = False,
    on_frame: Callable[[], Any] = lambda: None,
) -> tuple[int, list[FrameError]]:
    """Write frames; on Ctrl-C those that are whole so far.

    Args:
        source: what to write.
        out: the bag's folder, or the name of its file (see `bag_folder`).
        count: at most so many frames, evenly spread; None for all.
        overwrite: whether an existing bag is replaced; an earlier preview is anyway.
        on_frame: called after each frame.

    Returns:
        Number of frames that were written, and why others were not.

    Raises:
        OutputError: the bag exists, or cannot be written; there is no frame to write.
        SourceError: the source cannot be read.
    """
    skipped: list[FrameError] = []
    folder = bag_folder(out)
    require_free(folder, overwrite, [source.path])
    with BoxedBagWriter(folder, overwrite or is_preview(folder), lambda kind: BOX_STYLES[kind].colour_of) as writer:
        for boxed in source.frames(count, skipped.append):
            writer.write_boxed(boxed)
            on_frame()
    return writer.count, skipped
