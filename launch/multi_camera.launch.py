"""An example to copy: three cameras in one process, and one list of what they see together, in base_link.

    ros2 launch monotakd_ros multi_camera.launch.py image:=image_raw

Listens to front/image_raw, left/image_raw, right/image_raw and the camera_info beside each. Whoever has a robot
description drops MOUNTS: the tf from base_link to the frames of the images must come from one place only.
"""

import math
from dataclasses import dataclass

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("monotakd_ros")


@dataclass(frozen=True)
class Mount:
    """Where a camera is on the vehicle: m and degrees in base_link (x forward, y left, z up), pitch down positive."""

    camera: str
    x: float
    y: float
    z: float
    yaw_deg: float
    pitch_deg: float = 0.0

    @property
    def frame(self) -> str:
        """The frame_id of its images."""
        return f"{self.camera}_optical"


MOUNTS = (
    Mount("front", 1.7, 0.0, 1.5, 0.0),
    Mount("left", 1.4, 0.6, 1.5, 70.0),
    Mount("right", 1.4, -0.6, 1.5, -70.0),
)
ARGUMENTS = [
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and of the cameras."),
    DeclareLaunchArgument("image", default_value="image", description="Name of the image topic in each camera's."),
    DeclareLaunchArgument("camera_info", default_value="camera_info", description="Name of the CameraInfo topic."),
    DeclareLaunchArgument("output_frame", default_value="base_link", description="tf frame of all boxes."),
    DeclareLaunchArgument(
        "mounts",
        default_value="true",
        choices=["true", "false"],
        description="Whether the tf of the example's cameras is published; false where the vehicle's own is there.",
    ),
    DeclareLaunchArgument(
        "rviz",
        default_value="auto",
        choices=["auto", "true", "false"],
        description="Whether RViz opens; auto: where it is installed and there is a display.",
    ),
]


def cameras(context: LaunchContext) -> list[Action]:
    """The detector for all cameras, and their places."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    detector = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "detector.launch.py"])),
        launch_arguments={
            **{name: value[name] for name in ("namespace", "image", "camera_info", "output_frame", "rviz")},
            "cameras": ",".join(mount.camera for mount in MOUNTS),
            "publish_merged": "true",
            "rviz_config": PathJoinSubstitution([SHARE, "config", "multi_camera.rviz"]),
        }.items(),
    )
    placed = [place(mount, value["output_frame"]) for mount in MOUNTS] if value["mounts"] == "true" else []
    return [*placed, detector]


def place(mount: Mount, parent: str) -> Node:
    """The static transform from the vehicle to a camera's optical frame (x right, y down, z forward)."""
    arguments = {
        "--x": mount.x,
        "--y": mount.y,
        "--z": mount.z,
        "--yaw": math.radians(mount.yaw_deg - 90.0),
        "--pitch": 0.0,
        "--roll": math.radians(-90.0 - mount.pitch_deg),
        "--frame-id": parent,
        "--child-frame-id": mount.frame,
    }
    return Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        name=f"place_{mount.camera}",
        arguments=[str(word) for pair in arguments.items() for word in pair],
    )


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=cameras)])
