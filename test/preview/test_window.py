"""What is put into the window and what keys do; where none can open, that is said. No screen is needed here."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from monotakd_ros.errors import MissingDependencyError, OutputError
from monotakd_ros.preview import window
from monotakd_ros.preview.source import BoxedSource
from monotakd_ros.preview.walk import FrameWalk
from monotakd_ros.preview.window import KEYS_TEXT, KIND_ORDER, PreviewWindow, has_screen, import_open3d, show
from monotakd_ros.visualization.scene_geometry import box_lines


class Screen:
    """Stands for Open3D's visualizer: holds what is in it, and presses keys."""

    def __init__(self) -> None:
        self.items, self.resets, self.keys = [], [], {}
        self.options = SimpleNamespace()
        steps = ("set_front", "set_lookat", "set_up", "set_zoom")
        self.control = SimpleNamespace(**{name: lambda value: None for name in steps})

    def register_key_callback(self, key, act):
        self.keys[key] = act

    def get_render_option(self):
        return self.options

    def get_view_control(self):
        return self.control

    def clear_geometries(self):
        self.items = []

    def add_geometry(self, item, reset_bounding_box):
        self.items.append(item)
        self.resets.append(reset_bounding_box)

    def press(self, key):
        return self.keys[ord(key) if isinstance(key, str) else key](self)


@pytest.fixture
def opened(write_set, tmp_path):
    """The screen, the names that were told, and the frames."""
    o3d = pytest.importorskip("open3d")
    source = BoxedSource(write_set(tmp_path / "set"))
    screen, told = Screen(), []
    walk = FrameWalk(source.frames(None, pytest.fail))
    PreviewWindow(o3d, screen, walk, "height", lambda boxed: told.append(boxed.frame.name)).start()
    return screen, told, list(source.frames(None, pytest.fail))


def test_the_cloud_the_camera_and_the_boxes(opened):
    screen, told, frames = opened
    cloud, camera, *kinds = screen.items
    np.testing.assert_allclose(np.asarray(cloud.points), frames[0].frame.points_lidar[:, :3], atol=1e-6)
    assert len(cloud.colors) == 400 and len(camera.lines) == 8 and told == ["000000"]
    assert len(kinds) == 5 and all(screen.resets)
    for item, kind in zip(kinds, ("teacher", "assistant", "uncertain", "labels", "truth")):
        expected = box_lines(frames[0].boxes[kind], kind)
        np.testing.assert_allclose(np.asarray(item.points), expected.points)
        np.testing.assert_array_equal(np.asarray(item.lines), expected.segments)
        np.testing.assert_allclose(np.asarray(item.colors), expected.colours)


def test_keys_go_through_the_frames(opened):
    screen, told, frames = opened
    assert screen.press("N") and screen.press(window.RIGHT_ARROW) and not screen.press("N")
    assert screen.press(window.LEFT_ARROW) and screen.press("P") and not screen.press("P")
    assert told == ["000000", "000001", "000002", "000001", "000000"]
    np.testing.assert_allclose(np.asarray(screen.items[0].points), frames[0].frame.points_lidar[:, :3], atol=1e-6)
    assert not any(screen.resets[7:])  # the view stays where it was


def test_keys_show_and_hide(opened):
    screen, _, frames = opened
    by_height = np.asarray(screen.items[0].colors).copy()
    assert screen.press("C") and not np.allclose(np.asarray(screen.items[0].colors), by_height)
    assert screen.press("C") and np.allclose(np.asarray(screen.items[0].colors), by_height)
    for number, kind in enumerate(KIND_ORDER, start=1):
        points = box_lines(frames[0].boxes[kind], kind).points
        shown = [np.asarray(item.points) for item in screen.items]
        assert any(item.shape == points.shape and np.allclose(item, points) for item in shown)
        assert screen.press(str(number)) and len(screen.items) == 6
        left = [np.asarray(item.points) for item in screen.items]
        assert not any(item.shape == points.shape and np.allclose(item, points) for item in left)
        assert screen.press(str(number)) and len(screen.items) == 7
        assert f"{number} {kind}" in KEYS_TEXT


def test_without_a_screen_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_screen()
    with pytest.raises(OutputError, match="--out DIR"):
        show(FrameWalk(iter(())), "height", pytest.fail)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_screen()


def test_a_display_that_does_not_answer_is_none(monkeypatch):
    try:
        ctypes.CDLL("libX11.so.6")
    except OSError:
        pytest.skip("no libX11 here")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":9999")
    assert not has_screen()


def test_a_window_that_does_not_open_says_what_to_do(monkeypatch):
    closed = SimpleNamespace(create_window=lambda *words: False)
    visualization = SimpleNamespace(VisualizerWithKeyCallback=lambda: closed)
    monkeypatch.setattr(window, "has_screen", lambda: True)
    monkeypatch.setattr(window, "import_open3d", lambda: SimpleNamespace(visualization=visualization))
    with pytest.raises(OutputError, match=r"cannot open a window.*--out DIR"):
        show(FrameWalk(iter(())), "height", pytest.fail)


def test_without_open3d_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(MissingDependencyError, match=r"pip install open3d.*--out DIR"):
        import_open3d()
