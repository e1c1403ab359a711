"""Makes training data from recordings, or from the running vehicle, and shows in RViz what is being made.

    ros2 launch monotakd_ros generate.launch.py out:=set recordings:=drive_a,drive_b teacher:=teacher.pt
    ros2 launch monotakd_ros generate.launch.py mode:=live out:=drives image:=/camera/image_rect points:=/lidar/points

An argument that is left empty leaves its parameter as the params file says. Everything ends with the node's work.
"""

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("monotakd_ros")


def argument(name: str, description: str, choices: tuple[str, ...] = ()) -> DeclareLaunchArgument:
    """A launch argument that may be left empty."""
    allowed = ["", *choices] if choices else None
    return DeclareLaunchArgument(name, default_value="", choices=allowed, description=description)


TEXTS = ("mode", "out", "teacher", "assistant", "config", "device", "image_transport", "world_frame", "calibration")
"""Arguments that are parameters of the node, where they are not empty."""
ARGUMENTS = [
    argument("mode", "Whether a set is made of recordings, or a running vehicle recorded.", ("recordings", "live")),
    argument("out", "Folder of the set (recordings), or of parts/ and set/ (live): new, or begun."),
    argument("recordings", "Recordings to make a set from, with commas between."),
    argument("teacher", "Checkpoint of the teacher; a live recording does without."),
    argument("assistant", "Checkpoint of the assistant, for a second opinion."),
    argument("config", "YAML like config/generate.yaml: how frames are chosen, labelled, written."),
    argument("device", "Where the networks run: auto, cpu, cuda or cuda:N."),
    argument("jobs", "Processes that work at once on recordings."),
    argument("max_gib", "Nothing more is written once `out` takes so many GiB."),
    argument("image", "Live: topic of the images, raw or compressed."),
    argument("camera_info", "Live: topic of their CameraInfo; empty: camera_info beside the image topic."),
    argument("points", "Live: topic of the clouds."),
    argument("image_transport", "Live: how images come.", ("raw", "compressed")),
    argument("world_frame", "Live: tf frame in which the vehicle's motion is measured."),
    argument("calibration", "KITTI calibration file that says where the LiDAR is, instead of tf."),
    argument("namespace", "Namespace of the node."),
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([SHARE, "config", "generate_node.yaml"]),
        description="ROS parameter file, such as a copy of config/generate_node.yaml.",
    ),
    DeclareLaunchArgument(
        "rviz",
        default_value="auto",
        choices=["auto", "true", "false"],
        description="Whether RViz shows what is made; auto: where it is installed and there is a display.",
    ),
    DeclareLaunchArgument(
        "use_sim_time", default_value="false", choices=["true", "false"], description="Whether time is on /clock."
    ),
]


def nodes(context: LaunchContext) -> list[Action]:
    """The node, and RViz in its namespace."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    node = Node(
        package="monotakd_ros",
        executable="generate_node",
        name="generate",
        namespace=value["namespace"],
        parameters=[*filter(None, [value["params_file"]]), overrides(value)],
        remappings=[(name, topic) for name, topic in inputs(value).items() if topic],
        output="screen",
        emulate_tty=True,
        sigterm_timeout="60",  # a part that is being written is closed whole
        sigkill_timeout="60",
        on_exit=Shutdown(reason="generate has ended"),
    )
    rviz = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "rviz.launch.py"])),
        launch_arguments={
            "rviz": value["rviz"],
            "rviz_config": PathJoinSubstitution([SHARE, "config", "generate.rviz"]),
            "namespace": f"{value['namespace']}/generate",
            "camera_info": "camera_info",  # of the preview; without it, it would be this file's argument of that name
            "use_sim_time": value["use_sim_time"],
        }.items(),
    )
    return [node, rviz]


def overrides(value: dict[str, str]) -> dict[str, object]:
    """Parameters that the arguments give, over those of the file."""
    given: dict[str, object] = {name: value[name] for name in TEXTS if value[name]}
    if value["recordings"]:
        given["recordings"] = [name.strip() for name in value["recordings"].split(",")]
    if value["jobs"]:
        given["jobs"] = int(value["jobs"])
    if value["max_gib"]:
        given["max_gib"] = float(value["max_gib"])
    return {**given, "use_sim_time": value["use_sim_time"] == "true"}


def inputs(value: dict[str, str]) -> dict[str, str]:
    """Topics of the live mode."""
    beside, slash, _ = value["image"].removesuffix("/compressed").rpartition("/")
    info = value["camera_info"] or (f"{beside}/camera_info" if slash else "")
    return {"image": value["image"], "camera_info": info, "points": value["points"]}


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])
