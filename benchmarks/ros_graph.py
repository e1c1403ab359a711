"""What the live benchmarks share: the detector node as a process of its own, and a camera that feeds it.

Needs a sourced ROS 2 with vision_msgs.
"""

from __future__ import annotations

import array
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import torch
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy

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
from monotakd_ros.data.from_msg import stamp_ns_from_msg
from monotakd_ros.data.to_msg import MessageBuilder
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.network.checkpoint import save_checkpoint
from monotakd_ros.network.student import build_student
from monotakd_ros.ros.optional import ros_message_types
from monotakd_ros.ros.qos import latched

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "detector_node"
READY_S = 60.0
TINY_SIZE = (128, 64)


def tiny_camera(size: tuple[int, int] = TINY_SIZE) -> CameraModel:
    """A camera whose images the tiny network sees whole."""
    scale = size[0] / TINY_SIZE[0]
    return CameraModel.from_intrinsics(70 * scale, 70 * scale, 63 * scale, 30 * scale, *size)


def write_tiny_checkpoint(path: Path) -> Path:
    """A student of a few thousand random weights, which answers in milliseconds and finds boxes in anything."""
    config = Config(
        name="tiny",
        student=StudentConfig(
            input=InputConfig(*TINY_SIZE, focal_px=70.0, center_px=(63.0, 30.0)),
            grid=GridConfig((2.0, -8.0, -3.0, 18.0, 8.0, 1.0), (1.0, 1.0, 1.0)),
            encoder=EncoderConfig("basic", (1, 1, 1, 1), 8, (8, 8, 8, 8), 4, 4, 8, (2,), 0.0),
            bev=BevConfig(8, (1,), (1,), (8,), (8,)),
            head=HeadConfig(placement="cell_center"),
            postprocess=PostprocessConfig(score_threshold=0.0099, max_boxes=20),
        ),
    )
    torch.manual_seed(0)
    student = build_student(config.student)
    torch.nn.init.normal_(student.head.conv_cls.weight, std=0.5)
    save_checkpoint(path, student.state_dict(), config, {})
    return path


def machine_cpu_s() -> float:
    """Seconds of processor time of the whole machine so far."""
    numbers = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")


class NodeProcess:
    """The detector node, as `ros2 run` starts it.

    Args:
        parameters: of the node; empty ones are left out, since ROS's command line knows no empty string.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        given = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}") if value != ""]
        command = [sys.executable, str(SCRIPT), "--ros-args", "--log-level", "warn", *given]
        self._process = subprocess.Popen(command)
        self._system = Path("/proc") / str(self._process.pid)

    def cpu_s(self) -> float:
        """Seconds of processor time so far, of all threads."""
        numbers = (self._system / "stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    def others_cpu_s(self) -> float:
        """The same of everything else on the machine but this benchmark."""
        mine = os.times()
        return machine_cpu_s() - self.cpu_s() - mine.user - mine.system

    def memory_mib(self) -> float:
        """Resident now."""
        return int((self._system / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def threads(self) -> int:
        """How many it has."""
        return len(list((self._system / "task").iterdir()))

    def files(self) -> int:
        """Open file descriptors."""
        return len(list((self._system / "fd").iterdir()))

    def stop(self) -> int:
        """End it, as Ctrl-C does; returns the exit code."""
        self._process.terminate()
        return self._process.wait(timeout=20)


@dataclass
class Heard:
    """When the detections of each image came: seconds after the image's stamp, in the order of arrival."""

    latency_s: list[float] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)


