"""KITTI's text formats: labels and calibration, to and from our types.

KITTI's encoding (h, w, l, bottom centre, rotation_y; `P2`, `R0_rect`, `Tr_velo_to_cam`) stays in the KITTI
files of this room. Numbers are written with enough digits to come back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from monotakd_ros.errors import CalibrationError, LabelError
from monotakd_ros.frame import DONT_CARE, Labels3D
from monotakd_ros.geometry.boxes import alpha_from_rotation_y, kitti_from_lidar_boxes, lidar_boxes_from_kitti
from monotakd_ros.geometry.transforms import make_transform

NUM_LABEL_FIELDS = 15
"""type, truncation, occlusion, alpha, 2D box (4), h w l, bottom centre x y z, rotation_y; a 16th is a score."""

SCORE_FIELD = NUM_LABEL_FIELDS - 1
"""Index of the score among the words after the type."""
UNKNOWN = -1.0
KITTI_TYPES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
_SPELLING = {name.lower(): name for name in (*KITTI_TYPES, DONT_CARE)}


class LabelLine(NamedTuple):
    """One object of a label or result file.

    Attributes:
        where: file and line, for messages.
        name: the type; one of `KITTI_TYPES` or DontCare in KITTI's spelling, any other as it is written.
        words: what follows the type, as written.
        numbers: the same as numbers: truncation, occlusion, alpha, left, top, right, bottom, h, w, l, x, y, z,
            rotation_y and, where given, the score.
    """

    where: str
    name: str
    words: list[str]
    numbers: list[float]

    @property
    def is_dont_care(self) -> bool:
        """Whether it marks an image region."""
        return self.name == DONT_CARE


def kitti_type(name: str) -> str:
    """KITTI's spelling of a type, whose case does not matter in the benchmark; other names come back unchanged."""
    return _SPELLING.get(name.lower(), name)


