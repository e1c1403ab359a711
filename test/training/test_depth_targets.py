import numpy as np
import pytest
import torch

from monotakd_ros.frame import FrameBatch
from monotakd_ros.geometry.depth_bins import DepthBins
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.network.measured_depth import CellLayout
from monotakd_ros.training.depth_targets import depth_targets, foreground_mask, image_regions

CELLS = CellLayout(4, 6, 8, 0.0)
PROJECTION = np.array([[20.0, 0, 24, 0], [0, 20.0, 16, 0], [0, 0, 1, 0]])
BINS = DepthBins(2.0, 26.0, 8)


def points(*rows: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 3)


class TestForeground:
    def test_a_box_ahead_covers_its_cells(self):
        # about 10 m ahead of the camera, 3.6 m wide and 2 m high at its height: +-3.6 px and +-2 px
        box = np.array([[10.27, 0, -0.08, 0.2, 3.6, 2.0, 0]])
        regions = image_regions(box, PROJECTION, nominal_cam_T_lidar())
        assert regions[0] == pytest.approx([20.4, 14, 27.6, 18], abs=0.1)
        mask = foreground_mask(regions, CELLS)
        assert mask.nonzero().tolist() == [[2, 3]]

    def test_a_box_behind_covers_nothing(self):
        regions = image_regions(np.array([[-10.0, 0, 0, 4, 2, 1.5, 0]]), PROJECTION, nominal_cam_T_lidar())
        assert np.isnan(regions).all()
        assert not foreground_mask(regions, CELLS).any()

    def test_a_box_around_the_camera_covers_everything(self):
        regions = image_regions(np.array([[0.0, 0, 0, 4, 4, 4, 0]]), PROJECTION, nominal_cam_T_lidar())
        assert foreground_mask(regions, CELLS).all()

    def test_a_region_beside_the_image_covers_nothing(self):
        assert not foreground_mask(np.array([[-90.0, 0, -40, 9], [90, 0, 99, 9]]), CELLS)[:, 1:].any()


def make_batch(clouds, boxes=None):
    count = len(clouds)
    return FrameBatch(
        images=torch.zeros((count, 3, 32, 48), dtype=torch.uint8),
        valid_px=torch.zeros((count, 4)),
        img_P_cam=torch.tensor(PROJECTION).float().repeat(count, 1, 1),
        cam_T_lidar=torch.tensor(nominal_cam_T_lidar()).float().repeat(count, 1, 1),
        names=tuple(str(index) for index in range(count)),
        points_img=tuple(clouds),
        boxes_lidar=boxes,
    )


class TestDepthTargets:
    def test_bins_and_cells(self):
        edges = BINS.edges()
        targets = depth_targets(make_batch([points(), points((8, 16, 2.1), (24, 16, 99.0))]), BINS, CELLS)
        assert targets.sample.tolist() == [1, 1]
        assert targets.cell.tolist() == [2 * 6 + 1, 2 * 6 + 3]
        assert targets.bin.tolist() == [0, BINS.num_bins]
        assert edges[0] <= 2.1 < edges[1]
        assert not targets.foreground.any()

    def test_foreground_follows_the_boxes(self):
        box = torch.tensor([[10.27, 0, -0.08, 0.2, 4.0, 2.0, 0]])
        batch = make_batch([points((24, 16, 10.0), (0, 0, 10.0))], (box,))
        targets = depth_targets(batch, BINS, CELLS)
        assert dict(zip(targets.cell.tolist(), targets.foreground.tolist())) == {0: False, 15: True}
