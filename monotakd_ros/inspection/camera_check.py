"""Whether images and CameraInfo fit each other, and whether the camera is plausible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monotakd_ros.data.camera_info import CameraInfo, ImageRectifier
from monotakd_ros.data.transform_tree import frame_name
from monotakd_ros.errors import CalibrationError, FrameError
from monotakd_ros.inspection.scan import StampedCameraInfo

FIELD_OF_VIEW_DEG = (10.0, 150.0)
SQUARE_PIXELS = 0.05
"""Focal lengths in x and y that differ by more than this share are unusual."""
CENTRE = 0.2
"""So is a principal point farther than this share of the image's size from its middle."""


@dataclass(frozen=True)
class CameraReport:
    """A camera as recorded.

    Attributes:
        image_size: width, height, px, of the images that were looked at; None when none could be decoded.
        info_size: of the CameraInfo.
        focal_px: fx and fy of the rectified image.
        field_of_view_deg: across.
        has_distortion: whether the CameraInfo's D is not zero.
        distortion_model: its name.
        is_rectified: whether the topic's name says that images are rectified.
        changes: times that the CameraInfo changed.
        image_frame, info_frame: frame_id of each; None where unknown.
        problems: what makes frames unusable.
        oddities: what is unusual.
    """

    image_size: tuple[int, int] | None
    info_size: tuple[int, int] | None
    focal_px: tuple[float, float] | None
    field_of_view_deg: float | None
    has_distortion: bool | None
    distortion_model: str | None
    is_rectified: bool
    changes: int
    image_frame: str | None
    info_frame: str | None
    problems: tuple[str, ...]
    oddities: tuple[str, ...]


def check_camera(
    infos: Sequence[StampedCameraInfo],
    image_size: tuple[int, int] | None,
    image_frames: Mapping[str, int],
    is_rectified: bool,
    where: str,
) -> CameraReport:
    """Compare a camera's images with its CameraInfo.

    Args:
        infos: its CameraInfo, each that differs from the one before.
        image_size: width, height, px.
        image_frames: frame_id of its images, with their number.
        is_rectified: whether the topic's name says so.
        where: the image topic, for messages.
    """
    image_frame = max(image_frames, key=lambda name: image_frames[name], default=None)
    info = infos[0].info if infos else None
    problems, oddities = [], []
    camera = None
    if info is not None and image_size is not None:
        try:
            camera = ImageRectifier(info, *image_size, rectify=info.has_distortion, where=where).camera
        except (CalibrationError, FrameError) as error:
            problems.append(str(error))
    if info is not None and image_size is not None and info.image_size != image_size:
        oddities.append(f"images are {_size(image_size)}, CameraInfo is for {_size(info.image_size)}")
    if infos and frame_name(infos[0].frame_id) != frame_name(image_frame or ""):
        oddities.append(f"frame_id of images is {image_frame!r}, of CameraInfo {infos[0].frame_id!r}")
    if len(image_frames) > 1:
        oddities.append(f"images name several frames: {', '.join(sorted(image_frames))}")
    focal = None if camera is None else (camera.fx, camera.fy)
    across = None if camera is None else float(np.rad2deg(2 * np.arctan(camera.width / 2 / camera.fx)))
    if camera is not None:
        oddities += _implausible(camera.fx, camera.fy, (camera.cx / camera.width, camera.cy / camera.height), across)
    return CameraReport(
        image_size=image_size,
        info_size=None if info is None else info.image_size,
        focal_px=focal,
        field_of_view_deg=across,
        has_distortion=None if info is None else info.has_distortion,
        distortion_model=None if info is None else info.distortion_model,
        is_rectified=is_rectified,
        changes=max(len(infos) - 1, 0),
        image_frame=image_frame,
        info_frame=infos[0].frame_id if infos else None,
        problems=tuple(problems),
        oddities=tuple(oddities + _contradictions(info, is_rectified)),
    )


def _implausible(fx: float, fy: float, centre: tuple[float, float], across_deg: float) -> list[str]:
    found = []
    if not FIELD_OF_VIEW_DEG[0] <= across_deg <= FIELD_OF_VIEW_DEG[1]:
        found.append(f"a field of view of {across_deg:.0f} degrees: is the focal length for another image size?")
    if abs(fx / fy - 1) > SQUARE_PIXELS:
        found.append(f"focal lengths differ: fx {fx:.1f}, fy {fy:.1f} px")
    if max(abs(share - 0.5) for share in centre) > CENTRE:
        shown = " and ".join(f"{share:.0%}" for share in centre)
        found.append(f"the principal point lies at {shown} of the image's width and height")
    return found


def _contradictions(info: CameraInfo | None, is_rectified: bool) -> list[str]:
    if info is None or not info.has_distortion or is_rectified or not np.any(info.P != 0):
        return []
    if np.array_equal(info.P[:, :3], info.K):
        return ["the images have distortion, yet P is K: did the driver copy K into P?"]
    return []


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} px"
