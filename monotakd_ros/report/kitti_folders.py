"""Both sides from KITTI text: a folder of result files against a folder of label files.

The set of frames is what the labels hold, or what a list names. Numbers go to the metrics as the files have them,
except the tracking benchmark's flags of truncation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from monotakd_ros.data.kitti_results import ReadGroundTruth, read_ground_truth, read_results
from monotakd_ros.errors import SourceError
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame
from monotakd_ros.report.both_sides import require_the_same_frames, some_of
from monotakd_ros.report.gathered import Gathered
from monotakd_ros.report.kitti_scenes import kitti_scenes

LABEL_FOLDERS = ("label_2", "training/label_2")


def gather_kitti(results: Path, labels: Path, frames_list: Path | None, allow_missing: bool) -> Gathered:
    """Read both folders.

    Args:
        results: folder of NAME.txt files, or one with such a folder `data` below (the devkit's layout). Empty files
            are frames in which nothing was found.
        labels: folder of NAME.txt files, or one that holds `label_2` or `training/label_2`.
        frames_list: text file with a name per line: exactly these frames are evaluated. None takes all labelled.
        allow_missing: evaluate the frames that both sides have where they differ.

    Raises:
        SourceError: a folder or the list cannot be read; frames lack on a side (named and counted) and
            `allow_missing` is not set; no frame is on both sides.
        LabelError: a malformed line; names file and line.
    """
    results_folder, labels_folder = _results_folder(results), _labels_folder(labels)
    found, labelled = _files(results_folder), _files(labels_folder)
    found = _by_number(found, labelled)
    wanted = list(labelled) if frames_list is None else _listed(frames_list)
    chosen = [name for name in wanted if name in found and name in labelled]
    missing = [name for name in wanted if name not in found]
    outside = [name for name in found if name not in labelled] if frames_list is None else []
    unlabelled = [name for name in wanted if name not in labelled]
    faults = {
        "frames without a result file": missing,
        "result files of frames without labels": outside,
        "listed frames without labels": unlabelled,
    }
    require_the_same_frames(faults, len(chosen), allow_missing, f"results {results_folder}, labels {labels_folder}")
    frames, warnings = _read(chosen, found, labelled)
    return Gathered(
        frames=frames,
        run=_run(results, labels, frames_list, len(frames)),
        missing=tuple(missing),
        extra=tuple(outside or [name for name in unlabelled if name in found]),
        warnings=tuple(warnings),
        scenes=kitti_scenes(labels_folder.parent),
    )


def find_labels(folder: Path) -> Path | None:
    """Where the label files of a folder lie: in `label_2`, in `training/label_2`, or in itself; None without any."""
    for candidate in (*(folder / name for name in LABEL_FOLDERS), folder):
        if candidate.is_dir() and any(candidate.glob("*.txt")):
            return candidate
    return None


def _labels_folder(path: Path) -> Path:
    found = find_labels(path)
    if found is None:
        raise SourceError(f"{path}: expected label files NAME.txt, here or in {' or '.join(LABEL_FOLDERS)}; found none")
    return found


def _results_folder(path: Path) -> Path:
    for folder in (path / "data", path):
        if folder.is_dir() and any(folder.glob("*.txt")):
            return folder
    raise SourceError(f"{path}: expected result files NAME.txt, here or in data; found none")


def _files(folder: Path) -> dict[str, Path]:
    """The text files by name, sorted."""
    return {item.stem: item for item in sorted(folder.glob("*.txt")) if item.is_file()}


def _by_number(found: dict[str, Path], labelled: dict[str, Path]) -> dict[str, Path]:
    """Results under the names of the labels with the same number, where the two only differ in leading zeros."""
    if found.keys() & labelled.keys() or not all(name.isdecimal() for name in (*found, *labelled)):
        return found
    names = {int(name): name for name in labelled}
    return {names.get(int(name), name): path for name, path in found.items()}


def _listed(path: Path) -> list[str]:
    try:
        names = path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot read the list of frames: {error}") from error
    if not names:
        raise SourceError(f"{path}: expected a frame name per line, found none")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SourceError(f"{path}: expected each frame once, {len(twice)} come more often: {some_of(twice)}")
    return names


def _read(
    names: list[str], results: dict[str, Path], labels: dict[str, Path]
) -> tuple[tuple[EvaluationFrame, ...], list[str]]:
    found = [read_results(results[name]) for name in names]
    truth, warnings = _truth([read_ground_truth(labels[name]) for name in names])
    without_volume = [where for item in found for where in item.without_volume]
    if without_volume:
        warnings.append(
            f"results with a size of zero or less, which overlap nothing in 3D: {len(without_volume)}, the first in "
            f"{without_volume[0]}"
        )
    return tuple(EvaluationFrame(*row) for row in zip(names, truth, (item.frame for item in found))), warnings


def _truth(read: Sequence[ReadGroundTruth]) -> tuple[list[KittiFrame], list[str]]:
    """Truncation as written, like the devkit; unknown where all of it is flags, as in the tracking benchmark."""
    flags = sum(int(item.flags.sum()) for item in read)
    if not flags or any(item.has_shares for item in read):
        return [item.frame for item in read], []
    told = (
        f"truncation is written without decimals in all labels, as the tracking benchmark's flag: the {flags} above 0 "
        "count as unknown. The devkit would read them as shares and exclude these objects from every difficulty"
    )
    return [item.with_unknown_flags() for item in read], [told]


def _run(results: Path, labels: Path, frames_list: Path | None, count: int) -> dict[str, object]:
    return {
        "mode": "results",
        "title": f"{results.resolve().name} against {labels.resolve().name}",
        "results": str(results),
        "labels": str(labels),
        "frames_list": None if frames_list is None else str(frames_list),
        "sources": [{"name": labels.resolve().name, "path": str(labels), "frames": count}],
    }
