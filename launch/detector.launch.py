"""Detects 3D boxes in live images and shows them.

    ros2 launch monotakd_ros detector.launch.py image:=/camera/image_rect camera_info:=/camera/camera_info

An argument that is left empty leaves its parameter as the params file says. To be included in other launch files as
well; the node is Python, which component containers cannot load: several cameras share one process by `cameras`.
"""

from launch import Action, LaunchContext, LaunchDescription, SomeSubstitutionsType
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def argument(
    name: str, description: str, default: SomeSubstitutionsType = "", choices: list[str] | None = None
) -> DeclareLaunchArgument:
    """One launch argument; `choices` besides the default."""
    allowed = None if choices is None else list(dict.fromkeys([default, *choices]))
    return DeclareLaunchArgument(name, default_value=default, choices=allowed, description=description)


def shipped(*names: str) -> PathJoinSubstitution:
    """A file that comes with the package."""
    return PathJoinSubstitution([FindPackageShare("monotakd_ros"), *names])


YES_NO = ["true", "false"]
ARGUMENTS = [
    argument("image", "Topic of the images, raw or compressed; empty: image."),
    argument("camera_info", "Topic of their CameraInfo; empty: camera_info beside the image topic."),
    argument("cameras", "Several cameras: their namespaces, as front,left; image and camera_info are names in these."),
    argument("namespace", "Namespace of the node and of what it publishes."),
    argument("node_name", "Name of the node.", "detector"),
    argument("checkpoint", "Weights file; empty: as in the params file, where empty means the shipped one."),
    argument("device", "Where the network runs: auto, cpu, cuda or cuda:N."),
    argument(
        "params_file", "ROS parameter file, such as a copy of config/detector.yaml.", shipped("config", "detector.yaml")
    ),
    argument("output_frame", "tf frame of the published boxes, such as base_link; empty: the image's."),
    argument("lidar_frame", "tf frame of a LiDAR beside the camera, which tells how the camera is tilted."),
    argument("publish_merged", "Several cameras: what they see together as one list in output_frame.", choices=YES_NO),
    argument("image_transport", "How images come.", choices=["raw", "compressed"]),
    argument("image_reliability", "Reliability of the image subscription.", choices=["best_effort", "reliable"]),
    argument("autostart", "Whether the node configures and activates itself.", choices=YES_NO),
    argument("respawn", "Whether the node is started again when it ends.", "false", YES_NO),
    argument("respawn_delay", "Seconds before that.", "2.0"),
    argument("rviz", "Whether RViz opens; auto: where it is installed and there is a display.", "auto", YES_NO),
    argument("rviz_config", "What RViz shows.", shipped("config", "detector.rviz")),
    argument("fixed_frame", "RViz's fixed frame; empty: output_frame, else a frame that is added at the camera."),
    argument("points", "Topic of a point cloud that RViz shows as well.", "/lidar/points"),
    argument("use_sim_time", "Whether time comes from /clock, as from `ros2 bag play --clock`.", "false", YES_NO),
    argument("log_level", "What the node tells.", "info", ["debug", "warn", "error", "fatal"]),
]
GIVEN = ("checkpoint", "device", "output_frame", "lidar_frame", "image_transport")
SWITCHES = ("autostart", "publish_merged")
"""Arguments that are parameters of the node, where they are not empty."""


def nodes(context: LaunchContext) -> list[Action]:
    """What the arguments ask for."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    cameras = [name.strip() for name in value["cameras"].split(",") if name.strip()]
    remappings = [pair for camera in cameras or [""] for pair in input_remappings(camera, value)]
    return [detector(value, cameras, remappings), rviz(value, cameras)]


def input_remappings(camera: str, value: dict[str, str]) -> list[tuple[str, str]]:
    """From the names that the node uses to those that were given."""
    image = value["image"]
    beside, slash, _ = image.removesuffix("/compressed").rpartition("/")
    info = value["camera_info"] or (f"{beside}/camera_info" if slash else "")
    prefix = f"{camera}/" if camera else ""
    return [
        (prefix + name, prefix + to.lstrip("/") if camera else to)
        for name, to in (("image", image), ("camera_info", info))
        if to
    ]


def detector(value: dict[str, str], cameras: list[str], remappings: list[tuple[str, str]]) -> Node:
    """The detector node."""
    overrides = {name: value[name] for name in GIVEN if value[name]}
    overrides |= {name: value[name] == "true" for name in SWITCHES if value[name]}
    if value["image_reliability"]:
        for topic in images(cameras, value):
            overrides |= reliability_of(topic, value)
    if cameras:
        overrides["cameras"] = cameras
    if value["use_sim_time"] == "true":
        overrides["use_sim_time"] = True
    logger = ".".join(part for part in (*value["namespace"].split("/"), value["node_name"]) if part)
    return Node(
        package="monotakd_ros",
        executable="detector_node",
        name=value["node_name"],
        namespace=value["namespace"],
        parameters=[*filter(None, [value["params_file"]]), *filter(None, [overrides])],
        remappings=remappings,
        ros_arguments=["--log-level", f"{logger}:={value['log_level']}"],
        respawn=value["respawn"] == "true",
        respawn_delay=float(value["respawn_delay"]),
        output="screen",
        emulate_tty=True,
    )


def images(cameras: list[str], value: dict[str, str]) -> list[str]:
    """The image topics, not resolved."""
    prefixes = [f"{camera}/" for camera in cameras] or [""]
    return [dict(input_remappings(prefix[:-1], value)).get(f"{prefix}image", f"{prefix}image") for prefix in prefixes]


def reliability_of(topic: str, value: dict[str, str]) -> dict[str, str]:
    """The parameters that hold the reliability of an image topic's subscription, raw or compressed."""
    base = topic if topic.startswith("/") else f"/{value['namespace'].strip('/')}/{topic}".replace("//", "/")
    names = {base, f"{base.removesuffix('/compressed')}/compressed"}
    return {f"qos_overrides.{name}.subscription.reliability": value["image_reliability"] for name in sorted(names)}


def rviz(value: dict[str, str], cameras: list[str]) -> IncludeLaunchDescription:
    """RViz. Of several cameras it shows the first one's image, and what they see together, or the first one's boxes."""
    prefix = f"{cameras[0]}/" if cameras else ""
    topics = {
        "camera_info": dict(input_remappings(prefix[:-1], value)).get(f"{prefix}camera_info", f"{prefix}camera_info"),
        "annotated_image": f"{prefix}annotated_image",
        "markers": "markers" if value["publish_merged"] == "true" else f"{prefix}markers",
    }
    handed_on = ("rviz", "rviz_config", "namespace", "points", "use_sim_time")
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(shipped("launch", "rviz.launch.py")),
        launch_arguments={
            **{name: value[name] for name in handed_on},
            **topics,
            "fixed_frame": value["fixed_frame"] or value["output_frame"],
        }.items(),
    )


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])
