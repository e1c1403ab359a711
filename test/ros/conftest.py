"""Tiny weights for the nodes, and, where rclpy is, a real graph to run them in.

Tests that need ROS take the fixture `graph`, which skips where there is none. Every test process has a domain of its
own, so that machines and test workers do not hear each other.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from monotakd_ros.config import (
    BevConfig,
    Config,
    EncoderConfig,
    GridConfig,
    HeadConfig,
    InputConfig,
    PostprocessConfig,
    StudentConfig,
)
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.network.checkpoint import save_checkpoint
from monotakd_ros.network.student import build_student

SIZE = (128, 64)
CAMERA = CameraModel.from_intrinsics(70.0, 70.0, 63.0, 30.0, *SIZE)
TINY = Config(
    name="tiny",
    student=StudentConfig(
        input=InputConfig(width=SIZE[0], height=SIZE[1], focal_px=70.0, center_px=(63.0, 30.0)),
        grid=GridConfig((2.0, -8.0, -3.0, 18.0, 8.0, 1.0), (1.0, 1.0, 1.0)),
        encoder=EncoderConfig("basic", (1, 1, 1, 1), 8, (8, 8, 8, 8), 4, 4, 8, (2,), 0.0),
        bev=BevConfig(8, (1,), (1,), (8,), (8,)),
        head=HeadConfig(placement="cell_center"),
        postprocess=PostprocessConfig(score_threshold=0.0099, max_boxes=20),
    ),
)
DOMAINS = range(50, 100)
TIMEOUT_S = 120.0
"""For what takes less than one second on an idle machine: a loaded one is no failure."""


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student with random weights that finds boxes in anything."""
    torch.manual_seed(0)
    student = build_student(TINY.student)
    torch.nn.init.normal_(student.head.conv_cls.weight, std=0.5)
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    save_checkpoint(path, student.state_dict(), TINY, {})
    return path


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """Image number `index`, (H, W, 3) uint8 RGB: noise, the same each time."""

    def make(index: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)

    return make


@pytest.fixture(scope="session")
def camera() -> CameraModel:
    """The camera of `picture`."""
    return CAMERA


