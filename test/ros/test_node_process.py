"""The detector node as a process: it ends when asked to, whatever it is doing, and comes back when it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monotakd_ros.data.from_msg import stamp_ns_from_msg

rclpy = pytest.importorskip("rclpy", reason="needs rclpy: `make test-ros`, or a sourced ROS 2")

from rcl_interfaces.msg import Parameter, ParameterValue  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402

SOON_S = 30.0
"""It takes less than one on an idle machine."""
NO_SUCH_TYPE = 77
SLOW_LOADING = """
import sys, time
sys.path.insert(0, {repository!r})
import monotakd_ros.ros.live_detector as live_detector

def load(settings):
    print("loading", flush=True)
    while True:
        time.sleep(0.01)

live_detector.load_detector = load
from monotakd_ros.ros.detector_node import main
main()
"""


class NodeProcess:
    """A node's process, whose output is kept."""

    def __init__(self, script: Path, repository: Path, name: str, **parameters: Any) -> None:
        given = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(repository), *sys.path[1:]])}
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--ros-args", "-r", f"__node:={name}", *given],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ends(self, *numbers: int) -> str:
        """Send signals; returns the output once it has ended, soon and with 0."""
        begin = time.monotonic()
        for number in numbers:
            self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, output
        assert "Traceback" not in output and "KeyboardInterrupt" not in output
        assert time.monotonic() - begin < SOON_S
        return output

    def says(self, line: str) -> None:
        """Wait for a line of output; rcl may have something to say before."""
        assert self.process.stdout is not None
        assert any(said.strip() == line for said in self.process.stdout)

    def is_prepared(self) -> bool:
        """Whether it has handlers for signals; Python's own knows SIGINT only."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        caught = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
        return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.fixture
def launch(graph: Any, repository: Path, tiny_checkpoint: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Starts a node as a process."""
    made: list[NodeProcess] = []

    def make(name: str, script: Path = repository / "scripts" / "detector_node", **parameters: Any) -> NodeProcess:
        graph.listen("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
        settings = {
            "checkpoint": tiny_checkpoint,
            "device": "cpu",
            "publish_detections": False,
            "marker_score_threshold": 0.0,
            "diagnostics_period_s": 0.1,
        }
        made.append(NodeProcess(script, repository, name, **{**settings, **parameters}))
        return made[-1]

    yield make
    for item in made:
        if item.process.poll() is None:
            item.process.kill()
            item.process.communicate()


def wait_for_state(graph: Any, node: NodeProcess, state: str) -> None:
    def said() -> bool:
        statuses = [status for array in list(graph.heard["/diagnostics"]) for status in array.status]
        return any((status.name, status.message) == (f"{node.name}: detector", state) for status in statuses)

    graph.until(said, f"{node.name} to be {state}")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux which signals are caught")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["detector_node", "generate_node"])
def test_it_ends_while_libraries_load(graph: Any, launch: Any, repository: Path, name: str, number: int) -> None:
    node = launch("beginning", repository / "scripts" / name)
    graph.until(node.is_prepared, "the script's own handlers")
    assert node.ends(number) == ""


def test_it_ends_in_every_state(graph: Any, launch: Any, repository: Path, tmp_path: Path) -> None:
    script = tmp_path / "slow_loading.py"
    script.write_text(SLOW_LOADING.format(repository=str(repository)))
    active = launch("active")
    wait_for_state(graph, active, "active")
    active.ends(signal.SIGINT, signal.SIGINT, signal.SIGTERM)
    inactive = launch("inactive", autostart=False)
    wait_for_state(graph, inactive, "unconfigured")
    assert graph.transition("configure", "inactive") == "inactive"
    inactive.ends(signal.SIGINT)
    unconfigured = launch("unconfigured", autostart=False)
    wait_for_state(graph, unconfigured, "unconfigured")
    unconfigured.ends(signal.SIGTERM)
    loading = launch("loading", script)
    loading.says("loading")
    loading.ends(signal.SIGINT)
    loading_asked = launch("loading_asked", script, autostart=False)
    wait_for_state(graph, loading_asked, "unconfigured")
    ask_to_configure(graph, "loading_asked")
    loading_asked.says("loading")
    loading_asked.ends(signal.SIGTERM)


def ask_to_configure(graph: Any, name: str) -> None:
    """Ask, and wait for no answer."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    client = graph.node.create_client(ChangeState, f"/{name}/change_state")
    graph.until(client.service_is_ready, "the service")
    client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))


def test_it_comes_back_after_it_was_killed(graph: Any, launch: Any, picture: Any) -> None:
    heard = graph.listen("markers", "visualization_msgs/msg/MarkerArray")

    def boxes() -> Callable[[], bool]:
        """Sends images from now on, until there are boxes of one of them."""
        begin_ns = time.time_ns()

        def came() -> bool:
            graph.send_camera(picture(0), time.time_ns())
            time.sleep(0.05)
            return any(stamp_ns_from_msg(item.markers[0].header.stamp) >= begin_ns for item in list(heard))

        return came

    node = launch("detector")
    graph.until(boxes(), "boxes")
    node.process.kill()
    node.process.communicate()
    again = launch("detector")
    graph.until(boxes(), "boxes again")
    # A request that rclpy cannot read is the caller's fault: the node tells it and goes on.
    client = graph.node.create_client(SetParameters, "/detector/set_parameters")
    graph.until(client.service_is_ready, "the parameter service")
    unreadable = Parameter(name="score_threshold", value=ParameterValue(type=NO_SUCH_TYPE))
    client.call_async(SetParameters.Request(parameters=[unreadable]))
    assert graph.set_parameter("score_threshold", 0.001) == ""
    graph.until(boxes(), "boxes after that")
    again.process.send_signal(signal.SIGTERM)
    output, _ = again.process.communicate(timeout=120)
    assert again.process.returncode == 0
    assert output.count("a callback failed") == 1 and "77 is not a valid Parameter.Type" in output


def test_arguments_that_ros_cannot_read_are_told_in_one_line(launch: Any, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(repository / "scripts" / "detector_node"), "--ros-args", "-p", "cameras"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(repository), *sys.path[1:]])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Couldn't parse" in done.stderr and "Traceback" not in done.stderr
