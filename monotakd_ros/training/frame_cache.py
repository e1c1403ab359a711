"""Prepared frames on disk: a source is read once, and training then reads any frame in any order.

One folder per source and input setting, `NAME-FINGERPRINT/`, with `index.json` and one `.npz` per frame. The
fingerprint covers the source's files and those it reads elsewhere (path, size, time), the network's camera, the class
names, whether the source is read as unlabelled, and the code that reads and prepares frames; another source, setting or
code gets another folder, so a cache may be shared by several runs. A folder appears under its name only when it is
complete.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from monotakd_ros.atomic import PendingFolder, output_errors
from monotakd_ros.config import InputConfig
from monotakd_ros.data.preprocess import PreparedFrame, prepare
from monotakd_ros.data.source import DEFAULT_OPTIONS, FrameSource, SourceOptions
from monotakd_ros.data.source_files import files_beside, files_in
from monotakd_ros.errors import FrameError, SourceError, TrainingError
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.provenance import reading_code
from monotakd_ros.training.array_digest import add_array, frame_digest
from monotakd_ros.training.file_lock import locked

_log = logging.getLogger(__name__)

CACHE_VERSION = 5
"""Of the folder's layout."""
INDEX_FILE = "index.json"
_LABEL_FIELDS = ("boxes_lidar", "truncation", "occlusion", "boxes_img_px", "dont_care_px")
_PREPARED_FIELDS = (
    "image",
    "valid_px",
    "img_P_cam",
    "cam_T_lidar",
    "points_img",
    "points_lidar",
    "boxes_lidar",
    "labels",
)
_UNLABELLED_FIELDS = _PREPARED_FIELDS[:-2]


@dataclass(frozen=True, eq=False)
class TrainingFrame:
    """A frame as training takes it, and as validation scores it.

    Attributes:
        prepared: in the network's camera, with boxes and labels; of an unlabelled recording without.
        ground_truth: all labels as recorded, in the recorded lidar frame. Of an unlabelled recording, what it has
            nevertheless, which nothing learns from; None where it has none.
        camera: the recorded camera.
        cam_T_lidar: (4, 4) float64 of the lidar frame that `ground_truth` is in.
    """

    prepared: PreparedFrame
    ground_truth: Labels3D | None
    camera: CameraModel
    cam_T_lidar: np.ndarray


@dataclass(frozen=True)
class CacheReport:
    """What one source gave.

    Attributes:
        path: of the source.
        frames: number of frames kept: those with labels, or with a cloud where the source was read as unlabelled.
        bad: one message per frame that could not be read.
        unlabelled: number of frames without labels, left out; 0 where the source was read as unlabelled.
        with_points: number of frames with LiDAR points in the image.
        class_counts: number of boxes per class index; `IGNORE_LABEL` for neighbouring classes.
        focal_px: smallest and largest focal length of the recorded cameras, px.
        without_cloud: number of frames without LiDAR points in the image, left out where the source was read as
            unlabelled; else 0.
        digest: 16 hex digits over the kept frames themselves; "" in caches of earlier versions.
        scored: whether labels of any frame have scores: then a teacher made them all, also where it saw nothing.
        seen: `frame_digest` of each frame, the same with labels and without; () in caches of earlier versions.
    """

    path: str
    frames: int
    bad: tuple[str, ...]
    unlabelled: int
    with_points: int
    class_counts: dict[int, int]
    focal_px: tuple[float, float]
    without_cloud: int = 0
    digest: str = ""
    scored: bool = False
    seen: tuple[str, ...] = ()


class FrameCache(Sequence[TrainingFrame]):
    """The frames of one finished cache folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
            counts = {int(key): value for key, value in index["class_counts"].items()}
            self.report = CacheReport(
                index["path"],
                index["frames"],
                tuple(index["bad"]),
                index["unlabelled"],
                index["with_points"],
                counts,
                tuple(index["focal_px"]),
                index.get("without_cloud", 0),
                index.get("digest", ""),
                index.get("scored", False),
                tuple(index.get("seen", ())),
            )
        except (OSError, ValueError, KeyError) as error:
            raise SourceError(f"{folder}: the frame cache is damaged ({error}); delete it and run again") from error

    @property
    def identity(self) -> str:
        """What tells these frames from others: the source's name and their digest, wherever the source lies."""
        return f"{Path(self.report.path).stem}-{self.report.digest}" if self.report.digest else self.folder.name

    def with_cloud(self) -> Sequence[int]:
        """Indices of the frames that have LiDAR points in the image.

        Raises:
            SourceError: a file is missing or damaged.
        """
        if self.report.with_points == len(self):
            return range(len(self))
        return [index for index in range(len(self)) if _has_points(self.folder / _frame_file(index))]

    def __len__(self) -> int:
        return self.report.frames

    def __getitem__(self, index: Any) -> TrainingFrame:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        frame = load_frame(self.folder / _frame_file(index % len(self)))
        return _scored(frame) if self.report.scored else frame


