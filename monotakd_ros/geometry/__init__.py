"""Rigid transforms, camera model, boxes, BEV grid, depth bins, rotated overlap. Knows nothing of ours."""
