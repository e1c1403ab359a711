"""Runs a recording through the detector, without a live node: every frame, in order, the same boxes each time.

    ros2 launch monotakd_ros replay_offline.launch.py bag:=drive out:=drive_boxes

This wraps `ros2 run monotakd_ros replay`, which reads the bag itself: every frame is processed, in order.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage

ARGUMENTS = [
    DeclareLaunchArgument("bag", description="The recording: a rosbag, a KITTI folder or a KITTI raw drive."),
    DeclareLaunchArgument("checkpoint", default_value="", description="Weights file; empty takes the shipped one."),
    DeclareLaunchArgument("out", description="Folder for detections, pictures and summary; must not exist."),
    DeclareLaunchArgument("device", default_value="cpu", description="Where the network runs: cpu or cuda."),
    DeclareLaunchArgument(
        "overwrite", default_value="false", choices=["true", "false"], description="Replace `out` where it exists."
    ),
    DeclareLaunchArgument(
        "strict", default_value="false", choices=["true", "false"], description="Stop at the first unusable frame."
    ),
]


def replay_process(context: LaunchContext) -> list[ExecuteProcess]:
    """The replay command line with the launch arguments filled in."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    command = [ExecutableInPackage(executable="replay", package="monotakd_ros"), value["bag"]]
    command += [word for name in ("checkpoint", "out", "device") if value[name] for word in (f"--{name}", value[name])]
    command += [f"--{name}" for name in ("overwrite", "strict") if value[name] == "true"]
    # Not a Node action: replay is a batch job that takes no --ros-args.
    return [ExecuteProcess(cmd=command, output="screen")]


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=replay_process)])
