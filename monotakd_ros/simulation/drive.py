"""A simulated drive: a `FrameSource` whose frames come from a seed instead of a disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from monotakd_ros.errors import ConfigError, FrameError
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import (
    LIDAR_HEIGHT_M,
    invert_transform,
    make_transform,
    nominal_cam_T_lidar,
    rotation_about_z,
)
from monotakd_ros.simulation import scenery
from monotakd_ros.simulation.camera_view import SimulatedCamera
from monotakd_ros.simulation.labelling import Labeller
from monotakd_ros.simulation.lidar_scan import SimulatedLidar, beam_directions
from monotakd_ros.simulation.lighting import random_lighting
from monotakd_ros.simulation.objects import Placed
from monotakd_ros.simulation.road import Road, random_street
from monotakd_ros.simulation.scene import Group, Scene, group_objects
from monotakd_ros.simulation.shading import Shader
from monotakd_ros.simulation.street import BLOCK_M, Block, BlockBuilder
from monotakd_ros.simulation.texture import NoiseTexture
from monotakd_ros.simulation.traffic import Traffic, random_ego, tilt

EPOCH_NS = 1_700_000_000_000_000_000
STAGES = ("world", "image", "lidar", "labels")
BLOCKS_BEHIND, BLOCKS_AHEAD = 1, 4


@dataclass(frozen=True)
class DriveSettings:
    """What to simulate.

    Raises:
        ConfigError: a value out of range.
    """

    frames: int = 100
    """Number of frames."""
    seed: int = 0
    """Everything random follows from it: street, weather, traffic, noise."""
    rate_hz: float = 10.0
    """Frames a second; lower rates give more different frames."""
    width: int = 1242
    """Image width, px."""
    height: int = 375
    """Image height, px."""
    focal_px: float = 721.5377
    """Focal length, px."""
    center_px: tuple[float, float] | None = None
    """Principal point, px; None: KITTI's, scaled to the image size."""
    camera_height_m: float = 1.65
    """Camera above the road; the LiDAR stays at 1.73 m."""
    mount_tilt_deg: float = 0.4
    """Spread of the camera's random mounting error in pitch, roll and yaw; 0: exactly level."""
    lidar: bool = True
    """Whether frames carry a point cloud."""
    lidar_full_circle: bool = False
    """Scan 360 degrees instead of what the camera sees."""
    lidar_step_deg: float = 0.2
    """Azimuth between two LiDAR firings."""
    edge_samples: int = 1
    """Extra rays (0 to 3) in pixels at edges, against staircase edges."""

    def __post_init__(self) -> None:
        checks = (
            (self.frames >= 1, f"frames: expected at least 1, got {self.frames}"),
            (0 <= self.seed < 2**63, f"seed: expected 0 <= seed < 2^63, got {self.seed}"),
            (_positive(self.rate_hz), f"rate_hz: expected > 0, got {self.rate_hz:g}"),
            (16 <= self.width <= 8192, f"width: expected 16 to 8192 px, got {self.width}"),
            (16 <= self.height <= 8192, f"height: expected 16 to 8192 px, got {self.height}"),
            (_positive(self.focal_px), f"focal_px: expected > 0, got {self.focal_px:g}"),
            (0.2 <= self.camera_height_m <= 6, f"camera_height_m: expected 0.2 to 6, got {self.camera_height_m:g}"),
            (0 <= self.mount_tilt_deg <= 10, f"mount_tilt_deg: expected 0 to 10, got {self.mount_tilt_deg:g}"),
            (0.02 <= self.lidar_step_deg <= 5, f"lidar_step_deg: expected 0.02 to 5, got {self.lidar_step_deg:g}"),
            (0 <= self.edge_samples <= 3, f"edge_samples: expected 0 to 3, got {self.edge_samples}"),
        )
        for good, message in checks:
            if not good:
                raise ConfigError(message)

    def camera(self) -> CameraModel:
        """The camera these settings describe."""
        cx, cy = self.center_px or (609.5593 / 1242 * self.width, 172.854 / 375 * self.height)
        return CameraModel.from_intrinsics(self.focal_px, self.focal_px, cx, cy, self.width, self.height)


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


