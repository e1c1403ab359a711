"""`generate_node` in a real graph: with rclpy alone, and, where they are, with a full ROS's parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monotakd_ros.data.from_msg import image_from_msg, points_from_msg, stamp_ns_from_msg
from monotakd_ros.data.kitti_text import calibration_text
from monotakd_ros.data.source import open_source
from monotakd_ros.generation.generate import GenerationResult
from monotakd_ros.geometry.transforms import invert_transform, nominal_cam_T_lidar

rclpy = pytest.importorskip("rclpy", reason="needs rclpy: `make test-ros`, or a sourced ROS 2")

from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data  # noqa: E402

from monotakd_ros.ros.generate_node import GenerateNode  # noqa: E402
from monotakd_ros.ros.qos import latched  # noqa: E402

MARKERS = "visualization_msgs/msg/MarkerArray"
KEEP_ALL = "selection: {max_rate_hz: 0, min_motion_m: 0, min_novelty: 0, min_points: 1}\nsegment_s: 0.3\n"


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Networks run here."""


@pytest.fixture
def start(graph: Any, networks: dict[str, Path], tmp_path: Path) -> Callable[..., GenerateNode]:
    """Starts the node with parameters, into `tmp_path / out`."""
    config = tmp_path / "settings.yaml"
    config.write_text(KEEP_ALL)

    def make(remaps: Iterable[str] = (), **parameters: Any) -> GenerateNode:
        values = {
            "out": str(tmp_path / "out"),
            "config": str(config),
            "device": "cpu",
            "jobs": 1,
            "preview_rate_hz": 100.0,
            **parameters,
        }
        if values.get("mode") != "live":
            values.setdefault("teacher", str(networks["teacher"]))
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        graph.listen("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
        remapped = ["--ros-args", *(word for remap in remaps for word in ("-r", remap))]
        node = GenerateNode(parameter_overrides=overrides, cli_args=remapped)
        assert node.start()
        return graph.run(node)

    return make


def stamp_of(message: Any) -> int:
    return stamp_ns_from_msg(message.header.stamp)


def test_a_recording_becomes_a_set(graph: Any, start: Any, drive: Path, make_frame: Any, tmp_path: Path) -> None:
    images = graph.listen("/generate/image", "sensor_msgs/msg/Image", latched())
    clouds = graph.listen("/generate/points", "sensor_msgs/msg/PointCloud2", latched())
    markers = graph.listen("/generate/teacher/markers", MARKERS, latched())
    progress = graph.listen("/generate/progress", "std_msgs/msg/Float32")
    node = start(recordings=[str(drive)])
    graph.until(lambda: node.is_done, "the end")
    graph.until(lambda: images and clouds and markers, "previews")
    health = graph.until(lambda: (graph.health("recordings") or {}).get("message") == "done: 10 frames", "diagnostics")
    health = graph.health("recordings")
    assert (node.exit_code, health["level"], health["frames"]) == (0, "0", "10")
    graph.until(lambda: progress and progress[-1].data == 1.0, "progress")
    assert len(open_source(tmp_path / "out")) == 10
    recorded = {make_frame(index).stamp_ns: make_frame(index) for index in range(10)}
    np.testing.assert_array_equal(image_from_msg(images[0], ""), recorded[stamp_of(images[0])].image)
    rows = {row.tobytes() for row in recorded[stamp_of(clouds[0])].points_lidar}
    shown = points_from_msg(clouds[0], "")
    assert len(shown) and all(row.tobytes() in rows for row in shown) and clouds[0].header.frame_id == "lidar"
    assert markers[0].markers[0].action == 3 and len(markers[0].markers) > 1


def test_nothing_is_made_for_nobody(start: Any, graph: Any, drive: Path, monkeypatch: Any) -> None:
    node = start(recordings=[str(drive)])
    monkeypatch.setattr(node._previews, "publish", lambda boxed: pytest.fail("nobody listens"))
    monkeypatch.setattr(node._run, "preview", lambda: pytest.fail("nobody listens"))
    graph.until(lambda: node.is_done, "the end")


def test_a_qos_override_is_that_of_its_topic_alone(start: Any, graph: Any, drive: Path) -> None:
    override = {"qos_overrides./generate/image.publisher.reliability": "best_effort"}
    node = start(recordings=[str(drive)], **override)
    offered = {
        topic: graph.until(lambda topic=topic: graph.node.get_publishers_info_by_topic(topic), topic)[0].qos_profile
        for topic in ("/generate/image", "/generate/camera_info", "/generate/points", "/generate/labels/markers")
    }
    kept = {topic: qos.reliability == ReliabilityPolicy.RELIABLE for topic, qos in offered.items()}
    assert kept == {topic: topic != "/generate/image" for topic in offered}
    graph.until(lambda: node.is_done, "the end")


def test_what_is_read_at_start_is_refused_later(graph: Any) -> None:
    node = graph.run(GenerateNode())
    assert graph.set_parameter("jobs", 3, "generate") == "jobs: read at start; restart the node with the new value"
    assert graph.set_parameter("max_gib", 3.0, "generate") == ""
    assert node._limits() == (3.0, 1.0)


def test_what_cannot_begin_does_not(graph: Any) -> None:
    node = GenerateNode(parameter_overrides=[Parameter("out", value="set")])
    assert not node.start()
    node.close()
    node.destroy_node()


@pytest.fixture
def drive_live(graph: Any, make_frame: Any) -> Callable[..., None]:
    """Sends frames as a vehicle does, each until it is recorded: subscriptions may be new."""

    def send(indices: Iterable[int], recorded: Callable[[], int], topic: str = "image") -> None:
        for index in indices:
            frame, before = make_frame(index), recorded()
            where = (frame.stamp_ns, "camera")
            packed = topic.endswith("compressed")
            image = graph.make.compressed_image(frame.image, "png", *where) if packed else None
            deadline = time.monotonic() + 120
            while recorded() == before:
                assert time.monotonic() < deadline, f"frame {index} is not recorded: {graph.health('live')}"
                graph.send("camera_info", graph.make.camera_info(frame.camera, *where))
                graph.send("points", graph.make.point_cloud(frame.points_lidar, frame.stamp_ns, "lidar"))
                graph.send(topic, image or graph.make.image(frame.image, *where))
                time.sleep(0.3)

    return send


@pytest.fixture
def calibration(tmp_path: Path, make_frame: Any) -> str:
    path = tmp_path / "calib.txt"
    path.write_text(calibration_text(make_frame(0).camera.img_P_cam, nominal_cam_T_lidar()))
    return str(path)


def test_a_drive_is_recorded_while_it_happens(
    graph: Any, start: Any, drive_live: Any, calibration: str, make_frame: Any, tmp_path: Path
) -> None:
    node = start(mode="live", calibration=calibration, world_frame="")
    drive_live(range(4), lambda: node._run._recorder.kept)
    assert graph.until(lambda: (graph.health("live") or {}).get("message") == "recording", "diagnostics")
    node.close()
    source = open_source(tmp_path / "out" / "parts" / "part_000000")
    frames = list(source.frames())
    assert [frame.stamp_ns for frame in frames] == [make_frame(index).stamp_ns for index in range(4)]
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, make_frame(index).image)
        np.testing.assert_array_equal(frame.points_lidar, make_frame(index).points_lidar)


