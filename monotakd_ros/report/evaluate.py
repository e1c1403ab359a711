"""An evaluation's last steps: score, choose and draw pictures, write the folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monotakd_ros.data.kitti_results import write_results
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame
from monotakd_ros.report.boxes_file import BOXES_NAME, write_boxes
from monotakd_ros.report.gathered import Gathered
from monotakd_ros.report.pictures import draw_pictures
from monotakd_ros.report.scoring import ScoringOptions, operating_scores, score
from monotakd_ros.report.writer import RESULTS_NAME, write_report


@dataclass(frozen=True)
class ReportOptions:
    """How to report.

    Attributes:
        scoring: what to score.
        pictures: frames of each kind (best, worst, most confident wrong); 0 draws none.
        overwrite: replace an earlier report of the same name, once the new one is complete.
    """

    scoring: ScoringOptions = field(default_factory=ScoringOptions)
    pictures: int = 3
    overwrite: bool = False


def evaluate(
    gathered: Gathered,
    out: Path,
    options: ReportOptions | None = None,
    on_interval: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Score both sides and write `out`: report.html, report.json, boxes.npz and kitti_results/.

    The results are written in KITTI's format unless that is what they were read from.

    Returns:
        The content of report.json.

    Raises:
        OutputError: `out` exists and may not be replaced, or cannot be written.
    """
    options = options or ReportOptions()
    report = score(gathered, options.scoring, on_interval)
    pictures = draw_pictures(gathered.frames, operating_scores(report), gathered.scenes, options.pictures)
    report["pictures"] = [{"kind": item.kind, "frame": item.name, "text": item.text} for item in pictures]

    def add_boxes(folder: Path) -> None:
        write_boxes(folder / BOXES_NAME, gathered.frames)
        if gathered.run["mode"] != "results":
            write_kitti_results(folder / RESULTS_NAME, gathered.frames)

    write_report(out, report, pictures, options.overwrite, add_boxes)
    return report


def write_kitti_results(folder: Path, frames: Sequence[EvaluationFrame]) -> None:
    """NAME.txt of every frame, as the benchmark's server takes them; frames SOURCE/NAME go to a folder per source.

    Raises:
        OutputError: the folder exists or cannot be written.
    """
    by_source: dict[str, list[tuple[str, KittiFrame]]] = {}
    for frame in frames:
        name = frame.name.rpartition("/")[2]
        by_source.setdefault(frame.recording, []).append((name, frame.results))
    for source, results in by_source.items():
        write_results(folder / source, results)
