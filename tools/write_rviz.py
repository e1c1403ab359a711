#!/usr/bin/env python3
"""Writes the RViz configs of config/: they differ in topics and frames only. Run it after a change here."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

CONFIG = Path(__file__).resolve().parents[1] / "config"
VIEW = "detector_view"
CAMERA_HEIGHT_M, LIDAR_HEIGHT_M = 1.65, 1.73
"""Above the road, as assumed of a vehicle whose own frames are not known."""
Display = dict[str, Any]

ONE_IMAGE = (
    "000000ff00000000fd00000002000000000000014a00000360fc0200000002fb000000100044006900730070006c006100790073010000"
    "0024000001fc0000001700fffffffb0000000a0056006900650077007301000002260000015e0000001700ffffff000000030000048c00"
    "00012cfc0100000001fb0000000a0049006d00610067006501000001500000048c0000003e00ffffff0000048c0000022e000000040000"
    "00040000000100000008fc0000000100000002000000010000000a0054006f006f006c00730100000000ffffffff0000000000000000"
)
THREE_IMAGES = (
    "000000ff00000000fd00000002000000000000014a00000360fc0200000002fb000000100044006900730070006c006100790073010000"
    "0024000001fc0000001700fffffffb0000000a0056006900650077007301000002260000015e0000001700ffffff000000030000048c00"
    "00012cfc0100000003fb00000008004c0065006600740100000150000001800000003e00fffffffb0000000a00460072006f006e007401"
    "000002d6000001800000003e00fffffffb0000000a00520069006700680074010000045c000001800000003e00ffffff0000048c000002"
    "2e00000004000000040000000100000008fc0000000100000002000000010000000a0054006f006f006c00730100000000ffffffff0000"
    "000000000000"
)
"""Where RViz puts its panes, as Qt's QMainWindow.saveState wrote it (hexadecimal): Displays and Views in a column on
the left, the image or the images below the scene. The names of the panes are in it."""


def topic(name: str, reliable: bool, latched: bool = False) -> Display:
    """A subscription."""
    return {
        "Value": name,
        "Depth": 5,
        "Durability Policy": "Transient Local" if latched else "Volatile",
        "History Policy": "Keep Last",
        "Reliability Policy": "Reliable" if reliable else "Best Effort",
    }


def display(kind: str, name: str, enabled: bool = True, **properties: Any) -> Display:
    """One display; underscores in names of properties stand for spaces."""
    named = {key.replace("_", " "): value for key, value in properties.items()}
    return {"Class": f"rviz_default_plugins/{kind}", "Name": name, "Enabled": enabled, "Value": enabled, **named}


def grid(frame: str, height_m: float) -> Display:
    """The road ahead, a line every ten metres."""
    return display(
        "Grid",
        "Road",
        Alpha=0.4,
        Cell_Size=10,
        Color="120; 120; 124",
        Line_Style={"Line Width": 0.03, "Value": "Lines"},
        Normal_Cell_Count=0,
        Offset={"X": 40, "Y": 0, "Z": -height_m},
        Plane="XY",
        Plane_Cell_Count=8,
        Reference_Frame=frame,
    )


def transforms() -> Display:
    """Axes and names of tf."""
    return display(
        "TF",
        "Frames",
        Frame_Timeout=15,
        Frames={"All Enabled": True},
        Marker_Scale=2,
        Show_Arrows=False,
        Show_Axes=True,
        Show_Names=True,
        Update_Interval=0,
    )


def cloud(name: str) -> Display:
    """A cloud, coloured by height."""
    return display(
        "PointCloud2",
        "Cloud",
        Alpha=0.8,
        Autocompute_Value_Bounds={"Min Value": -2, "Max Value": 3, "Value": False},
        Axis="Z",
        Color_Transformer="AxisColor",
        Position_Transformer="XYZ",
        Selectable=False,
        **{"Size (Pixels)": 2},
        Style="Points",
        Topic=topic(name, reliable=False),
        Use_Fixed_Frame=True,
    )


def boxes(name: str, label: str = "Boxes", enabled: bool = True) -> Display:
    """Boxes as markers."""
    return display("MarkerArray", label, enabled, Namespaces={}, Topic=topic(name, reliable=True))


def image(name: str, label: str = "Image", reliable: bool = True) -> Display:
    """A picture in a pane of its own."""
    return display("Image", label, Normalize_Range=False, Topic=topic(name, reliable))


def views(frame: str, ahead_m: float) -> Display:
    """Behind the camera, looking at what is so far ahead; kept beside it: from above, and through the camera."""
    behind = {
        "Class": "rviz_default_plugins/ThirdPersonFollower",
        "Name": "Behind",
        "Target Frame": frame,
        "Distance": 29 - ahead_m,
        "Pitch": 0.36,
        "Yaw": math.pi,
        "Focal Point": {"X": ahead_m, "Y": 0, "Z": 0},
        "Near Clip Distance": 0.01,
    }
    above = {
        "Class": "rviz_default_plugins/TopDownOrtho",
        "Name": "From above",
        "Target Frame": frame,
        "Angle": -math.pi / 2,
        "Scale": 9,
        "X": 30,
        "Y": 0,
        "Near Clip Distance": 0.01,
    }
    inside = {
        "Class": "rviz_default_plugins/FPS",
        "Name": "Through the camera",
        "Target Frame": frame,
        "Pitch": 0,
        "Yaw": 0,
        "Position": {"X": 0, "Y": 0, "Z": 0},
        "Near Clip Distance": 0.01,
    }
    return {"Current": behind, "Saved": [behind, above, inside]}


def config(frame: str, displays: list[Display], panes: str = ONE_IMAGE, ahead_m: float = 9.0) -> Display:
    """A whole RViz config."""
    tools = ("MoveCamera", "Interact", "Select", "FocusCamera", "Measure")
    return {
        "Panels": [
            {"Class": "rviz_common/Displays", "Name": "Displays", "Tree Height": 320},
            {"Class": "rviz_common/Views", "Name": "Views"},
        ],
        "Visualization Manager": {
            "Class": "",
            "Displays": displays,
            "Enabled": True,
            "Global Options": {"Background Color": "32; 34; 37", "Fixed Frame": frame, "Frame Rate": 30},
            "Name": "root",
            "Tools": [{"Class": f"rviz_default_plugins/{name}"} for name in tools],
            "Transformation": {"Current": {"Class": "rviz_default_plugins/TF"}},
            "Value": True,
            "Views": views(frame, ahead_m),
        },
        "Window Geometry": {
            "Displays": {"collapsed": False},
            "Views": {"collapsed": False},
            "Hide Left Dock": False,
            "Hide Right Dock": False,
            "QMainWindow State": panes,
            "Width": 1500,
            "Height": 900,
            "X": 60,
            "Y": 60,
        },
    }


def configs() -> dict[str, Display]:
    """Every config by its name."""
    cameras = ("left", "front", "right")
    points = cloud("/lidar/points")
    of_cameras = [image(f"{name}/annotated_image", name.title()) for name in cameras]
    detector = [grid(VIEW, CAMERA_HEIGHT_M), transforms(), points, boxes("markers")]
    recorded = [grid("lidar", LIDAR_HEIGHT_M), transforms(), points, boxes("/markers")]
    generate = [grid(VIEW, CAMERA_HEIGHT_M), transforms(), cloud("points"), boxes("labels/markers", "Labels")]
    for kind, shown in (("uncertain", True), ("teacher", False), ("assistant", False), ("ground_truth", False)):
        generate.append(boxes(f"{kind}/markers", kind.replace("_", " ").capitalize(), shown))
    several = [grid("base_link", 0.0), transforms(), points, boxes("markers"), *of_cameras]
    return {
        "detector": config(VIEW, [*detector, image("annotated_image")]),
        "multi_camera": config("base_link", several, THREE_IMAGES, ahead_m=2.0),
        "generate": config(VIEW, [*generate, image("image")]),
        "recorded": config("lidar", [*recorded, image("/camera/image_rect/compressed", reliable=False)]),
    }


def text_of(content: Display) -> str:
    """As RViz writes it."""
    return yaml.dump(content, Dumper=WithoutAnchors, sort_keys=False, width=120)


class WithoutAnchors(yaml.SafeDumper):
    """RViz reads what is said twice, and no references."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        return True


if __name__ == "__main__":
    for name, content in configs().items():
        (CONFIG / f"{name}.rviz").write_text(text_of(content), encoding="utf-8")