def test_compressed_images_of_a_remapped_camera(
    start: Any, drive_live: Any, calibration: str, make_frame: Any, tmp_path: Path
) -> None:
    node = start(
        ["image:=/front/image_rect"],
        mode="live",
        calibration=calibration,
        world_frame="",
        image_transport="compressed",
        part_format="kitti",
    )
    drive_live([0], lambda: node._run._recorder.kept, "/front/image_rect/compressed")
    node.close()
    (recorded,) = open_source(tmp_path / "out" / "parts" / "part_000000").frames()
    np.testing.assert_array_equal(recorded.image, make_frame(0).image)


def test_names_are_remapped_once(start: Any, drive_live: Any, calibration: str) -> None:
    node = start(["image:=/left", "/left:=/right"], mode="live", calibration=calibration, world_frame="")
    assert {item.topic_name for item in node.subscriptions} == {"/left", "/camera_info", "/points"}
    drive_live([0], lambda: node._run._recorder.kept, "/left")


def test_a_camera_info_that_is_sent_once_is_heard(graph: Any, start: Any, calibration: str, make_frame: Any) -> None:
    frame = make_frame(0)
    message = graph.make.camera_info(frame.camera, frame.stamp_ns, "camera")
    publisher = graph.node.create_publisher(type(message), "camera_info", latched())
    publisher.publish(message)
    override = "qos_overrides./camera_info.subscription."
    wanted = {f"{override}durability": "transient_local", f"{override}reliability": "reliable"}
    node = start(mode="live", calibration=calibration, world_frame="", **wanted)
    graph.until(lambda: node._run._frames.images.has_camera_info, "CameraInfo")


