"""Errors of paired boxes: signs and angles by hand, bands, points and empty sets."""

from __future__ import annotations

import json

import numpy as np
import pytest

from monotakd_ros.evaluation.errors import MAX_POINTS, errors_section

STATISTICS = {
    "count",
    "along_ray_bias_m",
    "along_ray_mean_m",
    "along_ray_median_abs_m",
    "along_ray_p90_abs_m",
    "along_ray_relative_median",
    "depth_bias_m",
    "depth_median_abs_m",
    "across_ray_median_abs_m",
    "height_bias_m",
    "yaw_median_abs_deg",
    "yaw_flipped_share",
    "yaw_axis_median_abs_deg",
    "length_bias_m",
    "width_bias_m",
    "box_height_bias_m",
}


def car(x: float, z: float, score: float = 0.5, **other) -> dict:
    return {"name": "Car", "x": x, "z": z, "score": score, **other}


def of_all(frame) -> dict:
    return errors_section([frame], ["Car"])["Car"]["all"]


def test_too_far_is_positive(make_frame) -> None:
    """The truth's centre is at (0, 0, 20): 3 m more depth are 3 m along the ray."""
    got = of_all(make_frame([car(0, 20, y=0.75)], [car(0, 23, y=0.75)]))
    assert set(got) == STATISTICS
    names = ("along_ray_bias_m", "along_ray_mean_m", "along_ray_median_abs_m", "along_ray_p90_abs_m", "depth_bias_m")
    assert [got[name] for name in names] == pytest.approx([3] * 5)
    assert got["along_ray_relative_median"] == pytest.approx(3 / 20)
    assert [got[name] for name in ("across_ray_median_abs_m", "height_bias_m")] == pytest.approx([0, 0], abs=1e-12)


def test_too_near_at_the_side(make_frame) -> None:
    """From (12, 16) to (9, 12), 5 m of 20: the depth error is only 4 m of them, and nothing is across."""
    got = of_all(make_frame([car(12, 16, y=0.75)], [car(9, 12, y=0.75)]))
    assert [got["along_ray_bias_m"], got["depth_bias_m"]] == pytest.approx([-5, -4])
    assert [got["depth_median_abs_m"], got["along_ray_relative_median"]] == pytest.approx([4, 0.25])
    assert got["across_ray_median_abs_m"] == pytest.approx(0, abs=1e-12)


def test_across_the_ray(make_frame) -> None:
    """From (12, 16) by (0.8, -0.6): at a right angle, which is no error along the ray."""
    got = of_all(make_frame([car(12, 16, y=0.75)], [car(12.8, 15.4, y=0.75)]))
    assert [got["across_ray_median_abs_m"], got["along_ray_bias_m"]] == pytest.approx([1, 0], abs=1e-12)


def test_the_ray_leads_to_the_centre_in_space(make_frame) -> None:
    """The true centre (0, 3, 4) is 5 m away; a result 1 m deeper and as high is 0.8 m further along the ray."""
    got = of_all(make_frame([car(0, 4, y=3.75)], [car(0, 5, y=3.75)]))
    assert [got["along_ray_bias_m"], got["along_ray_relative_median"]] == pytest.approx([0.8, 0.2])


def test_height_and_sizes(make_frame) -> None:
    """Equal bottoms, 0.4 m taller: the centre is 0.2 m too high. Length 0.5 m short, width 0.1 m too much."""
    got = of_all(make_frame([car(0, 20)], [car(0, 20, hwl=(1.9, 1.7, 3.5))]))
    names = ("height_bias_m", "box_height_bias_m", "width_bias_m", "length_bias_m")
    assert [got[name] for name in names] == pytest.approx([0.2, 0.4, 0.1, -0.5])


@pytest.mark.parametrize(
    ("true_yaw", "yaw", "error", "axis", "flipped"),
    [
        (0.0, 0.5, np.rad2deg(0.5), np.rad2deg(0.5), 0),
        (3.0, -3.0, 360 - np.rad2deg(6), 360 - np.rad2deg(6), 0),
        (0.0, np.pi, 180, 0, 1),
        (-1.0, 2.0, np.rad2deg(3), 180 - np.rad2deg(3), 1),
        (-10.0, 10.0, np.rad2deg(20 - 6 * np.pi), np.rad2deg(20 - 6 * np.pi), 0),
    ],
)
def test_yaw(make_frame, true_yaw: float, yaw: float, error: float, axis: float, flipped: float) -> None:
    got = of_all(make_frame([car(0, 20, yaw=true_yaw)], [car(0, 20, yaw=yaw)]))
    names = ("yaw_median_abs_deg", "yaw_axis_median_abs_deg", "yaw_flipped_share")
    assert [got[name] for name in names] == pytest.approx([error, axis, flipped], abs=1e-9)


def test_distance_bands_hold_each_pair_once(make_frame) -> None:
    distances = [5, 10, 19, 35, 59, 60, 90]
    rows = [car(0, z) for z in distances]
    bands = errors_section([make_frame(rows, rows)], ["Car"])["Car"]["by_distance"]
    edges = [(band["from_m"], band["to_m"]) for band in bands]
    assert edges == [(0, 10), (10, 20), (20, 30), (30, 40), (40, 60), (60, None)]
    assert [band["count"] for band in bands] == [1, 2, 0, 1, 1, 2]
    assert all(set(band) > STATISTICS for band in bands)
    assert all(bands[2][name] is None for name in STATISTICS - {"count"})


def test_results_below_the_operating_score_do_not_count(make_frame) -> None:
    """Best F1 is at 0.9: the result of 0.2 comes with three wrong ones above it."""
    results = [car(0, 21, 0.9), *[car(-20, 20 + i, 0.5) for i in range(3)], car(9, 25, 0.2)]
    frame = make_frame([car(0, 20), car(9, 20)], results)
    got = errors_section([frame], ["Car"])["Car"]
    assert (got["operating_point"]["score"], got["all"]["count"], len(got["points"])) == (0.9, 1, 1)
    got = errors_section([frame], ["Car"], score=0.1)["Car"]
    assert (got["operating_point"]["wrong"], got["all"]["count"]) == (3, 2)


def test_points_are_a_spread_subset_of_the_pairs(make_frame) -> None:
    count = 2 * MAX_POINTS + 7
    frames = [make_frame([car(0, 20, y=0.75)], [car(0, 20 + i / count, y=0.75)]) for i in range(count)]
    points = errors_section(frames, ["Car"])["Car"]["points"]
    assert len(points) == MAX_POINTS
    assert points[0] == pytest.approx([20, 0]) and points[-1] == pytest.approx([20, (count - 1) / count])
    assert np.diff([error for _, error in points]).max() < 3.5 / count
    assert points == errors_section(frames, ["Car"])["Car"]["points"]


def test_nothing_to_measure(make_frame) -> None:
    for frames in ([], [make_frame([], [])], [make_frame([car(0, 20)], [])]):
        got = errors_section(frames, ["Car", "Cyclist"])["Cyclist"]
        assert got["all"] == dict.fromkeys(STATISTICS) | {"count": 0}
        assert (got["points"], len(got["by_distance"]), got["operating_point"]["score"]) == ([], 6, None)
    assert errors_section([], []) == {}


def test_the_section_is_plain_and_finite(random_frames) -> None:
    section = errors_section(random_frames(0, 50), ["Car", "Pedestrian", "Cyclist", "Tram"])
    assert json.loads(json.dumps(section, allow_nan=False)) == section
    assert min(section[name]["all"]["count"] for name in ("Car", "Pedestrian", "Cyclist")) > 0
