"""What goes wrong on a vehicle, done to the node on purpose: it says so, and goes on. Table: docs/ros_faults.md."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from monotakd_ros.data.from_msg import stamp_ns_from_msg

rclpy = pytest.importorskip("rclpy", reason="needs rclpy: `make test-ros`, or a sourced ROS 2")

from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from monotakd_ros.ros import detector_health, worker  # noqa: E402

STAMP_NS = 1_700_000_000_000_000_000
MARKERS = "visualization_msgs/msg/MarkerArray"
GARBAGE = 300


class Stream:
    """A camera that goes on: image after image with rising stamps, until markers of one come back."""

    def __init__(self, graph: Any, picture: Any) -> None:
        self.graph, self.picture, self.stamp_ns = graph, picture, time.time_ns()
        self.heard = graph.listen("markers", MARKERS)

    def boxes(self) -> int:
        """How many boxes the next image gives."""
        self.stamp_ns += 1_000_000
        self.graph.send_camera(self.picture(0), self.stamp_ns)
        array = self.graph.until(self._answer, f"markers of {self.stamp_ns}")
        return sum(marker.action == 0 for marker in array.markers)

    def _answer(self) -> Any:
        stamps = ((stamp_ns_from_msg(item.markers[0].header.stamp), item) for item in list(self.heard))
        return next((item for stamp_ns, item in stamps if stamp_ns == self.stamp_ns), None)


@pytest.fixture
def stream(graph: Any, picture: Any) -> Stream:
    return Stream(graph, picture)


def health(graph: Any, part: str, level: str, words: str, meanwhile: Any = None) -> None:
    """Wait until the diagnostics of a part are of a level and have these words in their message."""

    def said() -> bool:
        if meanwhile is not None:
            meanwhile()
        found = graph.health(part) or {"level": "", "message": ""}
        return found["level"] == level and words in found["message"]

    graph.until(said, f"{part} to be of level {level} and say {words!r}")


def test_a_camera_that_is_unplugged_and_plugged_in_again(graph: Any, start: Any, stream: Stream) -> None:
    start(no_image_warn_s=2.0)
    health(graph, "camera", "0", "detecting", stream.boxes)
    graph.unplug("image")
    graph.unplug("camera_info")
    health(graph, "camera", "2", "on /image, 0 publishers")
    health(graph, "camera", "0", "detecting", stream.boxes)


def spoilt(graph: Any, image: np.ndarray, kind: int) -> Any:
    """An image message that is wrong in one of several ways."""
    generator = np.random.default_rng(kind)
    message = graph.make.image(image, STAMP_NS, "camera")
    wrong: list[dict[str, Any]] = [
        {"data": generator.integers(0, 256, 50, dtype=np.uint8).tobytes()},
        {"step": 10},
        {"step": 2**32 - 1},
        {"encoding": "hologram"},
        {"encoding": ""},
        {"encoding": "yuv422", "width": 127},
        {"encoding": "mono16", "is_bigendian": 255},
        {"height": 2**32 - 1, "width": 2**32 - 1},
        {"height": 0},
        {"width": 0, "step": 0},
        {"data": b""},
    ]
    for name, value in wrong[kind % len(wrong)].items():
        setattr(message, name, value)
    return message


def spoilt_compressed(graph: Any, image: np.ndarray, kind: int) -> Any:
    """The same for compressed images."""
    generator = np.random.default_rng(kind)
    message = graph.make.compressed_image(image, ("jpeg", "png")[kind % 2], STAMP_NS, "camera")
    whole = bytes(message.data)
    cut, place = whole[: int(generator.integers(0, len(whole)))], int(generator.integers(2, len(whole)))
    wrong = [cut, whole[:place] + bytes([whole[place - 1] ^ 0x55]) + whole[place:], generator.bytes(200)]
    message.data = wrong[kind // 2 % len(wrong)]
    return message


@pytest.mark.parametrize("compressed", [False, True], ids=["raw", "compressed"])
def test_garbage_at_full_rate(graph: Any, start: Any, picture: Any, camera: Any, compressed: bool) -> None:
    heard = graph.listen("markers", MARKERS)
    start(image_transport="compressed" if compressed else "raw")
    topic = "image/compressed" if compressed else "image"
    spoil = spoilt_compressed if compressed else spoilt
    graph.send("camera_info", graph.make.camera_info(camera, STAMP_NS, "camera"))
    for kind in range(GARBAGE):
        graph.send(topic, spoil(graph, picture(0), kind))

    def all_counted() -> Any:
        found = graph.health("camera") or {}
        return found.get("received") and found if _counted(found) == int(found.get("received", -1)) else None

    found = graph.until(all_counted, "every image to be counted once")
    assert int(found["bad"]) > 0 and found["level"] != "0"
    good = graph.make.compressed_image(picture(0), "png", STAMP_NS + 1, "camera")
    graph.send(topic, good if compressed else graph.make.image(picture(0), STAMP_NS + 1, "camera"))
    graph.until(
        lambda: [item for item in heard if stamp_ns_from_msg(item.markers[0].header.stamp) == STAMP_NS + 1], "boxes"
    )


def _counted(found: dict[str, str]) -> int:
    return sum(int(found[name]) for name in ("published", "replaced", "bad", "failed") if name in found)


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), RuntimeError("cuDNN error")]
)
def test_a_network_that_fails(graph: Any, start: Any, stream: Stream, monkeypatch: Any, error: Exception) -> None:
    node = start(no_image_warn_s=30.0)
    assert stream.boxes() > 0

    def fail(frames: Any) -> Any:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(node._live.detector, "detect_batch", fail)
        for count in range(1, detector_health.FAILING + 1):
            graph.send_camera(stream.picture(0), STAMP_NS + 10_000_000 + count)
            graph.until(
                lambda count=count: (graph.health("camera") or {}).get("failed") == str(count), f"{count} failed"
            )
        health(graph, "camera", "1", f"{type(error).__name__}: {error}")
        health(graph, "detector", "2", f"the network failed {detector_health.FAILING} times in a row")
    assert stream.boxes() > 0
    health(graph, "detector", "0", "active")


def test_a_network_that_hangs(graph: Any, start: Any, stream: Stream, monkeypatch: Any) -> None:
    monkeypatch.setattr(detector_health, "HANGING_S", 0.3)
    monkeypatch.setattr(worker, "HANGS_S", 0.3)
    node = start(no_image_warn_s=0.2)
    assert stream.boxes() > 0
    go_on = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(node._live.detector, "detect_batch", lambda frames: go_on.wait(20) and [])

        def hanging() -> Any:
            graph.send_camera(stream.picture(0), stream.stamp_ns + 1)
            return "no boxes went out" in (graph.health("camera") or {}).get("message", "")

        graph.until(hanging, "diagnostics of a network that hangs")
        assert graph.transition("deactivate") == "inactive"  # and not never
        go_on.set()
    assert graph.transition("activate") == "active"
    assert stream.boxes() > 0


def test_a_calibration_that_goes_to_and_fro(graph: Any, start: Any, stream: Stream, camera: Any) -> None:
    start()
    assert stream.boxes() > 0
    unknown = graph.make.camera_info(camera, STAMP_NS, "camera")
    unknown.k = [float("nan")] * 9
    for _ in range(50):
        graph.send("camera_info", unknown)
    graph.until(
        lambda: (graph.health("camera") or {}).get("calibrations") == "1", "one change, however often it is told"
    )
    graph.send("image", graph.make.image(stream.picture(0), STAMP_NS + 3, "camera"))
    health(graph, "camera", "1", "CameraInfo.K is not finite")
    assert stream.boxes() > 0


def test_simulated_time_that_jumps_back(graph: Any, start: Any, stream: Stream) -> None:
    node = start(use_sim_time=True, max_image_age_s=1.0)

    def set_clock(seconds: int) -> None:
        clock = Clock()
        clock.clock.sec = seconds
        graph.send("/clock", clock)

    def boxes_at(seconds: int) -> int:
        set_clock(seconds)
        graph.until(lambda: node.get_clock().now().nanoseconds == seconds * 1_000_000_000, "the node's clock")
        stream.stamp_ns = seconds * 1_000_000_000
        return stream.boxes()

    assert boxes_at(1000) > 0
    before = int((graph.health("camera") or {}).get("resets", 0))
    assert boxes_at(10) > 0
    graph.told("camera", lambda found: int(found.get("resets", 0)) > before, "a reset")


def test_a_storm_of_parameters(graph: Any, start: Any, stream: Stream) -> None:
    node = start()
    assert stream.boxes() > 0
    client = graph.node.create_client(SetParameters, "/detector/set_parameters")
    graph.until(client.service_is_ready, "the parameter service")
    wrong = [("score_threshold", 2.0), ("score_threshold", "a"), ("class_score_thresholds", ["Tram:1"]), ("no", 1)]
    answers = []
    for index in range(200):
        name, value = ("score_threshold", index / 1e6) if index % 2 else wrong[index // 2 % len(wrong)]
        parameters = [Parameter(name, value=value).to_parameter_msg()]
        answers.append(client.call_async(SetParameters.Request(parameters=parameters)))
        if len(answers) % 5 == 0:  # services keep ten requests, and drop older ones
            graph.until(answers[-1].done, f"answer {len(answers)}")
    assert [answer.result().results[0].successful for answer in answers] == [False, True] * 100
    assert node._node_parameters.current.score_threshold == pytest.approx(199e-6)
    assert stream.boxes() > 0


def test_a_transition_that_the_state_does_not_know_is_refused(graph: Any, start: Any, stream: Stream) -> None:
    start(autostart=False)
    for name, state in (
        ("activate", "unconfigured"),
        ("configure", "inactive"),
        ("configure", "inactive"),
        ("activate", "active"),
        ("on_configure_success", "active"),
        ("cleanup", "active"),
    ):
        assert graph.transition(name) == state
    assert stream.boxes() > 0


def test_an_activation_that_fails_leaves_nothing_half_listening(graph: Any, start: Any) -> None:
    start(autostart=False, **{"qos_overrides./image.subscription.reliability": "perhaps"})
    assert graph.transition("configure") == "inactive"
    assert graph.transition("activate") == "inactive"
    health(graph, "detector", "2", "Unexpected QoS override for policy `reliability`: `perhaps`")
    assert graph.node.count_subscribers("/camera_info") == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "detect"]


def test_images_of_years_ago_are_taken_and_told(graph: Any, start: Any, stream: Stream) -> None:
    start()
    stream.stamp_ns = STAMP_NS
    assert stream.boxes() > 0
    health(graph, "camera", "1", "s old when they arrive", stream.boxes)