def test_another_qos_is_told(graph: Any, start: Any, calibration: str, make_frame: Any) -> None:
    cloud = graph.make.point_cloud(make_frame(0).points_lidar, 0, "lidar")
    graph.node.create_publisher(type(cloud), "points", qos_profile_sensor_data)
    override = {"qos_overrides./points.subscription.reliability": "reliable"}
    node = start(mode="live", calibration=calibration, world_frame="", **override)
    graph.until(lambda: "qos_overrides./points.subscription.reliability" in node._run._missing(), "the problem")


def test_a_full_disk_stops_the_recording_and_room_lets_it_go_on(
    graph: Any, start: Any, drive_live: Any, calibration: str
) -> None:
    node = start(mode="live", calibration=calibration, world_frame="")
    recorder = node._run._recorder
    drive_live([0], lambda: recorder.kept)
    assert node.set_parameters([Parameter("min_free_gib", value=1e9)])[0].successful
    graph.until(lambda: (graph.health("live") or {}).get("level") == "2", "an error")
    assert "recording stopped" in graph.health("live")["message"]
    graph.until(lambda: len(recorder.parts) == 1, "the part")
    assert node.set_parameters([Parameter("min_free_gib", value=0.0)])[0].successful
    node._run.resume()
    drive_live([1], lambda: recorder.kept)
    assert recorder.kept == 2


def test_room_lets_labelling_go_on_too(
    graph: Any, start: Any, calibration: str, networks: Any, write_drive: Any, make_frame: Any, tmp_path: Path
) -> None:
    write_drive(tmp_path / "out" / "parts" / "part_000000", [make_frame(0)])
    teacher = str(networks["teacher"])
    node = start(mode="live", calibration=calibration, world_frame="", teacher=teacher, min_free_gib=1e9)
    labels = node._run._labels
    graph.until(lambda: "min_free_gib" in labels.trouble, "the quota's objection")
    assert node.set_parameters([Parameter("min_free_gib", value=0.0)])[0].successful
    assert node._ask("resume", node._run.resume)[0]
    graph.until(lambda: labels.labelled == 1, "labels")
    graph.until(lambda: (graph.health("live") or {}).get("level") != "2", "no error")


def test_cancelled_work_does_not_go_on(graph: Any, start: Any, drive_live: Any, calibration: str) -> None:
    node = start(mode="live", calibration=calibration, world_frame="")
    recorder = node._run._recorder
    drive_live([0], lambda: recorder.kept)
    assert graph.in_turn(node._ask, "cancel", node._run.cancel, of=node)[0]
    graph.until(lambda: len(recorder.parts) == 1, "the part")
    health = graph.until(
        lambda: (told := graph.health("live")) and told["message"].startswith("cancelled; ") and told, "diagnostics"
    )
    assert health["level"] == "1"
    for name in ("pause", "resume"):
        done, why = node._ask(name, getattr(node._run, name))
        assert not done and "cancelled" in why
    assert list(node.subscriptions) == [] and node._ask("cancel", node._run.cancel)[0]


def test_a_cancelled_set_is_not_resumed(graph: Any, start: Any, drive: Path) -> None:
    node = start(recordings=[str(drive)])
    node._ask("pause", node._run.pause)
    assert node._ask("cancel", node._run.cancel)[0]
    done, why = node._ask("resume", node._run.resume)
    assert not done and why in ("the work is over", "it was cancelled; the node started again goes on")
    graph.until(lambda: node.is_done, "the end")


