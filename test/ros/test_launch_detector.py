"""Launch files as `ros2 launch` runs them, against a full ROS 2; skipped, visibly, where there is none."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar

for part in ("launch_ros", "ros2launch", "vision_msgs", "tf2_ros"):
    pytest.importorskip(part, reason=f"needs a full ROS 2, sourced ({part})")

from lifecycle_msgs.srv import GetState  # noqa: E402
from rcl_interfaces.srv import GetParameters  # noqa: E402

LAUNCH_FILES = sorted(path.name for path in (Path(__file__).resolve().parents[2] / "launch").glob("*.launch.py"))
ACTIVE = 3
STOPPED_S = 20.0


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a shell that sourced an installation of this checkout, made of links instead of by colcon."""
    prefix = tmp_path_factory.mktemp("prefix")
    share, lib = prefix / "share" / "monotakd_ros", prefix / "lib" / "monotakd_ros"
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    for folder in (share / "launch", lib, index):
        folder.mkdir(parents=True)
    (index / "monotakd_ros").touch()
    for name in ("config", "models", "package.xml"):
        (share / name).symlink_to(repository / name)
    for source, target in ((repository / "launch", share / "launch"), (repository / "scripts", lib)):
        for path in source.iterdir():
            (target / path.name).symlink_to(path)
    return {
        **os.environ,
        "AMENT_PREFIX_PATH": f"{prefix}:{os.environ['AMENT_PREFIX_PATH']}",
        "PYTHONPATH": f"{repository}:{os.environ.get('PYTHONPATH', '')}",
        "ROS_LOG_DIR": str(prefix / "log"),
        "OMP_NUM_THREADS": "1",
    }


class Launched:
    """A running `ros2 launch`.

    Attributes:
        process: its own.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def pids(self, executable: str) -> list[int]:
        """Of the processes it has started, in order."""
        return [
            int(pid) for pid in re.findall(rf"\[{executable}-\d+\]: process started with pid \[(\d+)\]", self.output)
        ]


@pytest.fixture
def launch(installed: dict[str, str], tmp_path: Path, graph: Any) -> Callable[..., Any]:
    """Runs a launch file with arguments; interrupts it at the end as Ctrl-C in a terminal does."""

    @contextmanager
    def run(name: str, **arguments: Any) -> Iterator[Launched]:
        command = ["ros2", "launch", "monotakd_ros", name, *(f"{key}:={value}" for key, value in arguments.items())]
        log = tmp_path / "launch.log"
        environment = {**installed, "ROS_DOMAIN_ID": os.environ["ROS_DOMAIN_ID"]}
        with (
            log.open("wb") as out,
            subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            ) as process,
        ):
            launched = Launched(process, log)
            try:
                yield launched
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(STOPPED_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    raise
        assert "Traceback" not in launched.output, launched.output

    return run


def is_active(graph: Any, node: str) -> bool:
    return bool(graph.call(f"{node}/get_state", GetState, GetState.Request()).current_state.id == ACTIVE)


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_arguments_are_shown(installed: dict[str, str], name: str) -> None:
    command = ["ros2", "launch", "monotakd_ros", name, "--show-args"]
    done = subprocess.run(command, env=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Arguments (pass arguments as" in done.stdout
    assert "no description given" not in done.stdout


def test_the_detector_obeys_comes_back_and_ends(launch: Any, graph: Any, tiny_checkpoint: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "mine.yaml"
    values = "cpu_threads: 1\n    score_threshold: 0.25\n    device: cuda:7\n"
    parameters.write_text(f"/**:\n  ros__parameters:\n    {values}")
    arguments = {"params_file": parameters, "checkpoint": tiny_checkpoint, "device": "cpu", "respawn_delay": 0.1}
    inputs = {"image": "/camera/image_raw", "namespace": "car", "node_name": "eye"}
    with launch("detector.launch.py", **arguments, **inputs, respawn="true", rviz="false") as launched:
        graph.until(lambda: is_active(graph, "/car/eye"), "the node")
        for topic in ("/camera/image_raw", "/camera/camera_info"):
            graph.until(lambda topic=topic: graph.node.count_subscribers(topic) == 1, topic)
        asked = GetParameters.Request(names=["score_threshold", "device", "autostart"])
        threshold, device, autostart = graph.call("/car/eye/get_parameters", GetParameters, asked).values
        # Of the file; over the file; of neither.
        assert (threshold.double_value, device.string_value, autostart.bool_value) == (0.25, "cpu", True)

        os.kill(launched.pids("detector_node")[0], signal.SIGKILL)
        graph.until(lambda: len(launched.pids("detector_node")) == 2, "the next one")
        graph.until(lambda: launched.output.count("listening to") == 2, "it to be ready")
    assert launched.process.returncode == 0


def test_a_node_that_cannot_start_tells_why(launch: Any, graph: Any) -> None:
    with launch("detector.launch.py", checkpoint="/nowhere.pt", rviz="false") as launched:
        graph.until(lambda: "process has died" in launched.output, "its end")
    assert re.search(r"\[detector\]: on_configure: .*/nowhere.pt", launched.output)


def test_a_bag_is_played_recorded_and_everything_ends(
    launch: Any, graph: Any, tiny_checkpoint: Path, tmp_path: Path, picture: Any, camera: Any
) -> None:
    if shutil.which("ros2") is None or not pytest.importorskip("ros2bag"):
        pytest.skip("needs ros2 bag")
    stamps_ns = [1_700_000_000_000_000_000 + index * 300_000_000 for index in range(5)]
    with open_writer(tmp_path / "drive", "bag", image_encoding="png") as writer:
        for index, stamp_ns in enumerate(stamps_ns):
            frame = Frame(str(index), stamp_ns, picture(index), camera, "cam", nominal_cam_T_lidar())
            writer.write(frame)
    arguments = {"bag": tmp_path / "drive", "out": tmp_path / "boxes", "checkpoint": tiny_checkpoint, "device": "cpu"}
    with launch("replay.launch.py", **arguments, delay=1.0, rviz="false", lidar_frame="lidar") as launched:
        launched.process.wait(60)
    assert launched.process.returncode == 0, launched.output
    with AnyReader([tmp_path / "boxes"]) as bag:
        arrays = [
            bag.deserialize(data, connection.msgtype)
            for connection, _, data in bag.messages()
            if connection.topic == "/detections"
        ]
    found_ns = [array.header.stamp.sec * 10**9 + array.header.stamp.nanosec for array in arrays]
    # All of them, unless the machine is so busy that a newer image comes first.
    assert found_ns == sorted(set(found_ns) & set(stamps_ns))
    assert len(found_ns) >= 3
    assert {array.header.frame_id for array in arrays} == {"cam"}
    assert np.all([len(array.detections) for array in arrays])
