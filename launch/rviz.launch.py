"""RViz with boxes, the image they are drawn in, a cloud and tf. On its own: beside a detector on another machine.

ros2 launch monotakd_ros rviz.launch.py camera_info:=/camera/camera_info
"""

import os
import shutil

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

VIEW = "detector_view"
"""The frame that the node of this name adds at the camera: x forward, z up."""
TOPICS = {"annotated_image": "annotated_image", "markers": "markers", "points": "/lidar/points"}
"""Argument -> name in the RViz config."""
ARGUMENTS = [
    DeclareLaunchArgument(
        "rviz",
        default_value="true",
        choices=["true", "false", "auto"],
        description="Whether RViz opens; auto: where it is installed and there is a display.",
    ),
    DeclareLaunchArgument(
        "rviz_config",
        default_value=PathJoinSubstitution([FindPackageShare("monotakd_ros"), "config", "detector.rviz"]),
        description="What it shows.",
    ),
    DeclareLaunchArgument(
        "fixed_frame", default_value="", description="Its fixed frame; empty: a frame that is added at the camera."
    ),
    DeclareLaunchArgument(
        "camera_info", default_value="camera_info", description="Topic of the CameraInfo that tells where that is."
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node whose boxes are shown."),
    DeclareLaunchArgument(
        "annotated_image", default_value="annotated_image", description="Topic of the image with boxes drawn in."
    ),
    DeclareLaunchArgument("markers", default_value="markers", description="Topic of the boxes."),
    DeclareLaunchArgument("points", default_value="/lidar/points", description="Topic of a point cloud."),
    DeclareLaunchArgument(
        "use_sim_time", default_value="false", choices=["true", "false"], description="Whether time is on /clock."
    ),
]


def nodes(context: LaunchContext) -> list[Action]:
    """RViz, and the node that adds its frame."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    if not is_wanted(value["rviz"]):
        return []
    view = Node(
        package="monotakd_ros",
        executable="detector_view",
        namespace=value["namespace"],
        remappings=[("camera_info", value["camera_info"])],
        output="screen",
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=value["namespace"],
        arguments=["-d", value["rviz_config"], "-f", value["fixed_frame"] or VIEW],
        remappings=[(name, value[argument]) for argument, name in TOPICS.items() if name != value[argument]],
        parameters=[{"use_sim_time": value["use_sim_time"] == "true"}],
        output="log",
    )
    return [view, rviz]


def is_wanted(choice: str) -> bool:
    """Whether RViz opens."""
    if choice != "auto":
        return choice == "true"
    return shutil.which("rviz2") is not None and any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])