def label_lines(text: str, where: str) -> Iterator[LabelLine]:
    """The objects of a label or result file, in file order, numbers as they are; empty lines are skipped.

    Raises:
        LabelError: a line has neither 15 nor 16 fields, or something else than finite numbers after the type.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if fields:
            place = f"{where}, line {number}"
            yield LabelLine(place, kitti_type(fields[0]), fields[1:], _numbers_after_type(fields, place))


def ground_truth_lines(text: str, where: str) -> Iterator[LabelLine]:
    """`label_lines` of a label file, with the rules for ground truth.

    A number after rotation_y is dropped. Truncation is as written; see `is_tracking_flag`.

    Raises:
        LabelError: as `label_lines`, or an object that is not DontCare has a size <= 0, or an occlusion is no whole
            number.
    """
    for line in label_lines(text, where):
        numbers = line.numbers[: NUM_LABEL_FIELDS - 1]
        if not line.is_dont_care and min(numbers[7:10]) <= 0:
            raise LabelError(f"{line.where}: expected height, width, length > 0, got {numbers[7:10]}")
        if not numbers[1].is_integer():
            raise LabelError(f"{line.where}: expected a whole number as occlusion, got {line.words[1]!r}")
        yield line._replace(numbers=numbers)


def is_tracking_flag(truncation: str) -> bool:
    """Whether truncation is written as the tracking benchmark's flag above 0 ("1", "2"), which says only "partly".

    The object benchmark writes a share, "0.00" to "1.00".
    """
    return truncation.isdigit() and int(truncation) > 0


def has_shares(written: Iterable[str]) -> bool:
    """Whether any truncation is written with decimals: then whole numbers beside it are shares, too."""
    return any(not word.lstrip("+-").isdigit() for word in written)


def labels_from_text(text: str, cam_T_lidar: np.ndarray, where: str) -> Labels3D:
    """Parse the lines of a `label_2` file. A tracking flag as truncation becomes -1, unknown; see `has_shares`.

    A number after rotation_y is the label's score when every object has one in 0..1, as those that a detector made;
    else it means nothing.

    Args:
        text: the file's content.
        cam_T_lidar: (4, 4) extrinsic that carries the boxes into the lidar frame.
        where: file (or topic and stamp), for messages.

    Raises:
        LabelError: as `ground_truth_lines`.
    """
    lines = list(ground_truth_lines(text, where))
    objects = [line for line in lines if not line.is_dont_care]
    dont_care = [line.numbers[3:7] for line in lines if line.is_dont_care]
    table = np.array([line.numbers for line in objects], dtype=np.float64).reshape(-1, NUM_LABEL_FIELDS - 1)
    written = [line.words[0] for line in objects]
    flags = np.array([is_tracking_flag(word) and not has_shares(written) for word in written], dtype=bool)
    return Labels3D(
        boxes_lidar=lidar_boxes_from_kitti(table[:, 7:10], table[:, 10:13], table[:, 13], cam_T_lidar),
        class_names=tuple(line.name for line in objects),
        truncation=np.where(flags, UNKNOWN, table[:, 0]),
        occlusion=table[:, 1].astype(np.int64),
        boxes_img_px=np.where(_has_box_img(table[:, 3:7])[:, None], table[:, 3:7], np.nan),
        dont_care_px=np.array(dont_care, dtype=np.float64).reshape(-1, 4),
        scores=_label_scores(objects),
    )


def text_from_labels(labels: Labels3D, cam_T_lidar: np.ndarray) -> str:
    """Write labels as the lines of a `label_2` file; inverse of `labels_from_text`.

    A 2D box that is not given (NaN) is written as -1 -1 -1 -1. Scores, where there are any, come last.
    """
    hwl, bottom_center_cam, rotation_y = kitti_from_lidar_boxes(labels.boxes_lidar, cam_T_lidar)
    alpha = alpha_from_rotation_y(rotation_y, bottom_center_cam)
    lines = []
    for index, name in enumerate(labels.class_names):
        numbers = [
            alpha[index],
            *np.nan_to_num(labels.boxes_img_px[index], nan=-1.0),
            *hwl[index],
            *bottom_center_cam[index],
            rotation_y[index],
        ]
        truncation, occlusion = float(labels.truncation[index]), labels.occlusion[index]
        score = "" if labels.scores is None else f" {float(labels.scores[index])!r}"
        lines.append(f"{name} {truncation!r} {occlusion} " + " ".join(f"{number:.9f}" for number in numbers) + score)
    for region in labels.dont_care_px:
        box = " ".join(f"{number:.6f}" for number in region)
        lines.append(f"DontCare -1 -1 -10 {box} -1 -1 -1 -1000 -1000 -1000 -10")
    return "".join(f"{line}\n" for line in lines)


def matrices_from_text(text: str, where: str) -> dict[str, np.ndarray]:
    """Parse `key: numbers` lines of a KITTI calibration file; values that are no numbers are left out.

    Raises:
        CalibrationError: a line is not `key: values`; the message names file and line.
    """
    result = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        key, separator, values = line.partition(":")
        if not separator:
            raise CalibrationError(f"{where}, line {number}: expected 'key: numbers', got {line.strip()[:60]!r}")
        numbers = _numbers_or_none(values.split())
        if numbers is not None:
            result[key.strip()] = numbers
    return result


def words_from_text(text: str) -> dict[str, str]:
    """All `key: value` lines as text."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def matrix(matrices: dict[str, np.ndarray], key: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """The entry `key` in `shape`.

    Raises:
        CalibrationError: the key is missing, or has another number of values, or one that is not finite.
    """
    if key not in matrices:
        raise CalibrationError(f"{where}: expected a line '{key}:' with numbers, found {sorted(matrices)}")
    values = matrices[key]
    if values.size != np.prod(shape) or not np.isfinite(values).all():
        raise CalibrationError(f"{where}: {key}: expected {int(np.prod(shape))} finite numbers, got {values.tolist()}")
    return values.reshape(shape)


def rigid(matrices: dict[str, np.ndarray], key: str, where: str) -> np.ndarray:
    """The 3x4 entry `key` as a (4, 4) transform."""
    rows = matrix(matrices, key, (3, 4), where)
    return make_transform(rows[:, :3], rows[:, 3])


def format_matrix(values: np.ndarray) -> str:
    """Numbers in one line, row-major, each with the digits that bring it back bit for bit."""
    return " ".join(repr(float(value)) for value in np.asarray(values).ravel())


def calibration_text(img_P_cam: np.ndarray, cam_T_lidar: np.ndarray | None) -> str:
    """A KITTI object calibration file: our camera as all of P0 to P3, rectification the identity.

    Without a LiDAR the line `Tr_velo_to_cam` is left out.
    """
    lines = [f"P{index}: {format_matrix(img_P_cam)}" for index in range(4)]
    lines.append(f"R0_rect: {format_matrix(np.eye(3))}")
    if cam_T_lidar is not None:
        lines.append(f"Tr_velo_to_cam: {format_matrix(cam_T_lidar[:3])}")
        lines.append(f"Tr_imu_to_velo: {format_matrix(np.eye(4)[:3])}")
    return "".join(f"{line}\n" for line in lines)


def _numbers_after_type(fields: list[str], where: str) -> list[float]:
    if len(fields) not in (NUM_LABEL_FIELDS, NUM_LABEL_FIELDS + 1):
        expected = f"{NUM_LABEL_FIELDS} fields ({NUM_LABEL_FIELDS + 1} with a score)"
        raise LabelError(f"{where}: expected {expected}, got {len(fields)}: {' '.join(fields)[:80]!r}")
    values = _numbers_or_none(fields[1:])
    if values is None or not np.isfinite(values).all():
        raise LabelError(f"{where}: expected finite numbers after the type, got {' '.join(fields[1:])[:80]!r}")
    return values.tolist()


def _numbers_or_none(words: list[str]) -> np.ndarray | None:
    try:
        return np.array([float(word) for word in words], dtype=np.float64)
    except ValueError:
        return None


def _label_scores(objects: list[LabelLine]) -> np.ndarray | None:
    scores = [float(line.words[SCORE_FIELD]) for line in objects if len(line.words) > SCORE_FIELD]
    known = bool(objects) and len(scores) == len(objects) and all(0 <= score <= 1 for score in scores)
    return np.array(scores) if known else None


def _has_box_img(boxes_img_px: np.ndarray) -> np.ndarray:
    return ~(boxes_img_px == -1).all(axis=1)
