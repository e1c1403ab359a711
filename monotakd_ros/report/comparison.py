"""Two reports on the same frames: is one detector better, or is it noise?

Both sides are drawn together (`evaluation.bootstrap`), so what makes a frame hard for both cancels. Reports remember
their boxes (`boxes.npz`), from which every difference is computed anew; the rest of them says what was run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from monotakd_ros.errors import ConfigError, SourceError
from monotakd_ros.evaluation.bootstrap import Difference, Resampling, compare_ap
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES
from monotakd_ros.frame import KittiFrame
from monotakd_ros.report.both_sides import require_the_same_frames, some_of
from monotakd_ros.report.boxes_file import BOXES_NAME, read_boxes
from monotakd_ros.report.writer import JSON_NAME

PRIMARY = ("strict", "3d", "moderate")
"""The figure by which KITTI ranks; a page and a printed table both decide by it."""
SAME_M = 1e-6
"""Ground truth that was carried through other frames on its way differs in its last digits."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two reports say about the same frames.

    Attributes:
        folders: of A's and B's report, as given.
        reports: the content of their report.json.
        frames: number of frames compared.
        left_out: number of frames that only one report has.
        resampling: how the intervals were made.
        differences: every figure with ground truth.
    """

    folders: tuple[str, str]
    reports: tuple[dict[str, Any], dict[str, Any]]
    frames: int
    left_out: int
    resampling: Resampling
    differences: tuple[Difference, ...]

    @property
    def titles(self) -> tuple[str, str]:
        """Of A's and B's report."""
        a, b = (report["run"]["title"] for report in self.reports)
        return a, b

    @property
    def names(self) -> tuple[str, str]:
        """As short as tells A and B apart: without the data, which is the same; with the folder where need be."""
        short = [re.split(r" (?:against|on) ", title, maxsplit=1)[0] for title in self.titles]
        if short[0] == short[1]:
            short = [f"{name} ({folder})" for name, folder in zip(short, self.folders)]
        return short[0], short[1]

    @property
    def classes(self) -> list[str]:
        """Those with any difference, KITTI's first."""
        return list(dict.fromkeys(item.cell.class_name for item in self.differences))

    @property
    def primary(self) -> Difference | None:
        """The figure that decides: the first class's 3D AP, moderate, strict; None without such ground truth."""
        return next((item for item in self.differences if is_primary(item)), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = [
            {
                **item.cell._asdict(),
                "n_gt": item.counted,
                "a": item.a,
                "b": item.b,
                "difference": item.b - item.a,
                "interval": [item.low, item.high],
                "beyond_noise": item.is_beyond_noise,
            }
            for item in self.differences
        ]
        return {
            "a": self.titles[0],
            "b": self.titles[1],
            "frames": self.frames,
            "left_out": self.left_out,
            **vars(self.resampling),
            "differences": rows,
        }


def is_primary(item: Difference) -> bool:
    """Whether it is its class's 3D AP, moderate, strict."""
    return (item.cell.overlaps, item.cell.metric, item.cell.difficulty) == PRIMARY


def compare_reports(
    report_a: Path,
    report_b: Path,
    resampling: Resampling,
    allow_missing: bool = False,
    on_cell: Callable[[], None] = lambda: None,
) -> Comparison:
    """Compare two report folders of `monotakd evaluate`.

    Args:
        report_a, report_b: the folders.
        resampling: how to draw, at least once; where `block_frames` is 1, the greater of the two reports' is taken.
        allow_missing: compare the frames that both have where they differ.
        on_cell: called after each figure.

    Raises:
        ConfigError: no draws are asked for.
        SourceError: a folder is no report, the reports hold different frames, or the ground truth differs.
    """
    if not resampling.resamples:
        raise ConfigError("--resamples: expected at least 1, got 0: without draws there is no noise to compare with")
    contents = [_read_report(path) for path in (report_a, report_b)]
    sides = [{frame.name: frame for frame in read_boxes(path / BOXES_NAME)} for path in (report_a, report_b)]
    common = [name for name in sides[0] if name in sides[1]]
    alone = [[name for name in side if name not in other] for side, other in (sides, sides[::-1])]
    faults = {f"frames only in {path}": names for path, names in zip((report_a, report_b), alone)}
    require_the_same_frames(faults, len(common), allow_missing, f"{report_a} and {report_b}")
    a, b = ([side[name] for name in common] for side in sides)
    _require_the_same_truth(a, b, f"{report_a} and {report_b}")
    if resampling.block_frames == 1:
        blocks = max(content["run"]["block_frames"] for content in contents)
        resampling = replace(resampling, block_frames=blocks)
    differences = compare_ap(
        [frame.truth for frame in a],
        [frame.results for frame in a],
        [frame.results for frame in b],
        _class_names(contents),
        resampling,
        on_cell,
        [frame.recording for frame in a],
    )
    folders, reports = (str(report_a), str(report_b)), (contents[0], contents[1])
    return Comparison(folders, reports, len(common), sum(map(len, alone)), resampling, tuple(differences))


def _read_report(folder: Path) -> dict[str, Any]:
    path = folder / JSON_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        _ = content["run"]["block_frames"], content["run"]["title"], content["kitti_ap"]["strict"]
    except OSError as error:
        raise SourceError(f"{folder}: expected a report of `monotakd evaluate`: {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path}: not a report of `monotakd evaluate`: {error!r}") from error
    return content


def _class_names(contents: Sequence[dict[str, Any]]) -> list[str]:
    """Classes that both reports evaluated, KITTI's first."""
    a, b = (content["kitti_ap"]["strict"] for content in contents)
    return sorted((name for name in a if name in b), key=lambda name: (name not in KITTI_CLASSES, list(a).index(name)))


def _require_the_same_truth(a: Sequence[EvaluationFrame], b: Sequence[EvaluationFrame], where: str) -> None:
    different = [one.name for one, other in zip(a, b) if not _same_truth(one.truth, other.truth)]
    if different:
        raise SourceError(
            f"{where}: the ground truth of {len(different)} of {len(a)} frames differs ({some_of(different)}): figures "
            "against different labels cannot be compared"
        )


def _same_truth(a: KittiFrame, b: KittiFrame) -> bool:
    if a.names != b.names:
        return False
    columns = ("bbox_px", "hwl", "location_cam", "truncation", "occlusion")
    return all(np.allclose(getattr(a, name), getattr(b, name), rtol=0, atol=SAME_M) for name in columns)
