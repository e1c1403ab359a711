"""Every parameter of the detector node. No ROS; see `settings.py` for what is made from this."""

from __future__ import annotations

import re
from dataclasses import dataclass

from monotakd_ros.errors import ConfigError
from monotakd_ros.ros.settings import setting
from monotakd_ros.ros.thresholds import parse_class_scores, parse_distance_scores

EVERY_CAMERA = "*"
NAMESPACE = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


@dataclass(frozen=True)
class DetectorSettings:
    """What the node does; the network's own settings are in the checkpoint."""

    checkpoint: str = setting(
        "", "Weights file, or shipped weights by name; empty takes the default ones. Checksums are verified."
    )
    device: str = setting("auto", "Where the network runs: cpu, cuda, cuda:N, or auto (CUDA where torch sees one).")
    amp: str = setting("off", "Half precision, which moves boxes slightly.", choices=("off", "bf16", "fp16"))
    cpu_threads: int = setting(0, "Threads of the network on the CPU; 0 leaves it to torch.", low=0)
    autostart: bool = setting(
        True,
        "Configure and activate at start; false leaves that to `ros2 lifecycle` or a lifecycle manager.",
        once=True,
    )

    cameras: tuple[str, ...] = setting(
        ("",),
        "Namespaces of the cameras: `front` listens to front/image and publishes front/detections. The empty name is "
        "one camera in the node's own namespace.",
    )
    enabled_cameras: tuple[str, ...] = setting(
        (EVERY_CAMERA,), "Which of the cameras are listened to; * means all.", live=True
    )
    batch_window_s: float = setting(
        0.02,
        "How long the first image waits for those of the other cameras, to go through the network together.",
        low=0,
        high=1,
        live=True,
    )
    image_transport: str = setting(
        "raw",
        "What to subscribe to: the image topic, or its /compressed one; an image topic that ends so is meant as it is.",
        choices=("raw", "compressed"),
    )
    image_decoder: str = setting(
        "auto",
        "auto takes cv_bridge where it works, else the decoder that bags are read with; both give the same pixels.",
        choices=("auto", "cv_bridge", "builtin"),
    )
    rectify: str = setting(
        "auto",
        "Undistort images: auto does so when CameraInfo has distortion and the topic's name does not say `rect`.",
        choices=("auto", "always", "never"),
    )
    max_image_age_s: float = setting(
        0.0,
        "Images older than this when their turn comes are skipped; 0 takes all. Set it on a vehicle; a bag played "
        "without --clock has old stamps.",
        low=0,
        live=True,
    )

    output_frame: str = setting(
        "", "tf frame in which boxes are published, e.g. base_link, looked up at the image's stamp; empty: the image's."
    )
    lidar_frame: str = setting(
        "",
        "tf frame of the vehicle's LiDAR (x forward, z up) when the weights were trained beside one, so that the "
        "camera's tilt is known; empty: a camera that looks straight ahead.",
    )
    tf_timeout_s: float = setting(
        0.1, "How long to wait for tf at an image's stamp; then the image is skipped.", low=0, high=10
    )

    score_threshold: float = setting(
        0.0, "Lowest score that is published; the checkpoint has a lowest score of its own.", low=0, high=1, live=True
    )
    class_score_thresholds: tuple[str, ...] = setting(
        ("",), 'Instead of score_threshold for single classes, as Class:score, e.g. ["Car:0.4"].', live=True
    )
    distance_score_thresholds: tuple[str, ...] = setting(
        ("",),
        'Lowest score from a distance (m from the camera) on, as Distance:score, e.g. ["30:0.4", "50:0.6"]; it '
        "counts where it is higher than the class's.",
        live=True,
    )

    publish_detections: bool = setting(True, "Publish vision_msgs/Detection3DArray and LabelInfo.")
    publish_markers: bool = setting(True, "Publish visualization_msgs/MarkerArray for RViz.")
    publish_annotated_image: bool = setting(
        True, "Publish the image with boxes drawn in, while somebody listens.", live=True
    )
    publish_merged: bool = setting(
        False, "Several cameras: publish what they find together as one array in output_frame, objects seen twice once."
    )
    merge_iou: float = setting(
        0.1, "Boxes of two cameras that overlap this much from above are one object.", low=0, high=1, live=True
    )
    merge_distance_m: float = setting(
        4.0,
        "Boxes of two cameras up to this far apart are one object where their covariances allow it.",
        low=0,
        live=True,
    )
    marker_score_threshold: float = setting(
        0.3, "Boxes below are published as detections, but not drawn.", low=0, high=1, live=True
    )
    marker_lifetime_s: float = setting(
        0.0, "How long markers stay when nothing follows; 0: two frames at the rate that was seen.", low=0, live=True
    )
    diagnostics_period_s: float = setting(1.0, "Seconds between messages on /diagnostics.", low=0.1, high=60, once=True)
    no_image_warn_s: float = setting(
        2.0, "Without an image for so long, a camera is an ERROR in the diagnostics.", low=0.1, live=True
    )

    def __post_init__(self) -> None:
        parse_class_scores(self.class_score_thresholds)
        parse_distance_scores(self.distance_score_thresholds)
        if not self.cameras or len({name.lstrip("/") for name in self.cameras}) != len(self.cameras):
            raise ConfigError(f"cameras: expected at least one, each once, got {list(self.cameras)}")
        odd = [name for name in self.cameras if name and not NAMESPACE.fullmatch(name)]
        if odd:
            raise ConfigError(f"cameras: expected ROS names such as front or sensors/front, got {odd}")
        for name in ("output_frame", "lidar_frame"):
            if getattr(self, name).startswith("/"):
                raise ConfigError(f"{name}: tf2's frames have no leading slash, got {getattr(self, name)!r}")
        if len(self.cameras) > 1 and "" in self.cameras:
            raise ConfigError(f"cameras: several cameras need a name each, got {list(self.cameras)}")
        unknown = set(self.enabled_cameras) - set(self.cameras) - {EVERY_CAMERA, ""}
        if unknown:
            raise ConfigError(f"enabled_cameras: expected names among {list(self.cameras)}, got {sorted(unknown)}")
        if self.publish_merged and not self.output_frame:
            raise ConfigError("publish_merged: expected an output_frame, in which boxes of all cameras can stand")
        if self.publish_merged and len(self.cameras) == 1:
            raise ConfigError("publish_merged: expected several cameras")

    @property
    def enabled(self) -> tuple[str, ...]:
        """Names of the cameras that are listened to."""
        return tuple(
            name for name in self.cameras if EVERY_CAMERA in self.enabled_cameras or name in self.enabled_cameras
        )
