"""The picture of an inspection: the middle of the bag as recorded and, where the check found better, as corrected."""

from __future__ import annotations

import numpy as np

from monotakd_ros.geometry.transforms import make_transform, transform_points
from monotakd_ros.inspection.alignment import edges_in_camera, rotation_of
from monotakd_ros.inspection.findings import corrections
from monotakd_ros.inspection.inspection import Inspection
from monotakd_ros.inspection.sampling import Snapshot
from monotakd_ros.visualization import drawing
from monotakd_ros.visualization.depth_overlay import draw_depth_overlay
from monotakd_ros.visualization.palette import BAR, INK

BAR_PX = 28
TEXT_PX = 14.0


def draw_inspection(inspection: Inspection) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB; None where no image with a cloud and a transform was found."""
    snapshot, report = inspection.snapshot, inspection.alignment
    if snapshot is None:
        return None
    after_s = (snapshot.stamp_ns - inspection.start_ns) / 1e9
    rows = [_titled(_view(snapshot, (0.0, 0.0, 0.0), 0), f"as recorded, {after_s:.1f} s after the start")]
    if report is not None and (any(report.correction_deg) or report.correction_shift):
        corrected = _view(snapshot, report.correction_deg, report.correction_shift)
        rows.append(_titled(corrected, f"corrected: {'; '.join(corrections(report))}"))
    return np.concatenate(rows)


def _view(snapshot: Snapshot, degrees_xyz: tuple[float, float, float], shift: int) -> np.ndarray:
    points = snapshot.clouds.get(shift, snapshot.clouds[0])
    turn = make_transform(rotation_of(degrees_xyz), np.zeros(3))
    edges = edges_in_camera(points, snapshot.cam_T_cloud)
    points_cam = transform_points(turn @ snapshot.cam_T_cloud, points)
    return draw_depth_overlay(snapshot.image, snapshot.camera, points_cam, transform_points(turn, edges.points))


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    bar = np.full((BAR_PX, picture.shape[1], 3), BAR, dtype=np.uint8)
    drawing.put_text(bar, title, 8, (BAR_PX - TEXT_PX) / 2 - 1, INK, TEXT_PX)
    return np.concatenate([bar, picture])
