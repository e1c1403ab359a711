"""Plays a bag to the live detector: /clock, boxes in RViz, and, with `out`, a recording of them.

    ros2 launch monotakd_ros replay.launch.py bag:=drive out:=boxes

Everything ends when the bag has. The live node takes the newest image and drops what it has no time for; `rate:=0.2`
gives it time, and `replay_offline.launch.py` processes every frame however long that takes.
"""

import signal
import tempfile
from pathlib import Path

import yaml
from launch import Action, LaunchContext, LaunchDescription, SomeSubstitutionsType
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import ProcessExited, SignalProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
OURS = ("annotated_image", "detections", "label_info", "markers")
RECORDED = f"/({'|'.join(OURS[1:])}|camera_info|tf|tf_static|diagnostics)$"
CLOCK_HZ = "100"
LINGER_S = 2.0
"""After the last message of the bag: the last boxes are still to come."""


def argument(
    name: str, description: str, default: SomeSubstitutionsType | None = "", choices: list[str] | None = None
) -> DeclareLaunchArgument:
    """One launch argument; `choices` besides the default."""
    allowed = None if choices is None else list(dict.fromkeys([default, *choices]))
    return DeclareLaunchArgument(name, default_value=default, choices=allowed, description=description)


ARGUMENTS = [
    argument("bag", "The bag: a rosbag2 folder.", None),
    argument("out", "Folder for a bag of the boxes, which must not exist; empty: nothing is recorded."),
    argument("record", "Which topics are recorded, as a regular expression.", RECORDED),
    argument("image", "Image topic, raw or compressed; empty: the bag's only one."),
    argument("camera_info", "Topic of its CameraInfo; empty: camera_info beside the image topic."),
    argument("rate", "How fast the bag is played.", "1.0"),
    argument("loop", "Whether it begins anew at its end.", "false", ["true"]),
    argument("delay", "Seconds between the detector's being ready and the first message.", "2.0"),
    argument("reliable", "Whether images are sent reliably, however they were recorded.", "true", ["false"]),
    argument("namespace", "Namespace of the node and of what it publishes."),
    argument("checkpoint", "Weights file; empty: as in the params file."),
    argument("device", "Where the network runs: auto, cpu, cuda or cuda:N; empty: as in the params file."),
    argument(
        "params_file",
        "ROS parameter file, such as a copy of config/detector.yaml.",
        PathJoinSubstitution([FindPackageShare("monotakd_ros"), "config", "detector.yaml"]),
    ),
    argument("output_frame", "tf frame of the published boxes; empty: the image's."),
    argument("lidar_frame", "tf frame of a LiDAR beside the camera, which tells how the camera is tilted."),
    argument(
        "rviz", "Whether RViz opens; auto: where it is installed and there is a display.", "auto", ["true", "false"]
    ),
    argument("fixed_frame", "RViz's fixed frame; empty: output_frame, else a frame that is added at the camera."),
    argument("points", "Topic of a point cloud that RViz shows as well.", "/lidar/points"),
]
HANDED_ON = (
    "namespace",
    "params_file",
    "checkpoint",
    "device",
    "output_frame",
    "lidar_frame",
    "rviz",
    "fixed_frame",
    "points",
)