def _scored(frame: TrainingFrame) -> TrainingFrame:
    """A frame of a source whose labels a teacher made: one without boxes has no score that could say so."""
    prepared = frame.prepared
    if prepared.labels is None or len(prepared.labels) or prepared.label_scores is not None:
        return frame
    return replace(frame, prepared=replace(prepared, label_scores=np.zeros(0, dtype=np.float32)))


def save_frame(path: Path, frame: TrainingFrame) -> None:
    """Write one frame as an uncompressed `.npz`."""
    np.savez(path, **_arrays(frame))


def _arrays(frame: TrainingFrame) -> dict[str, np.ndarray]:
    """All of a frame, by the names it is kept under."""
    arrays = {f"prepared_{name}": getattr(frame.prepared, name) for name in (*_PREPARED_FIELDS, "label_scores")}
    if frame.ground_truth is not None:
        arrays |= {f"label_{name}": getattr(frame.ground_truth, name) for name in (*_LABEL_FIELDS, "scores")}
        arrays["label_names"] = np.array(frame.ground_truth.class_names, dtype=str)
    arrays |= {
        "name": np.array(frame.prepared.name),
        "notes": np.array(frame.prepared.notes, dtype=str),
        "camera_P": frame.camera.img_P_cam,
        "camera_size": np.array([frame.camera.width, frame.camera.height]),
        "cam_T_lidar": frame.cam_T_lidar,
    }
    return {name: array for name, array in arrays.items() if array is not None}


def load_frame(path: Path) -> TrainingFrame:
    """Read what `save_frame` wrote.

    Raises:
        SourceError: the file is missing or damaged.
    """
    with _cached(path) as data:
        labelled = "prepared_labels" in data
        fields = _PREPARED_FIELDS if labelled else _UNLABELLED_FIELDS
        prepared = dict.fromkeys(_PREPARED_FIELDS) | {name: data[f"prepared_{name}"] for name in fields}
        prepared["label_scores"] = data.get("prepared_label_scores")
        return TrainingFrame(
            PreparedFrame(name=str(data["name"]), notes=tuple(data["notes"].tolist()), **prepared),
            _ground_truth(data) if labelled or "label_names" in data else None,
            CameraModel(data["camera_P"], *map(int, data["camera_size"])),
            data["cam_T_lidar"],
        )


def _has_points(path: Path) -> bool:
    with _cached(path) as data:
        return len(data["prepared_points_img"]) > 0


@contextmanager
def _cached(path: Path) -> Iterator[Any]:
    """The arrays of one frame's file.

    Raises:
        SourceError: the file is missing or damaged.
    """
    try:
        with np.load(path) as data:
            yield data
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path}: the cached frame is damaged ({error}); delete its folder and run again") from error


def _ground_truth(data: Mapping[str, np.ndarray]) -> Labels3D:
    labels = {name: data[f"label_{name}"] for name in _LABEL_FIELDS}
    labels["scores"] = data.get("label_scores")
    return Labels3D(class_names=tuple(data["label_names"].tolist()), **labels)


def training_frame(
    frame: Frame, config: InputConfig, class_names: Sequence[str], unlabelled: bool = False
) -> TrainingFrame:
    """Prepare one labelled frame, or any as an unlabelled one."""
    assert unlabelled or frame.labels is not None, "only labelled frames become labelled training frames"
    prepared = prepare(replace(frame, labels=None) if unlabelled else frame, config, class_names)
    cam_T_lidar = prepared.cam_T_lidar if frame.cam_T_lidar is None else frame.cam_T_lidar
    return TrainingFrame(prepared, frame.labels, frame.camera, cam_T_lidar)


