"""nuScenes-style metrics: hand numbers, and nuscenes-devkit's own functions where it is installed.

The devkit is no test dependency: its release 1.2 asks for numpy < 2 and Shapely 2.0, and older ones for Jupyter and a
second OpenCV. It works with newer numpy all the same: `pip install --no-deps nuscenes-devkit pyquaternion cachetools`
and `pip install scikit-learn`.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from monotakd_ros.evaluation.nuscenes import ERRORS, LIMITS_M, nuscenes_section

DEVKIT_NAMES = {"Car": "car", "Pedestrian": "pedestrian", "Cyclist": "bicycle"}
RANGE_M = {"car": 50, "pedestrian": 40, "bicycle": 40}


def car(x: float, z: float, score: float = 0.5, **other) -> dict:
    return {"name": "Car", "x": x, "z": z, "score": score, **other}


def metrics(frame, class_name: str = "Car") -> dict:
    return nuscenes_section([frame], [class_name])["classes"][class_name]


def test_a_perfect_detector(make_frame) -> None:
    got = nuscenes_section([make_frame([car(0, 20), car(5, 30)], [car(0, 20, 0.9), car(5, 30, 0.8)])], ["Car"])
    assert got["classes"]["Car"]["ap"] == pytest.approx({"0.5": 1, "1.0": 1, "2.0": 1, "4.0": 1})
    assert [got["mean_ap"], got["mate_m"], got["mase"], got["maoe_rad"]] == pytest.approx([1, 0, 0, 0])
    assert got["nds_without_velocity_attribute"] == pytest.approx(1)


def test_one_of_two_found_1_5_m_off(make_frame) -> None:
    """Precision is 1 up to recall 0.5: 40 of the 90 recall positions above 0.1."""
    result = car(0, 21.5, hwl=(1.5, 1.6, 2.0), yaw=-0.5)
    got = nuscenes_section([make_frame([car(0, 20), car(5, 30)], [result])], ["Car"])
    of_car = got["classes"]["Car"]
    assert of_car["ap"] == pytest.approx({"0.5": 0, "1.0": 0, "2.0": 40 / 90, "4.0": 40 / 90})
    assert [of_car[name] for name in ("mean_ap", *ERRORS)] == pytest.approx([20 / 90, 1.5, 0.5, 0.5])
    assert of_car["n_gt"] == 2
    assert got["nds_without_velocity_attribute"] == pytest.approx((5 * 20 / 90 + 0 + 0.5 + 0.5) / 8)


def test_orientation_error_is_the_short_way_round(make_frame) -> None:
    assert metrics(make_frame([car(0, 20, yaw=3.1)], [car(0, 20, yaw=-3.1)]))["aoe_rad"] == pytest.approx(
        2 * np.pi - 6.2
    )


def test_of_equal_scores_the_last_goes_first(make_frame) -> None:
    """As in the devkit: the worse result is last in the file and takes the car."""
    assert metrics(make_frame([car(0, 20)], [car(0, 20), car(0, 21)]))["ate_m"] == pytest.approx(1)


def test_a_result_takes_the_nearest_free_car_only_within_the_limit(make_frame) -> None:
    frame = make_frame([car(0, 20), car(0, 23)], [car(0, 21, 0.9), car(0, 20.8, 0.8)])
    assert metrics(frame)["ap"]["2.0"] == pytest.approx((39 * 1.0 + (0.5 - 0.1) / 0.9) / 90)  # 1/2 from recall 0.5
    assert metrics(frame)["ap"]["4.0"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "z", "counted"),
    [("Car", 49.9, 1), ("Car", 50.1, 0), ("Pedestrian", 39.9, 1), ("Pedestrian", 40.1, 0), ("Cyclist", 40.1, 0)],
)
def test_ranges(make_frame, name: str, z: float, counted: int) -> None:
    assert metrics(make_frame([{"name": name, "x": 0, "z": z}], []), name)["n_gt"] == counted


@pytest.mark.parametrize(("name", "counts_as"), [("Van", "Car"), ("Person_sitting", "Pedestrian")])
def test_neighbouring_ground_truth_counts(make_frame, name: str, counts_as: str) -> None:
    truth, result = {"name": name, "x": 0, "z": 20}, {"name": counts_as, "x": 0, "z": 20, "score": 0.5}
    assert metrics(make_frame([truth], [result]), counts_as)["mean_ap"] == pytest.approx(1)


def test_what_the_image_does_not_show_and_what_has_no_place_is_left_out(make_frame) -> None:
    truth = [car(0, 20), car(0, -5, bbox=(0, 0, 0, 0)), car(9, 9, hwl=(-1, -1, -1))]
    results = [car(0, 20, 0.5), car(-1000, -1000, 0.9, y=-1000), car(3, 20, 0.9, hwl=(1.5, 0, 4))]
    got = metrics(make_frame(truth, results))
    assert (got["n_gt"], got["mean_ap"]) == (1, pytest.approx(1))


def test_without_ground_truth_there_is_no_value(make_frame) -> None:
    got = nuscenes_section(
        [make_frame([car(0, 20)], [{"name": "Cyclist", "x": 0, "z": 9, "score": 1}])], ["Car", "Cyclist"]
    )
    assert got["classes"]["Cyclist"] == {
        "ap": dict.fromkeys(("0.5", "1.0", "2.0", "4.0")),
        "mean_ap": None,
        "ate_m": None,
        "ase": None,
        "aoe_rad": None,
        "n_gt": 0,
    }
    assert got["classes"]["Car"]["mean_ap"] == got["mean_ap"] == 0.0
    assert (got["mate_m"], got["nds_without_velocity_attribute"]) == (1.0, 0.0)


def test_nothing_anywhere() -> None:
    means = ("mean_ap", "mate_m", "mase", "maoe_rad", "nds_without_velocity_attribute")
    assert nuscenes_section([], []) == {"classes": {}, **dict.fromkeys(means)}


def devkit_boxes(common, detection, sides: list, names: dict[str, str]):
    """KITTI frames as the devkit's boxes: x ahead, y left; those of other classes or out of range are left out."""
    boxes = common.EvalBoxes()
    for index, side in enumerate(sides):
        rows = [row for row, name in enumerate(side.names) if name in names]
        found = [devkit_box(detection, side, row, names[side.names[row]], str(index)) for row in rows]
        boxes.add_boxes(str(index), [box for box in found if box.ego_dist < RANGE_M[box.detection_name]])
    return boxes


