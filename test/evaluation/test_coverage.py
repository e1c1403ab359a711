"""Coverage of position covariances: closed forms, known distributions, singular and missing covariances."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.evaluation.coverage import (
    CHI_SQUARE_95,
    chi_square_cdf,
    coverage_section,
    squared_distances,
    wilson_interval,
)

HONEST = np.diag([0.1, 0.2, 1.0]) ** 2


def car(x: float, z: float, **other) -> dict:
    return {"name": "Car", "x": x, "z": z, "score": 0.5, **other}


def noisy_frames(make_frame, count: int, covariance: np.ndarray) -> list:
    """A car 30 m ahead per frame, found with errors of covariance `HONEST`; `covariance` is what is claimed."""
    errors = np.random.default_rng(0).multivariate_normal(np.zeros(3), HONEST, count)
    truth = [car(0, 30, y=0.75)]
    return [make_frame(truth, [car(x, 30 + z, y=0.75 + y)], covariance[None]) for x, y, z in errors]


def test_an_honest_covariance_covers_what_it_says(make_frame) -> None:
    got = coverage_section(noisy_frames(make_frame, 3000, HONEST), ["Car"])["Car"]
    assert got["count"] == 3000
    assert got["observed"] == pytest.approx(got["levels"], abs=0.03)
    low, high = got["interval_95"]
    assert low < 0.95 < high and low < got["inside_95"] < high
    assert got["scale_to_95"] == pytest.approx(1, abs=0.04)
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert got["along_ray_inside_95"] == pytest.approx(0.95, abs=0.02)
    assert got["median_sigma_along_ray_m"] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("claimed", [0.5, 2.0])
def test_sigmas_too_small_or_large_are_scaled_back(make_frame, claimed: float) -> None:
    got = coverage_section(noisy_frames(make_frame, 2000, claimed**2 * HONEST), ["Car"])["Car"]
    assert got["scale_to_95"] == pytest.approx(1 / claimed, rel=0.05)
    assert (got["inside_95"] < 0.7) if claimed < 1 else (got["inside_95"] > 0.99)


def test_the_scale_is_the_smallest_that_covers_95_percent(make_frame) -> None:
    frames = noisy_frames(make_frame, 60, HONEST)
    scale = coverage_section(frames, ["Car"])["Car"]["scale_to_95"]
    for factor, enough in ((1.0001, True), (0.9999, False)):
        grown = [type(f)(f.name, f.truth, f.results, f.covariance_cam * (scale * factor) ** 2) for f in frames]
        assert (coverage_section(grown, ["Car"])["Car"]["inside_95"] >= 0.95) == enough


def test_a_covariance_of_depth_alone_is_judged_on_depth_alone(make_frame) -> None:
    got = coverage_section(noisy_frames(make_frame, 2000, np.diag([0.0, 0.0, 1.0])), ["Car"])["Car"]
    assert got["observed"] == pytest.approx(got["levels"], abs=0.04)
    assert got["scale_to_95"] == pytest.approx(1, abs=0.05)


def test_results_without_covariance_are_left_out(make_frame) -> None:
    truth = [car(0, 30), car(9, 30), car(-9, 30)]
    covariance = np.array([HONEST, np.zeros((3, 3)), np.full((3, 3), np.nan)])
    frames = [make_frame(truth, truth, covariance), make_frame(truth, truth)]
    got = coverage_section(frames, ["Car", "Cyclist"])
    assert (got["Car"]["count"], got["Car"]["inside_95"], got["Car"]["scale_to_95"]) == (1, 1.0, 0.0)
    nothing = ("inside_95", "interval_95", "scale_to_95", "along_ray_inside_95", "median_sigma_along_ray_m")
    assert got["Cyclist"]["count"] == 0 and got["Cyclist"]["observed"] == [None] * len(got["Cyclist"]["levels"])
    assert [got["Cyclist"][name] for name in nothing] == [None] * 5


def test_no_covariance_no_section(make_frame) -> None:
    assert coverage_section([], ["Car"]) is None
    assert coverage_section([make_frame([car(0, 9)], [car(0, 9)])], ["Car"]) is None
    assert coverage_section([make_frame([car(0, 9)], [car(0, 9)], np.zeros((1, 3, 3)))], ["Car"]) is None


def test_results_below_the_score_do_not_count(make_frame) -> None:
    frames = noisy_frames(make_frame, 5, HONEST)
    assert coverage_section(frames, ["Car"], score=0.6)["Car"]["count"] == 0
    assert coverage_section(frames, ["Car"], score=0.4)["Car"]["count"] == 5


def test_squared_distance_by_hand() -> None:
    error = np.array([[1.0, 2.0, 3.0]] * 4)
    covariance = np.array([np.diag([1.0, 4.0, 9.0]), np.diag([1.0, 0.0, 9.0]), np.zeros((3, 3)), -np.eye(3)])
    squared, rank = squared_distances(error, covariance)
    assert squared == pytest.approx([3, 2, 0, 0])
    assert rank.tolist() == [3, 2, 0, 0]


@given(st.lists(st.floats(-1, 1), min_size=9, max_size=9), st.floats(0.1, 2))
def test_squared_distance_is_that_of_the_inverse(numbers: list[float], floor: float) -> None:
    root = np.array(numbers).reshape(3, 3)
    covariance, error = root @ root.T + floor * np.eye(3), np.array([0.3, -1.0, 2.0])
    squared, rank = squared_distances(error[None], covariance[None])
    assert rank[0] == 3
    assert squared[0] == pytest.approx(error @ np.linalg.inv(covariance) @ error)


def test_chi_square_against_tables_and_its_own_density() -> None:
    degrees = np.array([1, 2, 3])
    assert chi_square_cdf(np.array(CHI_SQUARE_95[1:]), degrees) == pytest.approx([0.95] * 3, abs=1e-12)
    assert chi_square_cdf(np.zeros(3), degrees).tolist() == [0, 0, 0]
    x = np.linspace(0, 5, 20001)
    middle = 0.5 * (x[1:] + x[:-1])
    density = np.sqrt(middle / (2 * math.pi)) * np.exp(-0.5 * middle)
    assert chi_square_cdf(np.array([5.0]), np.array([3]))[0] == pytest.approx((density * np.diff(x)).sum(), abs=1e-5)


def test_wilson_interval_by_hand() -> None:
    """Ends of the interval solve (p - share)^2 = z^2 p (1 - p) / n."""
    for hits, count in ((19, 20), (0, 7), (7, 7), (50, 100)):
        low, high = wilson_interval(hits, count)
        for p in (low, high):
            assert (p - hits / count) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / count, abs=1e-6)
        assert 0 <= low < high <= 1
