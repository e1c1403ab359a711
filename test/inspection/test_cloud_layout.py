"""What a PointCloud2 is said to hold."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from monotakd_ros.inspection.cloud_layout import cloud_layout, merged


def message(names, width=4, height=1, **changes):
    fields = [SimpleNamespace(name=name, datatype=kind, count=1) for name, kind in names]
    return SimpleNamespace(**{"fields": fields, "width": width, "height": height, "is_bigendian": False, **changes})


XYZ = [("x", 7), ("y", 7), ("z", 7)]


def test_an_organised_cloud_with_time_ring_and_missing_points():
    fields = [*XYZ, ("reflectivity", 4), ("ring", 4), ("t", 6)]
    points = np.array([[3.0, 4.0, 0.0], [6.0, 8.0, 0.0]])
    layout = cloud_layout(message(fields, width=2, height=2, is_bigendian=True), points)
    assert layout.is_organised
    assert layout.is_big_endian
    assert (layout.intensity, layout.ring, layout.time) == ("reflectivity", "ring", "t")
    assert layout.fields[3] == ("reflectivity", "uint16")
    assert (layout.points, layout.missing_share) == (4, 0.5)
    assert layout.range_m[0] == 7.5


def test_an_empty_cloud_and_unknown_types():
    layout = cloud_layout(message([*XYZ[:2], ("z", 99)], width=0), np.zeros((0, 3)))
    assert layout.fields[2] == ("z", "type 99")
    assert (layout.points, layout.missing_share, layout.range_m, layout.intensity) == (0, 0.0, None, None)


def test_several_clouds():
    assert merged([]) is None
    clouds = [cloud_layout(message(XYZ, width=n), np.full((n, 3), float(n))) for n in (2, 4, 0, 8)]
    whole = merged(clouds)
    assert whole.points == 3
    np.testing.assert_allclose(whole.range_m[0], 4 * np.sqrt(3))
