"""Pictures of frames with their boxes into a folder, with a list of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from monotakd_ros.atomic import PendingFolder, output_errors
from monotakd_ros.errors import FrameError, SourceError
from monotakd_ros.frame import BoxedFrame
from monotakd_ros.preview.source import BoxedSource
from monotakd_ros.visualization.picture_files import PictureFiles, PictureKind
from monotakd_ros.visualization.preview_picture import draw_preview

ViewChoice = Literal["frames", "strip", "video", "all"]
VIEW_KINDS: Mapping[ViewChoice, frozenset[PictureKind]] = MappingProxyType(
    {
        "frames": frozenset({"frames"}),
        "strip": frozenset({"strip"}),
        "video": frozenset({"video"}),
        "all": frozenset({"frames", "strip", "video"}),
    }
)
VIEW_FILE = "view.json"


def write_pictures(
    source: BoxedSource,
    out: Path,
    kinds: Set[PictureKind],
    count: int | None = None,
    overwrite: bool = False,
    on_frame: Callable[[], Any] = lambda: None,
) -> dict[str, Any]:
    """Draw frames into a new folder; all of it, or none.

    Args:
        source: what to draw.
        out: the folder.
        kinds: which pictures.
        count: at most so many frames, evenly spread; None for all.
        overwrite: whether earlier pictures there are replaced.
        on_frame: called after each frame.

    Returns:
        What `view.json` says: the `frames` with the number of their boxes by kind, what was `skipped`, the `files`.

    Raises:
        OutputError: the folder exists, or cannot be written.
        SourceError: the source cannot be read, or has no usable frame.
    """
    skipped: list[FrameError] = []
    folder = PendingFolder(out, overwrite)
    try:
        with output_errors(folder.target):
            folder.path.mkdir()
            files = PictureFiles(folder.path, kinds, min(len(source), count or len(source)))
            frames = []
            for boxed in source.frames(count, skipped.append):
                start_ns = frames[0]["stamp_ns"] if frames else boxed.frame.stamp_ns
                _draw(boxed, start_ns, files)
                frames.append(_facts(boxed))
                on_frame()
            if not frames:
                raise SourceError(f"{source.path}: no frame that could be drawn")
            facts = {
                "source": source.name,
                "frames": frames,
                "skipped": [str(error) for error in skipped],
                "files": files.close(),
            }
            (folder.path / VIEW_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        folder.commit()
        return facts
    finally:
        folder.discard()


def caption(boxed: BoxedFrame, start_ns: int) -> str:
    """One line about a frame: its name, its time since the first one, how many boxes of each kind."""
    counts = ", ".join(f"{len(boxes)} {kind}" for kind, boxes in boxed.boxes.items())
    frame = boxed.frame
    return f"{frame.name}    {(frame.stamp_ns - start_ns) / 1e9:.1f} s    {counts or 'no boxes'}"


def _draw(boxed: BoxedFrame, start_ns: int, files: PictureFiles) -> None:
    frame = boxed.frame
    picture = draw_preview(frame, boxed.boxes, caption(boxed, start_ns)) if files.wanted else None
    files.add(frame.name, frame.stamp_ns, picture)


def _facts(boxed: BoxedFrame) -> dict[str, Any]:
    counts = {kind: len(boxes) for kind, boxes in boxed.boxes.items()}
    return {"name": boxed.frame.name, "stamp_ns": boxed.frame.stamp_ns, "boxes": counts}