def source_fingerprint(
    path: Path,
    config: InputConfig,
    class_names: Sequence[str],
    options: str = "",
    unlabelled: bool = False,
    beside: Sequence[Path] = (),
) -> str:
    """16 hex digits over the source's files (path, size, time), the input setting, the classes, `options` and the code.

    The frames of a source that is read as unlabelled are others than those of the same source with its labels.
    Files `beside` it count as its own do.
    """
    facts = [CACHE_VERSION, reading_code(), _stats(files_in(path)), dataclasses.asdict(config)]
    facts += [list(class_names), options]
    facts += ["unlabelled"] if unlabelled else []
    facts += [_stats(beside)] if beside else []
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _stats(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    return [(str(item.resolve()), item.stat().st_size, item.stat().st_mtime_ns) for item in files if item.exists()]


def cached_frames(
    source: FrameSource,
    root: Path,
    config: InputConfig,
    class_names: Sequence[str],
    *,
    strict: bool = False,
    options: SourceOptions = DEFAULT_OPTIONS,
    on_frame: Callable[[int], None] | None = None,
    unlabelled: bool = False,
) -> FrameCache:
    """The frames of a source, from `root` when it was read before, else read now.

    Args:
        source: to be read.
        root: folder of caches.
        config: the network's camera.
        class_names: the detector's classes.
        strict: stop at the first frame that cannot be read.
        options: the source is read with.
        on_frame: called with the number of frames read so far.
        unlabelled: keep the frames that have a cloud, and none of their labels, instead of those that have labels.

    Raises:
        TrainingError: the source has no labelled frame, or no frame with a cloud where it is read as unlabelled.
        FrameError: a frame cannot be read, with `strict`.
        OutputError: the cache cannot be written.
    """
    assert source.path is not None, "only sources on disk are cached"
    path = Path(source.path)
    beside = files_beside(path, options)
    fingerprint = source_fingerprint(path, config, class_names, repr(options), unlabelled, beside)
    folder = root / f"{path.stem}-{fingerprint}"
    if not folder.is_dir():
        with output_errors(folder):
            root.mkdir(parents=True, exist_ok=True)
            with locked(root / f".{folder.name}.lock") as lock:
                try:
                    if not folder.is_dir():  # else read by whoever held the lock
                        with _pending(folder) as pending:
                            _fill(source, pending, config, class_names, strict, on_frame, unlabelled)
                finally:
                    Path(lock.name).unlink(missing_ok=True)
    cache = FrameCache(folder)
    if strict and cache.report.bad:
        raise FrameError(f"{path}: {cache.report.bad[0]}")
    return cache


@contextmanager
def _pending(folder: Path) -> Iterator[Path]:
    """A new folder that takes its name once it is filled, else goes."""
    pending = PendingFolder(folder)
    try:
        pending.path.mkdir()
        yield pending.path
        pending.commit()
    finally:
        pending.discard()


def _fill(
    source: FrameSource,
    folder: Path,
    config: InputConfig,
    class_names: Sequence[str],
    strict: bool,
    on_frame: Callable[[int], None] | None,
    as_unlabelled: bool,
) -> None:
    bad: list[str] = []
    counts: Counter[int] = Counter()
    focal_px: list[float] = []
    digest = hashlib.sha256()
    seen: list[str] = []
    saved = unlabelled = with_points = without_cloud = 0
    scored = False

    def skip(error: FrameError) -> None:
        if strict:
            raise error
        _log.warning("skipped: %s", error)
        bad.append(str(error))

    for number, frame in enumerate(source.frames(on_error=skip), start=1):
        if on_frame is not None:
            on_frame(number)
        if frame.labels is None and not as_unlabelled:
            unlabelled += 1
            continue
        try:
            item = training_frame(frame, config, class_names, as_unlabelled)
        except FrameError as error:
            skip(error)
            continue
        if as_unlabelled and not len(item.prepared.points_img):
            without_cloud += 1
            continue
        save_frame(folder / _frame_file(saved), item)
        for name, array in sorted(_arrays(item).items()):
            add_array(digest, name, array)
        seen.append(frame_digest(item.prepared))
        saved += 1
        focal_px.append(frame.camera.fx)
        with_points += bool(len(item.prepared.points_img))
        scored |= item.prepared.label_scores is not None
        if item.prepared.labels is not None:
            counts.update(item.prepared.labels.tolist())
    if not saved and as_unlabelled:
        raise TrainingError(
            f"{source.path}: no frame with a LiDAR cloud, which the teacher labels by ({without_cloud} without LiDAR "
            f"points in the image, {len(bad)} unreadable)"
        )
    if not saved:
        raise TrainingError(
            f"{source.path}: no labelled frame to learn from ({unlabelled} without labels, {len(bad)} unreadable)"
        )
    focal_range = (min(focal_px), max(focal_px))
    report = CacheReport(
        str(source.path),
        saved,
        tuple(bad),
        unlabelled,
        with_points,
        dict(counts),
        focal_range,
        without_cloud,
        digest.hexdigest()[:16],
        scored,
        tuple(seen),
    )
    (folder / INDEX_FILE).write_text(json.dumps(dataclasses.asdict(report), indent=1), encoding="utf-8")


def _frame_file(index: int) -> str:
    return f"{index:06d}.npz"