def bag_topics(bag: Path) -> dict[str, str]:
    """Topic -> type, as the bag's metadata tells.

    Raises:
        RuntimeError: there is none.
    """
    path = bag / "metadata.yaml"
    if not path.is_file():
        raise RuntimeError(f"{bag}: expected a rosbag2 folder with metadata.yaml; `ros2 bag reindex` makes one")
    information = yaml.safe_load(path.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
    known = [topic["topic_metadata"] for topic in information["topics_with_message_count"]]
    return {topic["name"]: topic["type"] for topic in known}


def image_topic(topics: dict[str, str], wanted: str) -> tuple[str, str]:
    """The image topic without /compressed, and its transport; raw where there are both.

    Raises:
        RuntimeError: it is not in the bag, or several are and none is named.
    """
    raw = {name: "raw" for name, kind in topics.items() if kind == IMAGE}
    small = {name.removesuffix("/compressed"): "compressed" for name, kind in topics.items() if kind == COMPRESSED}
    transports = {**small, **raw}
    wanted = wanted.removesuffix("/compressed")
    names = [wanted] if wanted in transports else [name for name in transports if name.rpartition("/")[2] not in OURS]
    if (wanted and names != [wanted]) or len(names) != 1:
        raise RuntimeError(f"image: expected one of the bag's image topics, {sorted(transports)}, got {wanted!r}")
    return names[0], transports[names[0]]


def replay(context: LaunchContext) -> list[Action]:
    """Detector, recorder, and the bag as soon as the detector is ready."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    topics = bag_topics(Path(value["bag"]).expanduser())
    image, transport = image_topic(topics, value["image"])
    subscribed = f"{image}/compressed" if transport == "compressed" else image
    wait = Node(package="monotakd_ros", executable="wait_until_active", namespace=value["namespace"], output="screen")
    player = play(value, topics, subscribed)
    recorder = record(value) if value["out"] else None
    handed = {name: value[name] for name in HANDED_ON}
    detector = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare("monotakd_ros"), "launch", "detector.launch.py"])
        ),
        launch_arguments={
            **handed,
            "image": image,
            "camera_info": value["camera_info"],
            "image_transport": transport,
            "image_reliability": "reliable" if value["reliable"] == "true" else "",
            "autostart": "true",
            "use_sim_time": "true",
        }.items(),
    )
    ended = RegisterEventHandler(
        OnProcessExit(on_exit=lambda event, context: after(event, context, wait, player, recorder))
    )
    return [ended, detector, *([recorder] if recorder else []), wait]


def after(
    event: ProcessExited,
    context: LaunchContext,
    wait: Node,
    player: ExecuteProcess,
    recorder: ExecuteProcess | None,
) -> list[Action]:
    """What follows when a process has ended: the bag on the detector, the recorder's end on the bag's, the end."""
    if context.is_shutdown:
        return []
    if event.action is wait and event.returncode == 0:
        return [player]
    if event.action is player and event.returncode == 0:
        stop = Shutdown(reason="the bag has been played")
        if recorder is not None:
            # Alone and first, so that it writes its index while nothing else ends.
            interrupt = SignalProcess(signal_number=signal.SIGINT, process_matcher=matches_action(recorder))
            stop = EmitEvent(event=interrupt)
        return [TimerAction(period=LINGER_S, actions=[stop])]
    if event.action in (wait, player, recorder) or event.process_name.startswith("detector_node"):
        return [Shutdown(reason=f"{event.process_name} has ended")]
    return []


def play(value: dict[str, str], topics: dict[str, str], image: str) -> ExecuteProcess:
    """`ros2 bag play`; boxes that the bag holds already are played below /recorded."""
    command = ["ros2", "bag", "play", str(Path(value["bag"]).expanduser()), "--clock", CLOCK_HZ]
    command += ["--rate", value["rate"], "--delay", value["delay"], *(["--loop"] if value["loop"] == "true" else [])]
    clashing = [name for name in topics if name.rpartition("/")[2] in OURS]
    if clashing:
        command += ["--remap", *(f"{name}:=/recorded{name}" for name in clashing)]
    if value["reliable"] == "true":
        qos = {"reliability": "reliable", "durability": "volatile", "history": "keep_last", "depth": 10}
        command += ["--qos-profile-overrides-path", yaml_file({image: qos})]
    return ExecuteProcess(cmd=command, name="bag_play", output="screen")


def record(value: dict[str, str]) -> ExecuteProcess:
    """`ros2 bag record`; by a regular expression, which every release takes in the same words."""
    command = ["ros2", "bag", "record", "--output", value["out"], "--regex", value["record"], "--use-sim-time"]
    return ExecuteProcess(cmd=command, name="bag_record", output="screen", sigterm_timeout="60", sigkill_timeout="60")


def yaml_file(content: dict) -> str:
    """Path of a file with this content."""
    with tempfile.NamedTemporaryFile("w", prefix="monotakd_replay_", suffix=".yaml", delete=False) as file:
        yaml.safe_dump(content, file)
    return file.name


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=replay)])