class Graph:
    """A node of the test's own: sends what cameras send, keeps what it hears, spins in a thread.

    Attributes:
        heard: messages by topic.
    """

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        from monotakd_ros.ros.optional import ros_message_types

        self._types = ros_message_types
        self.make = MessageBuilder(ros_message_types)
        self.node = rclpy.create_node("probe")
        self.heard: defaultdict[str, list[Any]] = defaultdict(list)
        self._publishers: dict[str, Any] = {}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._beside: list[tuple[Any, Any, threading.Thread]] = []
        self._ended = False
        self._broken: Exception | None = None
        self._thread = self._spinning(self._executor)

    def run(self, node: Any) -> Any:
        """Spin one of our nodes in this process until the test ends."""
        from rclpy.executors import SingleThreadedExecutor

        executor = SingleThreadedExecutor()
        executor.add_node(node)
        self._beside.append((node, executor, self._spinning(executor)))
        return node

    def listen(self, topic: str, message: str, qos: Any = 10) -> list[Any]:
        """Keep what comes on a topic; returns the list that grows."""
        self.node.create_subscription(self._types(message), topic, self.heard[topic].append, qos)
        return self.heard[topic]

    def send(self, topic: str, message: Any, qos: Any = None) -> None:
        """Publish, reliably unless told otherwise; the first time when somebody listens."""
        from rclpy.qos import QoSProfile

        if topic not in self._publishers:
            profile = QoSProfile(depth=10) if qos is None else qos
            publisher = self._publishers[topic] = self.node.create_publisher(type(message), topic, profile)
            self.until(lambda: publisher.get_subscription_count() > 0, f"a subscription of {topic}")
        self._publishers[topic].publish(message)

    def unplug(self, topic: str) -> None:
        """Publish no longer."""
        self.in_turn(self.node.destroy_publisher, self._publishers.pop(topic))

    def in_turn(self, act: Callable[..., Any], *arguments: Any, of: Any = None) -> Any:
        """What a call gives that is made between two callbacks of a node that `run` spins (None: the test's own).

        What is destroyed beside an executor that gathers what to wait for (events of publishers and subscriptions
        among it) breaks its spinning with `InvalidHandle`.
        """
        executors = {id(node): executor for node, executor, _ in self._beside}
        done = executors.get(id(of), self._executor).create_task(act, *arguments)
        self.until(done.done, act.__name__)
        return done.result()

    def send_camera(
        self, image: np.ndarray, stamp_ns: int, namespace: str = "", frame_id: str = "camera", camera: Any = CAMERA
    ) -> None:
        """CameraInfo and an image, as a driver sends them."""
        self.send(f"{namespace}camera_info", self.make.camera_info(camera, stamp_ns, frame_id))
        self.send(f"{namespace}image", self.make.image(image, stamp_ns, frame_id))

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> Any:
        """Wait until the condition holds; returns its value."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if self._broken is not None:
                raise self._broken
            assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
            time.sleep(0.01)
        return value

    def call(self, service: str, kind: Any, request: Any) -> Any:
        """Call a service and wait for the answer."""
        client = self.node.create_client(kind, service)
        self.until(client.service_is_ready, f"service {service}")
        future = client.call_async(request)
        self.until(future.done, f"an answer of {service}")
        self.in_turn(self.node.destroy_client, client)
        return future.result()

    def transition(self, name: str, node: str = "detector") -> str:
        """Ask for a transition, e.g. "activate"; returns the state after it."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState, GetState

        number = getattr(Transition, f"TRANSITION_{name.upper()}")
        self.call(f"/{node}/change_state", ChangeState, ChangeState.Request(transition=Transition(id=number)))
        return str(self.call(f"/{node}/get_state", GetState, GetState.Request()).current_state.label)

    def set_parameter(self, name: str, value: Any, node: str = "detector") -> str:
        """Set a parameter from outside; returns the reason of a refusal."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        (result,) = self.call(f"/{node}/set_parameters", SetParameters, request).results
        assert result.successful == (result.reason == "")
        return str(result.reason)

    def health(self, part: str) -> dict[str, str] | None:
        """What the diagnostics said last of a part, with its `level` and `message`; None when nothing."""
        for array in reversed(self.heard["/diagnostics"]):
            for status in array.status:
                if status.name.endswith(f": {part}"):
                    values = {item.key: item.value for item in status.values}
                    return {**values, "level": str(status.level[0]), "message": status.message}
        return None

    def told(self, part: str, condition: Callable[[dict[str, str]], Any], what: str) -> dict[str, str]:
        """Wait until the diagnostics say something of a part that meets the condition; returns it."""
        found = self.until(lambda: (said := self.health(part)) and condition(said) and said, f"diagnostics: {what}")
        return dict(found)

    def close(self) -> None:
        """End everything that spins."""
        self._ended = True
        for node, executor, thread in self._beside:
            thread.join()
            executor.shutdown()
            node.close()
            node.destroy_node()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()

    def _spinning(self, executor: Any) -> threading.Thread:
        def spin() -> None:
            while not self._ended:
                try:
                    executor.spin_once(timeout_sec=0.05)
                except Exception as error:  # a callback's: told where the test waits
                    self._broken = error

        thread = threading.Thread(target=spin, daemon=True)
        thread.start()
        return thread


@pytest.fixture(scope="session")
def ros_context() -> Iterator[None]:
    """ROS, on a domain of this process's own."""
    rclpy = pytest.importorskip("rclpy", reason="needs rclpy: `make test-ros`, or a sourced ROS 2")
    with free_domain() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        rclpy.init()
        yield
        rclpy.try_shutdown()


@contextmanager
def free_domain() -> Iterator[int]:
    """A ROS domain that no other test process of this machine has, as long as they all ask here."""
    with socket.socket(socket.AF_UNIX) as claim:
        for domain in DOMAINS:
            try:
                claim.bind(f"\0monotakd_ros_domain_{domain}")  # a name in memory, which goes with the process
            except OSError:
                continue
            yield domain
            return
    raise RuntimeError(f"all ROS domains from {DOMAINS[0]} to {DOMAINS[-1]} are taken by other tests")


@pytest.fixture
def graph(ros_context: None) -> Iterator[Graph]:
    """A real ROS graph with a node of the test's own in it."""
    made = Graph()
    yield made
    made.close()


@pytest.fixture
def start(graph: Graph, tiny_checkpoint: Path) -> Callable[..., Any]:
    """Starts a detector node with parameters; active unless it is told not to start."""
    from rclpy.parameter import Parameter

    from monotakd_ros.ros.detector_node import DetectorNode

    def make(namespace: str = "", cli_args: list[str] | None = None, **parameters: Any) -> DetectorNode:
        values = {
            "checkpoint": str(tiny_checkpoint),
            "device": "cpu",
            "publish_detections": False,
            "diagnostics_period_s": 0.1,
            "marker_score_threshold": 0.0,
            **parameters,
        }
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        graph.listen("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
        node = DetectorNode(parameter_overrides=overrides, namespace=namespace, cli_args=cli_args)
        assert node.start()
        return graph.run(node)

    return make
