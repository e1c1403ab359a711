"""Where a LiDAR cloud has depth edges: points with something much farther right beside or above them.

Edges are found in the sensor's own directions (azimuth, elevation), so they hold for any cloud, organised or not, and
whatever its camera's calibration. A grid of directions keeps the nearest range of each cell. A point is an edge on one
side when everything near it on that side is far behind it: on a road, which rises to the horizon, the row below is
nearer, so that its rings are no edges.

Source: the near side of a depth step marks an occluding edge, Levinson and Thrun, "Automatic Online Calibration of
Cameras and Lasers", RSS 2013.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELL_RAD = np.deg2rad([0.3, 0.45])
"""Azimuth and elevation of a cell; about the spacing of a 64-beam LiDAR, whose cells then hold a point or two."""
MIN_RANGE_M, MAX_RANGE_M = 2.0, 50.0
SIDE_STEP_M, SIDE_STEP = 1.0, 0.10
"""How much farther the cells beside must be: metres, and share of the range."""
ABOVE_STEP_M, ABOVE_STEP = 2.0, 0.35
"""The same for the cells above, where a road's rings lie far apart too."""
MAX_WEIGHT_STEP_M = 16.0
"""Depth steps count by their square root up to this one."""


@dataclass(frozen=True, eq=False)
class DepthEdges:
    """Points on the edges of near things.

    Attributes:
        points: (N, 3) float64 m, in the axes that were given: the near range, in the direction midway to the far side.
        weights: (N,) float64, root of the depth step.
        is_upright: (N,) bool: an edge to the left or right (upright in an image), else one above.
    """

    points: np.ndarray
    weights: np.ndarray
    is_upright: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    def select(self, kept: np.ndarray) -> DepthEdges:
        """The edges at (M,) indices or a mask."""
        return DepthEdges(self.points[kept], self.weights[kept], self.is_upright[kept])


def find_depth_edges(points_ahead: np.ndarray) -> DepthEdges:
    """The depth edges of a cloud.

    Args:
        points_ahead: (N, 3) m about the sensor's place, x ahead, y left, z up; directions ahead are searched
            (azimuth within 80 degrees).
    """
    ranges = np.linalg.norm(points_ahead, axis=1)
    azimuth = np.arctan2(points_ahead[:, 1], points_ahead[:, 0])
    elevation = np.arcsin(np.clip(points_ahead[:, 2] / np.maximum(ranges, 1e-9), -1.0, 1.0))
    seen = (ranges > MIN_RANGE_M) & (np.abs(azimuth) < np.deg2rad(80)) & (np.abs(elevation) < np.deg2rad(40))
    directions = np.column_stack([azimuth, elevation])[seen]
    grid = _DirectionGrid(directions, ranges[seen])
    parts = [
        grid.edges([(0, side), (-1, side), (1, side), (0, 2 * side)], (SIDE_STEP_M, SIDE_STEP), is_upright=True)
        for side in (-1, 1)
    ]
    parts.append(grid.edges([(1, 0), (1, -1), (1, 1), (2, 0)], (ABOVE_STEP_M, ABOVE_STEP), is_upright=False))
    return DepthEdges(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("points", "weights", "is_upright"))
    )


class _DirectionGrid:
    """Cells of directions with the nearest point of each."""

    def __init__(self, directions: np.ndarray, ranges: np.ndarray) -> None:
        cells = np.floor(directions / CELL_RAD).astype(np.int64)
        low = cells.min(axis=0, initial=0) - 3
        cells -= low
        shape = tuple(cells.max(axis=0, initial=0) + 4)[::-1]
        self._ranges = np.full(shape, np.inf)
        self._directions = np.full((*shape, 2), np.nan)
        order = np.argsort(-ranges, kind="stable")  # the nearest is written last
        column, row = cells[order].T
        self._ranges[row, column] = ranges[order]
        self._directions[row, column] = directions[order]

    def edges(self, beside: list[tuple[int, int]], step: tuple[float, float], is_upright: bool) -> DepthEdges:
        """The near points of which the cells `beside` (row, column steps) are all far behind, as far as filled."""
        near = self._ranges
        far = np.min([self._shifted(near, *moved) for moved in beside], axis=0)
        needed = np.maximum(step[0], step[1] * near)
        with np.errstate(invalid="ignore"):
            found = np.isfinite(far) & (near < MAX_RANGE_M) & (far - near > needed)
        filled = np.isfinite(self._shifted(near, *beside[0]))
        found &= filled
        other = self._shifted(self._directions, *beside[0])[found]
        own = self._directions[found]
        middle = own.copy()
        axis = 0 if is_upright else 1
        middle[:, axis] = (own[:, axis] + other[:, axis]) / 2
        steps = np.minimum(far[found] - near[found], MAX_WEIGHT_STEP_M)
        return DepthEdges(_points(middle, near[found]), np.sqrt(steps), np.full(len(steps), is_upright))

    @staticmethod
    def _shifted(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """What lies `rows` above and `columns` to the left; the grid's rim is empty and wide enough."""
        return np.roll(values, (-rows, -columns), axis=(0, 1))


def _points(directions: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    azimuth, elevation = directions.T
    flat = np.cos(elevation)
    return ranges[:, None] * np.column_stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
