"""A window on frames with their boxes, in 3D: Open3D, which is an extra, and a screen, which not every machine has."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from monotakd_ros.errors import MissingDependencyError, OutputError
from monotakd_ros.frame import BoxedFrame, BoxKind
from monotakd_ros.preview.walk import FrameWalk
from monotakd_ros.visualization.box_styles import BOX_STYLES
from monotakd_ros.visualization.palette import BACKGROUND
from monotakd_ros.visualization.scene_geometry import (
    CloudColour,
    ColouredLines,
    box_lines,
    coloured_cloud,
    view_lines,
)

RIGHT_ARROW, LEFT_ARROW = 262, 263
"""GLFW's codes."""
KIND_ORDER: tuple[BoxKind, ...] = ("labels", "uncertain", "teacher", "assistant", "truth")
KEYS_TEXT = (
    "keys: N or -> next frame, P or <- previous, C cloud by height or image, Q quit; show and hide "
    + ", ".join(f"{number} {kind}" for number, kind in enumerate(KIND_ORDER, start=1))
)
SIZE_PX = (1400, 900)
NO_SCREEN = "a window needs a screen; --out DIR makes pictures without one"


def has_screen() -> bool:
    """Whether this process could open a window. Open3D itself would draw where nobody sees it."""
    if not sys.platform.startswith("linux"):
        return True
    if os.environ.get("WAYLAND_DISPLAY"):
        return True
    return bool(os.environ.get("DISPLAY")) and _x_server_answers()


def show(walk: FrameWalk, colour: CloudColour, on_frame: Callable[[BoxedFrame], None]) -> None:
    """Open a window and stay until it is closed.

    Args:
        walk: the frames.
        colour: of the cloud, at first.
        on_frame: is told of each frame that is shown.

    Raises:
        OutputError: there is no screen, or the window does not open.
        MissingDependencyError: Open3D is not installed.
    """
    if not has_screen():
        raise OutputError(f"no screen here (DISPLAY and WAYLAND_DISPLAY lead to none): {NO_SCREEN}")
    o3d = import_open3d()
    visualizer = o3d.visualization.VisualizerWithKeyCallback()
    if not visualizer.create_window("monotakd view", *SIZE_PX):
        raise OutputError(f"Open3D cannot open a window here: {NO_SCREEN}")
    try:
        PreviewWindow(o3d, visualizer, walk, colour, on_frame).start()
        visualizer.run()
    finally:
        visualizer.destroy_window()


def import_open3d() -> ModuleType:
    """Open3D.

    Raises:
        MissingDependencyError: it cannot be loaded.
    """
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"the window needs Open3D, which cannot be loaded here: {error}. Install it with `pip install open3d`; "
            "--out DIR makes pictures without it"
        ) from error
    return open3d


class PreviewWindow:
    """What is in the window, and what keys do.

    Args:
        o3d: Open3D.
        visualizer: its window, open.
        walk: the frames.
        colour: of the cloud, at first.
        on_frame: is told of each frame that is shown.
    """

    def __init__(
        self,
        o3d: Any,
        visualizer: Any,
        walk: FrameWalk,
        colour: CloudColour,
        on_frame: Callable[[BoxedFrame], None],
    ) -> None:
        self._o3d, self._visualizer, self._walk = o3d, visualizer, walk
        self._colour, self._on_frame = colour, on_frame
        self._hidden: set[BoxKind] = set()
        self._drawn = False

    def start(self) -> None:
        """Set the keys and show the first frame."""
        keys: dict[int, Callable[[], bool]] = {
            ord("N"): lambda: self._go(self._walk.forward),
            RIGHT_ARROW: lambda: self._go(self._walk.forward),
            ord("P"): lambda: self._go(self._walk.backward),
            LEFT_ARROW: lambda: self._go(self._walk.backward),
            ord("C"): self._other_colour,
        }
        for number, kind in enumerate(KIND_ORDER, start=1):
            keys[ord(str(number))] = lambda kind=kind: self._toggle(kind)
        for key, act in keys.items():
            self._visualizer.register_key_callback(key, lambda visualizer, act=act: act())
        options = self._visualizer.get_render_option()
        options.background_color = [part / 255 for part in BACKGROUND]
        options.point_size = 2.0
        self._go(self._walk.forward)
        control = self._visualizer.get_view_control()  # from behind and above the vehicle, looking ahead
        control.set_front([-0.8, 0.0, 0.6])
        control.set_lookat([18.0, 0.0, 0.0])
        control.set_up([0.0, 0.0, 1.0])
        control.set_zoom(0.14)

    def _go(self, step: Callable[[], BoxedFrame | None]) -> bool:
        boxed = step()
        if boxed is None:
            return False
        self._on_frame(boxed)
        return self._draw()

    def _other_colour(self) -> bool:
        self._colour = "image" if self._colour == "height" else "height"
        return self._draw()

    def _toggle(self, kind: BoxKind) -> bool:
        self._hidden ^= {kind}
        return self._draw()

    def _draw(self) -> bool:
        """Show where the walk stands; the first time the view is set to what is there."""
        boxed = self._walk.current
        if boxed is None:
            return False
        self._visualizer.clear_geometries()
        for item in self._geometries(boxed):
            self._visualizer.add_geometry(item, reset_bounding_box=not self._drawn)
        self._drawn = True
        return True

    def _geometries(self, boxed: BoxedFrame) -> list[Any]:
        """The cloud, what the camera sees, and the boxes of each kind that is not hidden; empty ones left out."""
        geometry, vectors = self._o3d.geometry, self._o3d.utility.Vector3dVector
        points, colours = coloured_cloud(boxed.frame, self._colour)
        items = []
        if len(points):
            cloud = geometry.PointCloud(vectors(points))
            cloud.colors = vectors(colours)
            items.append(cloud)
        shown = [kind for kind in BOX_STYLES if kind in boxed.boxes and kind not in self._hidden]
        lines = [view_lines(boxed.frame), *(box_lines(boxed.boxes[kind], kind) for kind in shown)]
        return items + [self._line_set(item) for item in lines if len(item.segments)]

    def _line_set(self, lines: ColouredLines) -> Any:
        vectors = self._o3d.utility.Vector3dVector
        item = self._o3d.geometry.LineSet(vectors(lines.points), self._o3d.utility.Vector2iVector(lines.segments))
        item.colors = vectors(lines.colours)
        return item


def _x_server_answers() -> bool:
    """Whether DISPLAY leads to an X server; also true where the library that could tell is missing."""
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return True
    x11.XOpenDisplay.restype = ctypes.c_void_p
    display = x11.XOpenDisplay(None)
    if display:
        x11.XCloseDisplay(ctypes.c_void_p(display))
    return bool(display)
