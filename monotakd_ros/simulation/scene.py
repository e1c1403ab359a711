"""What rays can hit at one moment: the street's blocks (built once) and the movers (built for each frame).

The only file of this room that touches Open3D.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from monotakd_ros.errors import MissingDependencyError
from monotakd_ros.simulation.mesh import Mesh, merge
from monotakd_ros.simulation.objects import Placed

NOTHING = -1


def _open3d():
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"the simulator casts rays with Open3D, which cannot be loaded here: {error}. Install it with "
            "`pip install open3d`; on Debian and Ubuntu it needs `apt install libusb-1.0-0 libgl1 libgomp1 libx11-6`"
        ) from error
    return open3d


class RayTarget:
    """Triangles (F, 3, 3) that rays are cast against."""

    def __init__(self, corners: np.ndarray) -> None:
        self._o3d = _open3d()
        self._scene = self._o3d.t.geometry.RaycastingScene()
        vertices = np.ascontiguousarray(corners.reshape(-1, 3), dtype=np.float32)
        index = np.arange(len(vertices), dtype=np.uint32).reshape(-1, 3)
        self._scene.add_triangles(self._tensor(vertices), self._tensor(index))

    def _tensor(self, array: np.ndarray):
        return self._o3d.core.Tensor.from_numpy(np.ascontiguousarray(array))

    def cast(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First hits of rays (N, 6) float32: distance (N,) in direction lengths (inf: none), triangle, uv (N, 2)."""
        result = self._scene.cast_rays(self._tensor(rays))
        return tuple(result[key].numpy() for key in ("t_hit", "primitive_ids", "primitive_uvs"))

    def occludes(self, rays: np.ndarray) -> np.ndarray:
        """(N,) bool: whether anything lies on rays (N, 6) float32."""
        return self._scene.test_occlusions(self._tensor(rays)).numpy()


@dataclass(frozen=True, eq=False)
class Hits:
    """First hits of N rays.

    Attributes:
        distance: (N,) float32 in units of the ray's direction; inf where nothing was hit.
        triangle: (N,) int32 index into the scene's mesh; NOTHING where nothing was hit.
        uv: (N, 2) float32 barycentric coordinates of the second and third corner.
    """

    distance: np.ndarray
    triangle: np.ndarray
    uv: np.ndarray


@dataclass(frozen=True, eq=False)
class Group:
    """A merged mesh with the object each triangle belongs to (F,) int32, NOTHING for scenery."""

    mesh: Mesh
    owner: np.ndarray

    @cached_property
    def target(self) -> RayTarget:
        return RayTarget(self.mesh.corners)


def group_objects(objects: list[Placed], first_index: int, scenery: list[Mesh]) -> Group:
    """Merge scenery and placed objects, which are numbered from `first_index`."""
    meshes = [*scenery, *(item.shape.mesh.placed(item.position, item.heading) for item in objects)]
    owners = [NOTHING] * len(scenery) + [first_index + k for k in range(len(objects))]
    owner = np.repeat(np.array(owners, dtype=np.int32), [len(mesh) for mesh in meshes])
    return Group(merge(meshes), owner)


class Scene:
    """Street and movers together; triangles and objects of the movers follow those of the street.

    Attributes:
        objects: labelled objects; those from `first_mover` on move.
        normals, uv, colour, surface: of all triangles, as in `Mesh`.
        owner: (F,) int32 object each triangle belongs to; NOTHING for scenery.
    """

    def __init__(self, street: Group, street_objects: list[Placed], movers: list[Placed]) -> None:
        self.objects = [*street_objects, *movers]
        self.first_mover = len(street_objects)
        self._street = street
        self._moving = group_objects(movers, self.first_mover, []) if movers else None
        groups = [street] if self._moving is None else [street, self._moving]
        meshes = [group.mesh for group in groups]
        self.normals = np.concatenate([mesh.normals for mesh in meshes])
        self.uv = np.concatenate([mesh.uv for mesh in meshes])
        self.colour = np.concatenate([mesh.colour for mesh in meshes])
        self.surface = np.concatenate([mesh.surface for mesh in meshes])
        self.owner = np.concatenate([group.owner for group in groups])

    def cast(self, rays: np.ndarray, near_movers: np.ndarray | None = None) -> Hits:
        """Cast rays (N, 6) float32; only those in `near_movers` (N,) bool are tried against movers (None: all)."""
        distance, triangle, uv = self._street.target.cast(rays)
        triangle = np.where(np.isfinite(distance), triangle, np.uint32(0)).astype(np.int32)
        triangle[~np.isfinite(distance)] = NOTHING
        if self._moving is not None:
            index = np.arange(len(rays)) if near_movers is None else np.flatnonzero(near_movers)
            distance, uv = distance.copy(), uv.copy()
            moving_distance, moving_triangle, moving_uv = self._moving.target.cast(rays[index])
            closer = moving_distance < distance[index]
            index = index[closer]
            distance[index] = moving_distance[closer]
            triangle[index] = moving_triangle[closer].astype(np.int32) + len(self._street.mesh)
            uv[index] = moving_uv[closer]
        return Hits(distance, triangle, uv)

    def occluded(self, rays: np.ndarray) -> np.ndarray:
        """(N,) bool: whether anything lies on rays (N, 6) float32."""
        blocked = self._street.target.occludes(rays)
        if self._moving is not None:
            blocked = blocked | self._moving.target.occludes(rays)
        return blocked

    def owner_of(self, hits: Hits) -> np.ndarray:
        """(N,) int32 object index of each hit; NOTHING for scenery and sky."""
        return np.where(hits.triangle >= 0, self.owner[hits.triangle], NOTHING)