class SimulatedDrive:
    """A drive through a street made from a seed; the same settings always give the same frames."""

    def __init__(self, settings: DriveSettings) -> None:
        self.settings = settings
        self.name = f"simulated_{settings.seed:06d}"
        self.path = None
        rng = np.random.default_rng([settings.seed, 1])
        duration = settings.frames / settings.rate_hz
        length = 14.0 * duration + 300
        self._road = Road(length, float(rng.choice([0.0, 1.0], p=[0.3, 0.7]) * rng.uniform(0.001, 0.007)), rng)
        self._street = random_street(length, rng)
        self._light = random_lighting(rng)
        self._ego = random_ego(self._street, rng)
        self._traffic = Traffic(
            self._road, self._street, self._ego, duration, np.random.default_rng([settings.seed, 2])
        )
        self._blocks = BlockBuilder(self._road, self._street, settings.seed)
        self._built: dict[int, Block] = {}
        self._street_here: tuple[int, Group, list[Placed]] | None = None
        self._camera_model = settings.camera()
        self.cam_T_lidar = self._mount(rng)
        shader = Shader(self._light, self._street, NoiseTexture())
        self._camera = SimulatedCamera(self._camera_model, shader, settings.edge_samples)
        self._lidar = SimulatedLidar(self._beams()) if settings.lidar else None
        self._labeller = Labeller(self._camera_model)
        self.stage_seconds = dict.fromkeys(STAGES, 0.0)
        """Time spent so far in each stage, s."""

    def __len__(self) -> int:
        return self.settings.frames

    def __enter__(self) -> SimulatedDrive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held open."""

    def frames(self, on_error: Callable[[FrameError], None] | None = None) -> Iterator[Frame]:
        """All frames in time order; none is ever bad, so `on_error` is not called."""
        for index in range(self.settings.frames):
            yield self.frame(index)

    def frame(self, index: int) -> Frame:
        """Frame `index` (0 to frames - 1)."""
        time = index / self.settings.rate_hz
        rng = np.random.default_rng([self.settings.seed, 3, index])
        world_T_lidar = self._ego.world_T_base(time, self._road) @ make_transform(np.eye(3), [0, 0, LIDAR_HEIGHT_M])
        with self._timed("world"):
            scene = self._scene(time)
        with self._timed("image"):
            view = self._camera.render(scene, world_T_lidar @ invert_transform(self.cam_T_lidar), rng)
        with self._timed("lidar"):
            points = None if self._lidar is None else self._lidar.scan(scene, world_T_lidar, rng)
        with self._timed("labels"):
            labels = self._labeller.label(scene.objects, view.owner, world_T_lidar, self.cam_T_lidar)
        stamp_ns = EPOCH_NS + round(time * 1e9)
        return Frame(
            name=f"{index:06d}",
            stamp_ns=stamp_ns,
            image=view.image,
            camera=self._camera_model,
            cam_T_lidar=self.cam_T_lidar,
            points_lidar=points,
            points_stamp_ns=None if points is None else stamp_ns,
            labels=labels,
            world_T_lidar=world_T_lidar,
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.stage_seconds[stage] += perf_counter() - start

    def _scene(self, time: float) -> Scene:
        block = math.floor(self._ego.s_at(time) / BLOCK_M)
        if self._street_here is None or self._street_here[0] != block:
            self._street_here = (block, *self._build_street(block))
        _, street, street_objects = self._street_here
        return Scene(street, street_objects, self._traffic.at(time))

    def _build_street(self, block: int) -> tuple[Group, list[Placed]]:
        """The blocks around the ego car as one mesh; blocks out of reach are forgotten."""
        reach = range(block - BLOCKS_BEHIND, block + BLOCKS_AHEAD + 1)
        self._built = {index: self._built.get(index) or self._blocks.build(index) for index in reach}
        blocks = list(self._built.values())
        objects = [placed for item in blocks for placed in item.objects]
        x, y = self._road.to_world(block * BLOCK_M, 0.0)
        field = scenery.backdrop_ground(np.array([float(x), float(y)]))
        return group_objects(objects, 0, [field, *(item.mesh for item in blocks)]), objects

    def _mount(self, rng: np.random.Generator) -> np.ndarray:
        """cam_T_lidar with this drive's mounting error."""
        level = nominal_cam_T_lidar(self.settings.camera_height_m - LIDAR_HEIGHT_M)
        pitch, roll, yaw = np.radians(self.settings.mount_tilt_deg) * rng.standard_normal(3).clip(-2, 2)
        error = tilt(pitch, roll) @ rotation_about_z(yaw)
        cam_in_lidar = invert_transform(level)
        return invert_transform(make_transform(error @ cam_in_lidar[:3, :3], cam_in_lidar[:3, 3]))

    def _beams(self) -> np.ndarray:
        if self.settings.lidar_full_circle:
            return beam_directions((-180.0, 180.0), self.settings.lidar_step_deg)
        camera = self._camera_model
        left = math.degrees(math.atan2(camera.cx + 0.5, camera.fx)) + 3
        right = math.degrees(math.atan2(camera.width - 0.5 - camera.cx, camera.fx)) + 3
        return beam_directions((-right, left), self.settings.lidar_step_deg)
