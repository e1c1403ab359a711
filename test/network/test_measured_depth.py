import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.geometry.depth_bins import DepthBins
from monotakd_ros.network.measured_depth import (
    CellLayout,
    cell_layout,
    mean_depth,
    measured_distribution,
    nearest_depth,
)

CELLS = CellLayout(4, 6, 8, 0.0)
BINS = DepthBins(2.0, 26.0, 8)


def points(*rows: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 3)


class TestCellLayout:
    @pytest.mark.parametrize(
        ("first_px", "pixel", "cell"), [(0.0, 3.9, 0), (0.0, 4.0, 1), (3.5, 7.4, 0), (3.5, 7.5, 1)]
    )
    def test_a_pixel_belongs_to_the_nearest_cell_centre(self, first_px, pixel, cell):
        layout = CellLayout(4, 6, 8, first_px)
        assert layout.cell_of(torch.tensor(pixel)) == layout.cell_of(np.array(pixel)) == cell


class TestNearestDepth:
    def test_the_nearest_point_of_a_cell_wins(self):
        depth = nearest_depth(points((8, 8, 20.0), (9, 9, 5.0), (0, 0, 7.0)), CELLS)
        assert depth[1, 1] == 5.0 and depth[0, 0] == 7.0
        assert torch.isinf(depth).sum() == 4 * 6 - 2

    def test_points_outside_the_map_or_behind_are_left_out(self):
        depth = nearest_depth(points((-9, 0, 3.0), (48, 0, 3.0), (0, 60, 3.0), (8, 8, -1.0)), CELLS)
        assert torch.isinf(depth).all()

    def test_no_points(self):
        assert torch.isinf(nearest_depth(points(), CELLS)).all()


class TestMeanDepth:
    def test_a_cell_takes_the_mean_of_its_points(self):
        depth = mean_depth(points((8, 8, 20.0), (9, 9, 5.0), (0, 0, 7.0)), CELLS)
        assert depth[1, 1] == 12.5 and depth[0, 0] == 7.0
        assert torch.isinf(depth).sum() == 4 * 6 - 2

    def test_no_points(self):
        assert torch.isinf(mean_depth(points(), CELLS)).all()

    @given(st.lists(st.tuples(st.floats(-10, 60), st.floats(-10, 40), st.floats(0.5, 80)), max_size=20))
    def test_it_is_never_nearer_than_the_nearest(self, rows):
        near, mean = nearest_depth(points(*rows), CELLS), mean_depth(points(*rows), CELLS)
        assert torch.equal(torch.isinf(near), torch.isinf(mean))
        measured = torch.isfinite(near)
        assert (mean[measured] >= near[measured] - 1e-4).all()


class TestCellLayoutOfAnImage:
    def test_exact_cells_are_centred_on_every_eighth_pixel(self):
        assert cell_layout((375, 1242), "exact") == CellLayout(47, 156, 8, 0.0)

    def test_official_cells_are_blocks_of_eight_pixels(self):
        layout = cell_layout((375, 1242), "official")
        assert layout.cell_of(torch.tensor([0.0, 7.0, 8.0, 15.0])).tolist() == [0, 0, 1, 1]


class TestMeasuredDistribution:
    def test_one_bin_per_measured_cell_and_out_of_range_elsewhere(self):
        clouds = [points((8, 8, 20.0), (8, 9, 5.0)), points(), points((0, 0, 99.0))]
        distribution = measured_distribution(clouds, CELLS, BINS, "nearest")
        assert distribution.shape == (3, 9, 4, 6)
        assert torch.equal(distribution.sum(dim=1), torch.ones(3, 4, 6))
        in_range = distribution[:, :-1].nonzero().tolist()
        assert in_range == [[0, int(BINS.bin_index(torch.tensor(5.0))), 1, 1]]

    def test_the_mean_may_fall_into_another_bin(self):
        cloud = [points((8, 8, 20.0), (8, 9, 5.0))]
        distribution = measured_distribution(cloud, CELLS, BINS, "mean")
        assert distribution[0, :, 1, 1].argmax() == BINS.bin_index(torch.tensor(12.5))