def test_a_cancel_waits_for_nothing(
    start: Any, calibration: str, networks: Any, monkeypatch: Any, write_drive: Any, make_frame: Any, tmp_path: Path
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def generate(*_: Any) -> GenerationResult:
        begun.set()
        assert go_on.wait(20)
        return GenerationResult()

    monkeypatch.setattr("monotakd_ros.ros.live_labels.generate", generate)
    write_drive(tmp_path / "out" / "parts" / "part_000000", [make_frame(0)])
    node = start(mode="live", calibration=calibration, world_frame="", teacher=str(networks["teacher"]))
    assert begun.wait(20)
    with monkeypatch.context() as within:
        within.setattr(node._run._labels._thread, "join", lambda timeout: pytest.fail("waits for the image at hand"))
        assert node._ask("cancel", node._run.cancel)[0]
    go_on.set()


def test_the_services(graph: Any, start: Any, drive_live: Any, calibration: str) -> None:
    trigger = pytest.importorskip("std_srvs.srv", reason="needs std_srvs").Trigger
    node = start(mode="live", calibration=calibration, world_frame="")
    recorder = node._run._recorder
    drive_live([0], lambda: recorder.kept)
    assert graph.call("/generate/pause", trigger, trigger.Request()).success
    graph.until(lambda: len(recorder.parts) == 1, "the part")
    assert graph.until(lambda: (graph.health("live") or {}).get("message") == "paused", "diagnostics")
    assert graph.call("/generate/resume", trigger, trigger.Request()).success
    drive_live([1], lambda: recorder.kept)
    assert graph.call("/generate/cancel", trigger, trigger.Request()).success
    assert not graph.call("/generate/resume", trigger, trigger.Request()).success
    graph.until(lambda: len(recorder.parts) == 2, "the second part")


def test_tf_places_the_lidar(graph: Any, start: Any, drive_live: Any, make_frame: Any, tmp_path: Path) -> None:
    pytest.importorskip("tf2_ros", reason="needs a full ROS 2")
    pytest.importorskip("message_filters", reason="needs a full ROS 2")
    node = start(mode="live", world_frame="odom")
    lidar_T_cam = invert_transform(nominal_cam_T_lidar())
    stamp_ns = make_frame(0).stamp_ns
    graph.send("/tf_static", graph.make.transform(lidar_T_cam, "lidar", "camera", stamp_ns), latched())
    for index in range(3):
        pose = graph.make.transform(make_frame(index).world_T_lidar, "odom", "lidar", make_frame(index).stamp_ns)
        graph.send("/tf", pose)
    time.sleep(0.2)
    drive_live(range(2), lambda: node._run._recorder.kept)
    node.close()
    first, second = open_source(tmp_path / "out" / "parts" / "part_000000").frames()
    np.testing.assert_allclose(first.cam_T_lidar, nominal_cam_T_lidar(), atol=1e-9)
    moved = np.linalg.inv(first.world_T_lidar) @ second.world_T_lidar
    np.testing.assert_allclose(moved[:3, 3], [2.0, 0.0, 0.0], atol=1e-6)


def test_clouds_of_sensor_msgs_py_are_ours(ros_context: None, make_frame: Any) -> None:
    pytest.importorskip("sensor_msgs_py.point_cloud2", reason="needs a full ROS 2")
    from monotakd_ros.data.detections_to_msg import DetectionMessages
    from monotakd_ros.ros.optional import ros_message_types
    from monotakd_ros.ros.preview_publisher import cloud_maker

    messages = DetectionMessages(ros_message_types)
    make = cloud_maker(messages)
    assert make != messages.point_cloud
    for points in (make_frame(0).points_lidar, np.zeros((0, 4), dtype=np.float32)):
        assert make(points, 5, "lidar") == messages.point_cloud(points, 5, "lidar")


def test_the_process_ends_cleanly(
    ros_context: None, drive: Path, networks: Any, tmp_path: Path, repository: Path
) -> None:
    """SIGINT in the middle: exit code 0, no traceback; started again, it goes on to the end."""
    config = tmp_path / "settings.yaml"
    config.write_text(KEEP_ALL)
    values = {
        "out": tmp_path / "out",
        "recordings": f"['{drive}']",
        "teacher": networks["teacher"],
        "device": "cpu",
        "jobs": 1,
    }
    command = [sys.executable, str(repository / "scripts" / "generate_node"), "--ros-args"]
    for name, value in {**values, "config": config}.items():
        command += ["-p", f"{name}:={value}"]
    environment = {**os.environ, "PYTHONPATH": f"{repository}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out" / "frames").glob("*.json")):
        assert time.monotonic() < deadline, "no frame was written"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and "Traceback" not in said, said
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and "done: 10 frames" in done.stderr, done.stderr
