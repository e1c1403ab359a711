"""The picture of an ablation's table: what is drawn where, and tables with little in them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from monotakd_ros.visualization.repeated_runs_chart import draw_repeated_runs

APART = 60
"""By which blue and red differ in the colours of a row beyond noise, as against the greys of everything else."""


def row(mean: float, gain: tuple[float, float] | None = (0.0, 0.0), share: float | None = None, seeds: int = 2) -> dict:
    return {
        "mean": mean,
        "by_seed": {str(seed): mean + seed for seed in range(seeds)},
        "interval": [mean - 3.0, mean + 3.0],
        "gain": None if gain is None else {"points": mean, "interval": list(gain)},
        "gap_closed": None if share is None else {"share": share, "interval": [share - 0.1, share + 0.1]},
    }


def picture(figures) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(draw_repeated_runs(figures, "a table"), np.uint8), cv2.IMREAD_COLOR)


def coloured(shown: np.ndarray, is_blue: bool = True) -> np.ndarray:
    """(N, 2) row and column of what is drawn as a gain, or as a loss."""
    difference = shown[..., 0].astype(int) - shown[..., 2]
    return np.argwhere((difference if is_blue else -difference) > APART)


@pytest.mark.parametrize(
    ("gain", "blue", "red"),
    [((4.0, 9.0), True, False), ((-9.0, -4.0), False, True), ((-1.0, 9.0), False, False), (None, False, False)],
)
def test_what_is_beyond_noise_is_coloured(gain, blue, red):
    shown = picture({"Car strict": {"none": row(10.0), "paper": row(16.0, gain, 0.1), "teacher": {"mean": 70.0}}})
    assert (len(coloured(shown)) > 0, len(coloured(shown, is_blue=False)) > 0) == (blue, red)


def test_one_seed_is_hollow():
    one, two = (
        len(coloured(picture({"Car strict": {"none": row(10.0), "paper": row(16.0, (4.0, 9.0), seeds=seeds)}})))
        for seeds in (1, 2)
    )
    assert 0 < one < two - 40


def test_higher_is_further_right_and_rows_stand_in_their_order():
    def place(better: float, last: str) -> np.ndarray:
        rows = {"none": row(10.0), "paper": row(better, (1.0, 2.0)), "imd": row(12.0, (-1.0, 1.0))}
        names = ["none", *sorted(set(rows) - {"none", last}), last]
        panel = {name: rows[name] for name in names} | {"teacher": {"mean": 80.0}}
        return coloured(picture({"Car strict": panel})).mean(axis=0)

    low, high, above = place(20.0, "paper"), place(50.0, "paper"), place(20.0, "imd")
    assert high[1] > low[1] + 50 and high[0] == pytest.approx(low[0], abs=3)
    assert above[0] < low[0] - 10


def test_the_best_seed_is_inside_the_picture():
    near = row(10.0, (1.0, 2.0))
    far = {**near, "by_seed": {"0": 5.0, "1": 60.0}}
    shown = [picture({"a": {"none": row(10.0), "paper": case, "teacher": {"mean": 30.0}}}) for case in (near, far)]
    columns = [coloured(drawn)[:, 1].max() for drawn in shown]
    assert columns[1] > columns[0] + 100


def test_a_panel_for_each_figure():
    panel = {"none": row(10.0), "paper": row(16.0, (4.0, 9.0)), "assistant": {"mean": 40.0}, "teacher": {"mean": 70.0}}
    two, three = (picture({str(number): panel for number in range(count)}) for count in (2, 3))
    assert three.shape[0] > two.shape[0] and len(coloured(three)) > 1.2 * len(coloured(two))


@pytest.mark.parametrize("figures", [{}, {"Car strict": {}}, {"Car strict": {"none": row(0.0)}}])
def test_tables_with_little_in_them(figures):
    assert picture(figures).ndim == 3
