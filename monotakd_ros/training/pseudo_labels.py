"""Pseudo labels: the boxes that a frozen teacher sees in an unlabelled recording, and the file that keeps them.

One JSON file per recording, readable by people: who made the labels, from what, with which thresholds; how many of
each class; then the boxes of every frame. A box at or above its class's threshold is a label; one below, down to
`ignore_threshold`, is uncertain: the anchors at it count for nothing, because calling it background may be as wrong as
calling it an object. Boxes are rounded to 0.1 mm and scores to 0.0001 before anything uses them: what the file says is
what was learned from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from monotakd_ros.atomic import atomic_path
from monotakd_ros.config import SemiSupervisedConfig
from monotakd_ros.data.preprocess import IGNORE_LABEL
from monotakd_ros.errors import SourceError
from monotakd_ros.provenance import CheckpointName
from monotakd_ros.training.frame_cache import FrameCache, TrainingFrame

PSEUDO_LABEL_VERSION = 1
DECIMALS = 4


@dataclass(frozen=True)
class Provenance:
    """What made the labels of one recording; all of it but `code_commit` has to match for them to be used again.

    Attributes:
        teacher: its weights file.
        teacher_config: name of the config it was trained with.
        class_names: of teacher and student, in order.
        thresholds: score per class from which a box is a label.
        ignore_threshold: score from which a box is kept at all.
        recording: path of the source.
        frames: name of the frame cache folder, which tells the source's files and the network's camera.
        versions: of this package and of the libraries whose numbers matter.
        code: of the networks, see `network_code`.
        code_commit: of this package, for people; None outside a checkout.
    """

    teacher: CheckpointName
    teacher_config: str
    class_names: tuple[str, ...]
    thresholds: dict[str, float]
    ignore_threshold: float
    recording: str
    frames: str
    versions: dict[str, str]
    code: str
    code_commit: str | None

    def matches(self, found: Mapping[str, Any]) -> bool:
        """Whether what `plain` gave once means the same as this."""
        return _without_commit(found) == _without_commit(self.plain())

    def plain(self) -> dict[str, Any]:
        """As JSON gives it back."""
        return json.loads(json.dumps(asdict(self) | {"format": PSEUDO_LABEL_VERSION}))


@dataclass(frozen=True, eq=False)
class FrameBoxes:
    """What the teacher sees in one frame, best score first.

    Attributes:
        name: of the frame.
        boxes_lidar: (N, 7) float32, geometric centre, in the lidar frame that networks take this frame in.
        scores: (N,) float32 in 0..1.
        labels: (N,) int64 class index.
    """

    name: str
    boxes_lidar: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @classmethod
    def rounded(cls, name: str, boxes_lidar: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> FrameBoxes:
        """As they are written and read."""
        boxes, rounded_scores = (np.round(np.asarray(x, dtype=np.float64), DECIMALS) for x in (boxes_lidar, scores))
        return cls(
            name,
            boxes.reshape(-1, 7).astype(np.float32),
            rounded_scores.astype(np.float32),
            np.asarray(labels, dtype=np.int64),
        )

    def certain(self, thresholds: np.ndarray) -> np.ndarray:
        """(N,) bool: boxes that are labels, by the threshold per class index (K,)."""
        return self.scores >= thresholds[self.labels].astype(np.float32)

    def plain(self, class_names: Sequence[str]) -> dict[str, Any]:
        """As JSON gives it back."""
        boxes = [
            {"class": class_names[label], "score": _number(score), "box_lidar": [_number(value) for value in box]}
            for box, score, label in zip(self.boxes_lidar, self.scores, self.labels)
        ]
        return {"name": self.name, "boxes": boxes}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any], class_names: Sequence[str]) -> FrameBoxes:
        """The inverse of `plain`.

        Raises:
            KeyError, TypeError, ValueError: not what `plain` gives.
        """
        boxes = values["boxes"]
        arrays = np.array([box["box_lidar"] for box in boxes], dtype=np.float64).reshape(len(boxes), 7)
        scores = np.array([box["score"] for box in boxes], dtype=np.float64)
        if not (np.isfinite(arrays).all() and ((scores >= 0) & (scores <= 1)).all()):
            raise ValueError(f"frame {values['name']}: a box or score that is not finite or not in range")
        labels = [list(class_names).index(box["class"]) for box in boxes]
        return cls.rounded(str(values["name"]), arrays, scores, np.array(labels, dtype=np.int64))


def _number(value: Any) -> float:
    return round(float(value), DECIMALS)


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """The labels of one recording.

    Attributes:
        provenance: what made them.
        frames: in the order of the frame cache.
    """

    provenance: Provenance
    frames: tuple[FrameBoxes, ...]

    @cached_property
    def thresholds(self) -> np.ndarray:
        """(K,) float64 in class order."""
        return np.array([self.provenance.thresholds[name] for name in self.provenance.class_names])

    def counts(self) -> dict[str, dict[str, float]]:
        """Per class: `labels`, `uncertain` boxes and the `highest_score` seen (0 without any box)."""
        scores = np.concatenate([np.zeros(0, np.float32), *(frame.scores for frame in self.frames)])
        labels = np.concatenate([np.zeros(0, np.int64), *(frame.labels for frame in self.frames)])
        certain = np.concatenate([np.zeros(0, bool), *(frame.certain(self.thresholds) for frame in self.frames)])
        return {
            name: {
                "labels": int((certain & (labels == index)).sum()),
                "uncertain": int((~certain & (labels == index)).sum()),
                "highest_score": _number(scores[labels == index].max(initial=0.0)),
            }
            for index, name in enumerate(self.provenance.class_names)
        }

    def digest(self) -> str:
        """SHA-256 of what is learned from: boxes, scores and classes of every frame, and the thresholds."""
        names = self.provenance.class_names
        facts = [self.provenance.thresholds, [frame.plain(names) for frame in self.frames]]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def frames_without_label(self) -> int:
        """Number of frames in which no box is certain; they teach background."""
        return sum(not frame.certain(self.thresholds).any() for frame in self.frames)


def sum_counts(recordings: Sequence[PseudoLabels]) -> dict[str, dict[str, float]]:
    """The counts of several recordings together, as `PseudoLabels.counts`; empty without any."""
    total: dict[str, dict[str, float]] = {}
    for counts in (labels.counts() for labels in recordings):
        for name, count in counts.items():
            known = total.setdefault(name, dict.fromkeys(count, 0))
            for key, value in count.items():
                known[key] = max(known[key], value) if key == "highest_score" else known[key] + value
    return total


class PseudoLabelledFrames(Sequence[TrainingFrame]):
    """The frames of an unlabelled recording with the teacher's boxes as their labels.

    Raises:
        SourceError: the labels are of other frames.
    """

    def __init__(self, cache: FrameCache, labels: PseudoLabels) -> None:
        if len(cache) != len(labels.frames):
            raise SourceError(f"{cache.folder}: expected labels of {len(cache)} frames, got {len(labels.frames)}")
        self.cache = cache
        self.labels = labels

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: Any) -> TrainingFrame:
        return labelled_by(self.cache[index], self.labels.frames[index], self.labels.thresholds)


def labelled_by(frame: TrainingFrame, found: FrameBoxes, thresholds: np.ndarray) -> TrainingFrame:
    """The frame with the teacher's boxes as labels; uncertain ones become boxes to ignore.

    Raises:
        SourceError: the boxes are of another frame.
    """
    if frame.prepared.name != found.name:
        raise SourceError(f"pseudo labels: expected those of frame {frame.prepared.name}, got those of {found.name}")
    labels = np.where(found.certain(thresholds), found.labels, IGNORE_LABEL)
    prepared = replace(frame.prepared, boxes_lidar=found.boxes_lidar, labels=labels, label_scores=found.scores)
    return replace(frame, prepared=prepared)


def class_thresholds(settings: SemiSupervisedConfig, class_names: Sequence[str]) -> dict[str, float]:
    """The threshold of every class."""
    return {name: settings.threshold_of(name) for name in class_names}


def save_pseudo_labels(path: Path, labels: PseudoLabels) -> None:
    """Write them whole or not at all, one line per frame.

    Raises:
        OutputError: the place cannot be written.
    """
    head = {"provenance": labels.provenance.plain(), "counts": labels.counts()}
    frames = [json.dumps(frame.plain(labels.provenance.class_names)) for frame in labels.frames]
    text = json.dumps(head, indent=1)[:-2] + ',\n "frames": [\n  ' + ",\n  ".join(frames) + "\n ]\n}\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _without_commit(provenance: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in provenance.items() if key != "code_commit"}


def load_pseudo_labels(path: Path, provenance: Provenance) -> PseudoLabels | None:
    """Read what `save_pseudo_labels` wrote; None where something else made the labels, or there are none.

    Raises:
        SourceError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not provenance.matches(content["provenance"]):
            return None
        frames = tuple(FrameBoxes.from_plain(frame, provenance.class_names) for frame in content["frames"])
        labels = PseudoLabels(provenance, frames)
        if content["counts"] != labels.counts():
            raise ValueError(f"counts {content['counts']} are not those of its boxes, {labels.counts()}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path}: the pseudo labels are damaged ({error}); delete the file and run again") from error
    return labels
