"""Our RViz configs in a real RViz under Xvfb; skipped, visibly, where one of them is missing."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs a sourced ROS 2")
for program in ("rviz2", "Xvfb"):
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}", allow_module_level=True)

SIZE = (1024, 768)
TROUBLE = ("[ERROR]", "[FATAL]", "failed to load", "not find")
MAGENTA, GREEN = (255, 0, 255), (0, 255, 0)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A display without a monitor: its name, and the file of its pixels."""
    folder = tmp_path_factory.mktemp("screen")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24", "-fbdir", str(folder)]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as process:
        os.close(writing)
        with os.fdopen(reading) as told:
            display = f":{told.readline().strip()}"
        yield display, folder / "Xvfb_screen0"
        process.terminate()


def pixels(file: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a screen, as Xvfb keeps it: X's window dump, 32 bits a pixel."""
    data = file.read_bytes()
    header, *_ = struct.unpack_from(">I", data)
    width, height, line, colours = (struct.unpack_from(">I", data, 4 * index)[0] for index in (4, 5, 12, 19))
    rows = np.frombuffer(data, np.uint8, line * height, header + 12 * colours).reshape(height, line)
    return rows[:, : 4 * width].reshape(height, width, 4)[:, :, 2::-1]


def share(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    """How much of a picture is of about this colour; light and shade are no difference."""
    bright = image.max(axis=2) > 100
    alike = np.abs(image / image.max(axis=2, keepdims=True).clip(1) - np.array(colour) / 255).max(axis=2) < 0.25
    return float((bright & alike).mean())


@pytest.fixture
def rviz(repository: Path, screen: tuple[str, Path], tmp_path: Path, graph: Any) -> Callable[..., Any]:
    """Runs RViz with a config; yields a function that gives what it has printed."""

    @contextmanager
    def run(config: Path) -> Iterator[Callable[[], str]]:
        environment = {
            **os.environ,
            "DISPLAY": screen[0],
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "XDG_RUNTIME_DIR": str(tmp_path),
            "HOME": str(tmp_path),
        }
        log = tmp_path / "rviz.log"
        with (
            log.open("wb") as out,
            subprocess.Popen(
                ["rviz2", "-d", str(config)], stdout=out, stderr=subprocess.STDOUT, env=environment
            ) as process,
        ):
            try:
                yield lambda: log.read_text(errors="replace")
                assert process.poll() is None, log.read_text(errors="replace")
            finally:
                process.send_signal(signal.SIGKILL)

    return run


def box(graph: Any, frame_id: str) -> Any:
    """A large box ahead."""
    from visualization_msgs.msg import Marker, MarkerArray

    marker = Marker(type=Marker.CUBE)
    marker.header.frame_id = frame_id
    marker.pose.position.x, marker.pose.orientation.w = 12.0, 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = 6.0
    marker.color.r = marker.color.b = marker.color.a = 1.0
    return MarkerArray(markers=[marker])


def test_boxes_and_image_are_seen(graph: Any, rviz: Any, repository: Path, screen: tuple[str, Path]) -> None:
    image = np.full((90, 300, 3), GREEN, dtype=np.uint8)
    with rviz(repository / "config" / "detector.rviz") as printed:

        def seen() -> bool:
            graph.send("markers", box(graph, "detector_view"))
            graph.send("annotated_image", graph.make.image(image, time.time_ns(), "camera"))
            time.sleep(0.2)
            shown = pixels(screen[1])
            return share(shown, MAGENTA) > 0.01 and share(shown, GREEN) > 0.01

        graph.until(seen, "the box and the image on the screen")
        assert [word for word in TROUBLE if word in printed()] == [], printed()


@pytest.mark.parametrize(
    ("name", "topics"),
    [
        ("multi_camera", ["markers", "left/annotated_image", "front/annotated_image", "right/annotated_image"]),
        ("generate", ["labels/markers", "uncertain/markers", "points", "image"]),
        ("recorded", ["markers", "lidar/points"]),  # and an image, where RViz has the plugin for compressed ones
    ],
)
def test_a_config_subscribes_to_its_topics(
    graph: Any, rviz: Any, repository: Path, name: str, topics: list[str]
) -> None:
    with rviz(repository / "config" / f"{name}.rviz") as printed:
        for topic in topics:
            graph.until(lambda topic=topic: graph.node.count_subscribers(topic), topic)
        assert [word for word in TROUBLE if word in printed()] == [], printed()


def test_a_display_that_is_not_there_is_noticed(graph: Any, rviz: Any, repository: Path, tmp_path: Path) -> None:
    config = tmp_path / "broken.rviz"
    text = (repository / "config" / "detector.rviz").read_text(encoding="utf-8")
    config.write_text(text.replace("rviz_default_plugins/MarkerArray", "rviz_default_plugins/MarkerArrays"))
    with rviz(config) as printed:
        graph.until(lambda: any(word in printed() for word in TROUBLE), "RViz's complaint")
