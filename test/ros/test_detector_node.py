"""The detector node in a real graph, without what only a full ROS has (vision_msgs, tf2, cv_bridge)."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monotakd_ros.data.from_msg import stamp_ns_from_msg
from monotakd_ros.detector import Detector
from monotakd_ros.frame import Frame

rclpy = pytest.importorskip("rclpy", reason="needs rclpy: `make test-ros`, or a sourced ROS 2")

from rcl_interfaces.srv import DescribeParameters  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data  # noqa: E402

from monotakd_ros.ros.detector_node import DetectorNode  # noqa: E402

STAMP_NS = 1_700_000_000_000_000_000
MARKERS = "visualization_msgs/msg/MarkerArray"
DELETE_ALL, CUBE = 3, 1


def cubes(message: Any) -> list[Any]:
    return [marker for marker in message.markers if marker.action != DELETE_ALL and marker.type == CUBE]


def shown(graph: Any, heard: list[Any], picture: Any, stamp_ns: int, **camera: Any) -> Any:
    """Send an image; returns the markers of its boxes."""
    graph.send_camera(picture(0), stamp_ns, **camera)
    return graph.until(
        lambda: next((item for item in heard if stamp_ns_from_msg(item.markers[0].header.stamp) == stamp_ns), None),
        f"markers of {stamp_ns}",
    )


def test_boxes_are_those_of_the_detector(
    graph: Any, start: Any, picture: Any, tiny_checkpoint: Path, camera: Any
) -> None:
    heard = graph.listen("markers", MARKERS)
    start()
    message = shown(graph, heard, picture, STAMP_NS, frame_id="cam_optical")
    expected = Detector.from_checkpoint(tiny_checkpoint).detect(Frame("f", STAMP_NS, picture(0), camera))
    assert len(cubes(message)) == len(expected) > 0
    assert message.markers[0].action == DELETE_ALL
    assert {marker.header.frame_id for marker in message.markers} == {"cam_optical"}
    np.testing.assert_allclose([cube.scale.x for cube in cubes(message)], expected.boxes_lidar[:, 3], rtol=1e-6)


def test_an_image_without_boxes_takes_the_old_ones_away(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start()
    assert cubes(shown(graph, heard, picture, STAMP_NS))
    assert graph.set_parameter("score_threshold", 1.0) == ""
    assert [marker.action for marker in shown(graph, heard, picture, STAMP_NS + 1).markers] == [DELETE_ALL]


def test_the_annotated_image_is_made_for_listeners(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    pictures = graph.listen("annotated_image", "sensor_msgs/msg/Image")
    start()
    shown(graph, heard, picture, STAMP_NS)
    (image,) = graph.until(lambda: pictures, "the annotated image")
    drawn = np.frombuffer(image.data, np.uint8).reshape(64, 128, 3)
    assert 0 < (drawn != picture(0)).any(axis=2).mean() < 1
    assert stamp_ns_from_msg(image.header.stamp) == STAMP_NS


def test_thresholds_change_while_active_and_the_rest_says_why_not(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start()
    before = cubes(shown(graph, heard, picture, STAMP_NS))
    scores = sorted(float(marker.text.split()[1]) for marker in heard[-1].markers if marker.text)
    assert graph.set_parameter("class_score_thresholds", [f"{name}:1.0" for name in ("Car", "Pedestrian")]) == ""
    after = cubes(shown(graph, heard, picture, STAMP_NS + 1))
    assert len(after) < len(before) and scores
    assert "expected classes among" in graph.set_parameter("class_score_thresholds", ["Tram:0.5"])
    assert "entries like Class:0.4" in graph.set_parameter("class_score_thresholds", ["Car"])
    assert "out of range" in graph.set_parameter("score_threshold", 1.5)
    assert "deactivate and clean it up first" in graph.set_parameter("device", "cuda")
    assert len(cubes(shown(graph, heard, picture, STAMP_NS + 2))) == len(after)


def test_parameters_are_described(graph: Any, start: Any) -> None:
    start()
    names = ["score_threshold", "image_transport"]
    answer = graph.call("/detector/describe_parameters", DescribeParameters, DescribeParameters.Request(names=names))
    score, transport = answer.descriptors
    assert score.description.startswith("Lowest score") and score.floating_point_range[0].to_value == 1.0
    assert transport.additional_constraints == "raw | compressed"


def test_the_life_cycle(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start(autostart=False)
    assert graph.until(lambda: graph.health("detector"), "diagnostics")["message"] == "unconfigured"
    for name, state in (
        ("configure", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("cleanup", "unconfigured"),
        ("configure", "inactive"),
        ("activate", "active"),
    ):
        assert graph.transition(name) == state
    assert cubes(shown(graph, heard, picture, STAMP_NS))
    count = len(heard)
    assert graph.transition("deactivate") == "inactive"
    graph.until(lambda: len(heard) > count, "a last message")
    assert [marker.action for marker in heard[-1].markers] == [DELETE_ALL]
    assert graph.set_parameter("rectify", "never") != ""
    assert graph.transition("cleanup") == "unconfigured"
    assert graph.set_parameter("rectify", "never") == ""
    assert "read-only" in graph.set_parameter("autostart", True)


def test_a_missing_checkpoint_stops_at_configure_with_its_reason(graph: Any, start: Any, tmp_path: Path) -> None:
    start(autostart=False, checkpoint=str(tmp_path / "none.pt"))
    assert graph.transition("configure") == "unconfigured"
    health = graph.told("detector", lambda found: found["level"] == "2", "an error in the diagnostics")
    assert "none.pt" in health["message"]
    node = DetectorNode(parameter_overrides=[Parameter("checkpoint", value=str(tmp_path / "none.pt"))])
    assert not node.start()
    node.close()
    node.destroy_node()


def test_what_is_missing_is_named(graph: Any, start: Any) -> None:
    try:
        import vision_msgs  # noqa: F401
    except ImportError:
        start(autostart=False, publish_detections=True)
        assert graph.transition("configure") == "unconfigured"
        health = graph.told("detector", lambda found: found["level"] == "2", "an error")
        assert "vision_msgs" in health["message"] and "apt install" in health["message"]
    else:
        pytest.skip("nothing is missing here")


def test_images_that_cannot_be_used_are_counted_and_the_next_one_goes_on(
    graph: Any, start: Any, picture: Any, camera: Any
) -> None:
    heard = graph.listen("markers", MARKERS)
    start()
    graph.send("camera_info", graph.make.camera_info(camera, STAMP_NS, "camera"))

    def sent_and_counted(message: Any, what: str, count: int) -> str:
        graph.send("image", message)
        found = graph.told("camera", lambda found: found.get(what) == str(count) and found, f"{count} {what}")
        return str(found["message"])

    good = graph.make.image(picture(0), STAMP_NS, "camera")
    good.encoding = "hologram"
    assert "unknown encoding 'hologram'" in sent_and_counted(good, "bad", 1)
    good.encoding, good.data = "rgb8", good.data[:100]
    assert "truncated" in sent_and_counted(good, "bad", 2)
    other = graph.make.image(picture(0), STAMP_NS, "rear_camera")
    assert "'rear_camera', its CameraInfo of 'camera'" in sent_and_counted(other, "bad", 3)
    large = graph.make.image(picture(0, (100, 100)), STAMP_NS, "camera")
    assert "100 x 100" in sent_and_counted(large, "bad", 4)
    assert cubes(shown(graph, heard, picture, STAMP_NS + 5))


def test_an_image_before_any_camera_info_waits_for_nothing(graph: Any, start: Any, picture: Any) -> None:
    start()
    graph.send("image", graph.make.image(picture(0), STAMP_NS, "camera"))
    found = graph.told("camera", lambda found: found.get("no camera info") == "1", "a count")
    assert found["message"] == "no CameraInfo yet on /camera_info"


def test_old_images_are_skipped_where_that_is_asked_for(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start(max_image_age_s=60.0)
    now_ns = graph.node.get_clock().now().nanoseconds
    graph.send_camera(picture(0), now_ns - 300_000_000_000)
    graph.told("camera", lambda found: found.get("stale") == "1", "a stale image")
    now_ns = graph.node.get_clock().now().nanoseconds
    assert cubes(shown(graph, heard, picture, now_ns))


def test_a_silent_camera_is_an_error(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start(no_image_warn_s=2.0)
    found = graph.told("camera", lambda found: found["level"] == "2", "an error")
    assert found["message"].startswith("no image so far on /image, 0 publishers")
    stamps = itertools.count(STAMP_NS)

    def recovered(found: dict[str, str]) -> bool:
        shown(graph, heard, picture, next(stamps))
        return found["level"] != "2"

    graph.told("camera", recovered, "recovery")
    found = graph.told("camera", lambda found: found["level"] == "2", "an error")
    assert found["message"].startswith("no image for")


def test_a_bag_that_begins_again_is_taken_from_its_beginning(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start()
    shown(graph, heard, picture, STAMP_NS + 20_000_000_000)
    assert cubes(shown(graph, heard, picture, STAMP_NS))
    graph.until(lambda: (graph.health("camera") or {}).get("resets") == "1", "a reset")


def test_a_changed_calibration_counts_from_then_on(graph: Any, start: Any, picture: Any, camera: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start()
    first = cubes(shown(graph, heard, picture, STAMP_NS))
    other = camera.from_intrinsics(140.0, 140.0, 63.0, 30.0, 128, 64)
    second = cubes(shown(graph, heard, picture, STAMP_NS + 1, camera=other))
    assert [cube.pose.position.z for cube in first] != [cube.pose.position.z for cube in second]
    found = graph.told("camera", lambda found: found.get("calibrations") == "1", "a change")
    assert "the camera is assumed level" in found["beyond training"]


def test_a_publisher_of_another_qos_shows(graph: Any, start: Any, picture: Any) -> None:
    start(**{"qos_overrides./image.subscription.reliability": "reliable", "no_image_warn_s": 0.2})
    publisher = graph.node.create_publisher(
        type(graph.make.image(picture(0), 0, "")),
        "image",
        QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
    )
    found = graph.told("camera", lambda found: "QoS" in found["message"], "a QoS problem")
    assert "qos_overrides./image.subscription.reliability" in found["message"]
    graph.in_turn(graph.node.destroy_publisher, publisher)


def test_several_cameras_go_through_the_network_together(graph: Any, start: Any, picture: Any) -> None:
    heard = {name: graph.listen(f"{name}/markers", MARKERS) for name in ("front", "left")}
    start(cameras=["front", "left"], batch_window_s=0.5)
    for name in heard:
        graph.send_camera(picture(0), STAMP_NS, f"{name}/", frame_id=name)
    for name, messages in heard.items():
        message = graph.until(
            lambda messages=messages: next((item for item in messages if cubes(item)), None), f"boxes of {name}"
        )
        assert message.markers[0].header.frame_id == name
    assert graph.set_parameter("enabled_cameras", ["left"]) == ""
    graph.until(lambda: (graph.health("camera front") or {}).get("message") == "disabled", "front disabled")
    assert "expected names among" in graph.set_parameter("enabled_cameras", ["rear"])
    assert graph.set_parameter("enabled_cameras", ["*"]) == ""
    graph.until(lambda: (graph.health("camera front") or {}).get("message") != "disabled", "front enabled")


def test_compressed_images_give_the_same_boxes(graph: Any, start: Any, picture: Any, camera: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start(image_transport="compressed")
    graph.send("camera_info", graph.make.camera_info(camera, STAMP_NS, "camera"), qos_profile_sensor_data)
    graph.send("image/compressed", graph.make.compressed_image(picture(0), "png", STAMP_NS, "camera"))
    message = graph.until(lambda: next((item for item in heard if cubes(item)), None), "boxes")
    assert stamp_ns_from_msg(message.markers[0].header.stamp) == STAMP_NS


def test_an_activation_that_fails_leaves_nothing_behind(
    graph: Any, start: Any, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = graph.listen("markers", MARKERS)
    node = start(autostart=False)
    assert graph.transition("configure") == "inactive"
    with monkeypatch.context() as patched:
        patched.setattr(node._live, "follow", lambda settings: 1 / 0)
        assert graph.transition("activate") == "inactive"
    found = graph.told("detector", lambda found: found["level"] == "2", "an error")
    assert "division by zero" in found["message"]
    assert not any(publisher.is_activated for publisher in node._live.cameras[""].outputs._made)
    assert graph.transition("activate") == "active"
    assert cubes(shown(graph, heard, picture, STAMP_NS))


def test_a_failing_deactivation_puts_everything_away(graph: Any, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = start()
    original, failures = node._live.deactivate, iter([RuntimeError("stuck")])

    def fail_once() -> None:
        for error in failures:
            raise error
        original()

    monkeypatch.setattr(node._live, "deactivate", fail_once)
    assert graph.transition("deactivate") == "unconfigured"
    found = graph.told("detector", lambda found: found["level"] == "2", "an error")
    assert "stuck" in found["message"]
    assert graph.transition("configure") == "inactive"


def test_overrides_that_cannot_be_are_named_and_leave_no_publishers(graph: Any, start: Any) -> None:
    node = start(autostart=False, **{"qos_overrides./markers.publisher.reliability": "sometimes"})
    before = len(list(node.publishers))
    for _ in range(2):
        assert graph.transition("configure") == "unconfigured"
    assert len(list(node.publishers)) == before
    found = graph.told("detector", lambda found: found["level"] == "2", "an error")
    assert "qos_overrides" in found["message"]


def test_in_a_namespace_with_swapped_names(graph: Any, start: Any, picture: Any) -> None:
    names = {"front/image": "/rear/image", "rear/image": "/front/image"}
    names |= {name.replace("image", "camera_info"): to.replace("image", "camera_info") for name, to in names.items()}
    rules = [word for name, to in names.items() for word in ("-r", f"{name}:={to}")]
    node = start(namespace="/car", cli_args=["--ros-args", *rules], cameras=["front", "rear"])
    heard = {name: graph.listen(f"/car/{name}/markers", MARKERS) for name in ("front", "rear")}
    assert node._live.cameras["front"].input.image_topic == "/rear/image"
    graph.send_camera(picture(0), STAMP_NS, "/rear/", frame_id="what the front camera sees")
    message = graph.until(lambda: next((item for item in heard["front"] if cubes(item)), None), "boxes of front")
    assert message.markers[0].header.frame_id == "what the front camera sees"
    assert not any(cubes(item) for item in heard["rear"])


def test_a_disabled_camera_shows_nothing_of_what_was_under_way(
    graph: Any, start: Any, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = graph.listen("front/markers", MARKERS)
    node = start(cameras=["front", "left"], batch_window_s=0.0)
    begun, go_on = threading.Event(), threading.Event()
    original = node._live.detector.detect_batch

    def slow(frames: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return original(frames)

    monkeypatch.setattr(node._live.detector, "detect_batch", slow)
    graph.send_camera(picture(0), STAMP_NS, "front/")
    assert begun.wait(20)
    assert graph.set_parameter("enabled_cameras", ["left"]) == ""
    go_on.set()
    other = graph.listen("left/markers", MARKERS)
    graph.send_camera(picture(0), STAMP_NS + 1, "left/")
    graph.until(lambda: any(cubes(item) for item in other), "boxes of the other camera")
    assert not any(cubes(item) for item in heard)


def test_cleanup_gives_the_network_back(graph: Any, start: Any) -> None:
    node = start()
    network = weakref.ref(node._live.detector._network)
    graph.transition("deactivate")
    assert graph.transition("cleanup") == "unconfigured"
    assert network() is None


def test_simulated_time_without_a_clock_shows(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start(use_sim_time=True)
    assert cubes(shown(graph, heard, picture, STAMP_NS))
    found = graph.told("detector", lambda found: found["level"] == "1", "a warning")
    assert "/clock" in found["message"]
    assert float(graph.told("camera", lambda found: "transport p50 ms" in found, "latency")["transport p50 ms"]) == 0.0


def test_a_camera_ahead_of_our_clock_shows(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start(no_image_warn_s=600.0)
    stamp_ns = graph.node.get_clock().now().nanoseconds + 60_000_000_000
    shown(graph, heard, picture, stamp_ns)
    graph.told("camera", lambda found: "ahead of this machine's clock" in found["message"], "a warning")


def test_listening_again_begins_without_an_error(graph: Any, start: Any, picture: Any) -> None:
    heard = graph.listen("markers", MARKERS)
    start(no_image_warn_s=1.0)
    shown(graph, heard, picture, graph.node.get_clock().now().nanoseconds)
    graph.transition("deactivate")
    time.sleep(1.2)
    graph.heard["/diagnostics"].clear()
    assert graph.transition("activate") == "active"
    found = graph.told("camera", lambda found: "not listening" not in found["message"], "listening again")
    assert found["level"] == "0"


def test_boxes_that_cannot_be_published_are_told_as_that(
    graph: Any, start: Any, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = graph.listen("markers", MARKERS)
    node = start()
    with monkeypatch.context() as patched:
        patched.setattr(node._live.cameras[""].outputs, "publish", lambda *_: 1 / 0)
        graph.send_camera(picture(0), STAMP_NS)
        found = graph.told("camera", lambda found: found.get("unsent") == "1", "unsent")
    assert "ZeroDivisionError" in found["message"] and found["failed"] == "0"
    assert cubes(shown(graph, heard, picture, STAMP_NS + 1))
