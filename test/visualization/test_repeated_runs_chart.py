"""The picture of an ablation's table: what is drawn where, and tables with little in them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from monotakd_ros.visualization.repeated_runs_chart import draw_repeated_runs

BLUE_OVER_RED = 60
"""By which a pixel of a gain beyond noise differs from the greys of everything else."""


def row(mean: float, gain: tuple[float, float] = (0.0, 0.0), share: float | None = None) -> dict:
    gap = None if share is None else {"share": share, "interval": [share - 0.1, share + 0.1]}
    return {
        "mean": mean,
        "by_seed": [mean - 1.0, mean + 1.0],
        "interval": [mean - 3.0, mean + 3.0],
        "gain": list(gain),
        "gap_closed": gap,
    }


def picture(figures) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(draw_repeated_runs(figures, "a table"), np.uint8), cv2.IMREAD_COLOR)


def blue(shown: np.ndarray) -> np.ndarray:
    """(N, 2) row and column of what is drawn as a gain."""
    return np.argwhere(shown[..., 0].astype(int) - shown[..., 2] > BLUE_OVER_RED)


@pytest.mark.parametrize(("gain", "is_blue"), [((4.0, 9.0), True), ((-9.0, -4.0), True), ((-1.0, 9.0), False)])
def test_a_gain_beyond_noise_is_blue(gain, is_blue):
    shown = picture({"Car strict": {"none": row(10.0), "paper": row(16.0, gain, 0.1), "teacher": {"mean": 70.0}}})
    assert (len(blue(shown)) > 0) == is_blue


def test_higher_is_further_right_and_rows_stand_in_their_order():
    def place(better: float, first: str) -> np.ndarray:
        rows = {"none": row(10.0), "paper": row(better, (1.0, 2.0)), "imd": row(12.0, (-1.0, 1.0))}
        names = ["none", *sorted(set(rows) - {"none", first}), first]
        panel = {name: rows[name] for name in names} | {"teacher": {"mean": 80.0}}
        return blue(picture({"Car strict": panel})).mean(axis=0)

    low, high, above = place(20.0, "paper"), place(50.0, "paper"), place(20.0, "imd")
    assert high[1] > low[1] + 50 and high[0] == pytest.approx(low[0], abs=3)
    assert above[0] < low[0] - 10


def test_a_panel_for_each_figure():
    panel = {"none": row(10.0), "paper": row(16.0, (4.0, 9.0)), "assistant": {"mean": 40.0}, "teacher": {"mean": 70.0}}
    two, three = (picture({str(number): panel for number in range(count)}) for count in (2, 3))
    assert three.shape[0] > two.shape[0] and len(blue(three)) > 1.2 * len(blue(two))


@pytest.mark.parametrize("figures", [{}, {"Car strict": {}}, {"Car strict": {"none": row(0.0)}}])
def test_tables_with_little_in_them(figures):
    assert picture(figures).ndim == 3