def devkit_box(detection, side, row: int, name: str, token: str):
    (height, width, length), (x, y, z) = side.hwl[row], side.location_cam[row]
    heading = -side.rotation_y[row] - np.pi / 2
    return detection.DetectionBox(
        sample_token=token,
        translation=(z, -x, 0.5 * height - y),
        ego_translation=(z, -x, 0.0),
        size=(width, length, height),
        rotation=(np.cos(0.5 * heading), 0.0, 0.0, np.sin(0.5 * heading)),
        detection_name=name,
        detection_score=float(side.score[row]),
    )


def test_the_section_is_plain_and_finite(random_frames) -> None:
    section = nuscenes_section(random_frames(0, 50), ["Car", "Pedestrian", "Cyclist", "Tram"])
    assert json.loads(json.dumps(section, allow_nan=False)) == section
    assert 0 < section["nds_without_velocity_attribute"] < 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise_m", [0.3, 1.5])
def test_equals_the_devkit(random_frames, seed: int, noise_m: float) -> None:
    algo = pytest.importorskip("nuscenes.eval.detection.algo", reason="nuscenes-devkit is not installed")
    common = pytest.importorskip("nuscenes.eval.common.data_classes")
    utils = pytest.importorskip("nuscenes.eval.common.utils")
    detection = pytest.importorskip("nuscenes.eval.detection.data_classes")
    frames = random_frames(seed, (1, 5, 60, 120)[seed], noise_m)
    got = nuscenes_section(frames, list(DEVKIT_NAMES))["classes"]
    neighbours = {"Van": "car", "Person_sitting": "pedestrian"}
    truth = devkit_boxes(common, detection, [frame.truth for frame in frames], DEVKIT_NAMES | neighbours)
    results = devkit_boxes(common, detection, [frame.results for frame in frames], DEVKIT_NAMES)
    for ours, theirs in DEVKIT_NAMES.items():
        if not got[ours]["n_gt"]:
            continue
        data = {m: algo.accumulate(truth, results, theirs, utils.center_distance, m) for m in LIMITS_M}
        ap = {str(limit): algo.calc_ap(data[limit], 0.1, 0.1) for limit in LIMITS_M}
        assert got[ours]["ap"] == pytest.approx(ap, abs=1e-9)
        errors = [algo.calc_tp(data[2.0], 0.1, name) for name in ("trans_err", "scale_err", "orient_err")]
        assert [got[ours][name] for name in ERRORS] == pytest.approx(errors, abs=1e-9)