class Camera:
    """A node that sends images and hears what comes of them, and what the detector says of itself.

    Args:
        images: (H, W, 3) uint8 RGB each, sent in turn.
        camera: theirs.
        compressed: send JPEG.

    Attributes:
        sent: how many images so far.
        heard: detections so far.
        health: newest diagnostics, by part.
    """

    def __init__(self, images: Sequence[np.ndarray], camera: CameraModel, compressed: bool = False) -> None:
        self.node = rclpy.create_node("bench_camera")
        self.sent, self.heard = 0, Heard()
        self.health: defaultdict[str, dict[str, str]] = defaultdict(dict)
        make = self._make = MessageBuilder(ros_message_types)
        build = (lambda image: make.compressed_image(image, "jpeg", 0, "camera")) if compressed else None
        self._images = [build(image) if build else make.image(image, 0, "camera") for image in images]
        for message in self._images:  # rclpy copies an array at once, and a list one by one
            message.data = array.array("B", bytes(message.data))
        self._info = make.camera_info(camera, 0, "camera")
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        topic = "image/compressed" if compressed else "image"
        self._image_publisher = self.node.create_publisher(type(self._images[0]), topic, qos)
        self._info_publisher = self.node.create_publisher(type(self._info), "camera_info", qos)
        listen = self.node.create_subscription
        listen(ros_message_types("vision_msgs/msg/Detection3DArray"), "detections", self._take, 50)
        listen(ros_message_types("diagnostic_msgs/msg/DiagnosticArray"), "/diagnostics", self._note, 50)

    def listen(self, topic: str, message: str) -> None:
        """Have one more topic published, and throw away what comes."""
        self.node.create_subscription(ros_message_types(message), topic, lambda _: None, 10)

    def send_static_transform(self, parent: str) -> None:
        """Say on /tf_static that the camera stands in the middle of `parent`."""
        transform = self._make.transform(np.eye(4), parent, "camera", 0)
        self._static = self.node.create_publisher(type(transform), "/tf_static", latched())
        self._static.publish(transform)

    def entities(self, node: str) -> tuple[int, int, int]:
        """How many publishers, subscriptions and services a node has in the graph."""
        by_node = (
            self.node.get_publisher_names_and_types_by_node,
            self.node.get_subscriber_names_and_types_by_node,
            self.node.get_service_names_and_types_by_node,
        )
        return tuple(len(ask(node, "/")) for ask in by_node)  # type: ignore[return-value]

    def wait_for_node(self) -> None:
        """Until the detector listens."""
        if not self.until(lambda: self._image_publisher.get_subscription_count() and self.health["detector"], READY_S):
            raise SystemExit(f"no detector node that listens after {READY_S:g} s")

    def send(self) -> int:
        """One image; returns its stamp, ns."""
        message = self._images[self.sent % len(self._images)]
        stamp = self.node.get_clock().now()
        message.header.stamp = self._info.header.stamp = stamp.to_msg()
        self._info_publisher.publish(self._info)
        self._image_publisher.publish(message)
        self.sent += 1
        return stamp.nanoseconds

    def play(self, count: int, rate_hz: float) -> None:
        """Send `count` images at a steady rate."""
        begin = time.perf_counter()
        for index in range(count):
            time.sleep(max(0.0, begin + index / rate_hz - time.perf_counter()))
            self.send()

    def ask(self, timeout_s: float = 2.0) -> bool:
        """Send one image and wait for its boxes; returns whether they came."""
        stamp_ns = self.send()
        return self.until(lambda: bool(self.heard.stamps_ns) and self.heard.stamps_ns[-1] == stamp_ns, timeout_s)

    def ask_until_answered(self, timeout_s: float = 10.0) -> bool:
        """The same again and again: the first images after subscribing may get lost."""
        deadline = time.monotonic() + timeout_s
        while not (answered := self.ask(0.3)) and time.monotonic() < deadline:
            pass
        return answered

    @staticmethod
    def until(condition: Any, timeout_s: float) -> bool:
        """Wait until it holds, or the time is over; returns which."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True

    def _take(self, message: Any) -> None:
        stamp_ns = stamp_ns_from_msg(message.header.stamp)
        self.heard.latency_s.append((self.node.get_clock().now().nanoseconds - stamp_ns) * 1e-9)
        self.heard.stamps_ns.append(stamp_ns)

    def _note(self, message: Any) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            self.health[status.name.partition(": ")[2]] = {**values, "message": status.message}


@contextmanager
def live(
    parameters: dict[str, Any], images: Sequence[np.ndarray], camera: CameraModel, compressed: bool = False
) -> Iterator[tuple[NodeProcess, Camera]]:
    """A detector node and a camera in one graph, while inside."""
    rclpy.init()
    executor = SingleThreadedExecutor()
    source = Camera(images, camera, compressed)
    executor.add_node(source.node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    transport = "compressed" if compressed else "raw"
    node = NodeProcess({"image_transport": transport, **parameters})
    try:
        source.wait_for_node()
        yield node, source
    finally:
        code = node.stop()
        executor.shutdown()
        rclpy.try_shutdown()
        thread.join()
        if code != 0:
            raise SystemExit(f"the node ended with exit code {code}")


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        while rclpy.ok():
            executor.spin_once(timeout_sec=0.1)
    except ExternalShutdownException:
        pass
