"""The parameters of `generate_node`, and what they ask for. No ROS here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from monotakd_ros.config_file import load_settings
from monotakd_ros.data.source import SourceOptions
from monotakd_ros.errors import ConfigError
from monotakd_ros.generation.generate import GenerationRequest
from monotakd_ros.generation.settings import GenerationSettings
from monotakd_ros.provenance import usable_cores
from monotakd_ros.ros.device import device_asked_for
from monotakd_ros.ros.settings import setting
from monotakd_ros.shipped import checkpoint_path


@dataclass(frozen=True)
class GenerateSettings:
    """Parameters of `generate_node`; the texts say what each does."""

    mode: str = setting(
        "recordings",
        "recordings: make a set of training data from bags. live: record chosen frames of a running camera and LiDAR.",
        choices=("recordings", "live"),
    )
    out: str = setting("", "The set's folder (recordings), or the folder of parts/ and set/ (live): new, or begun.")
    recordings: tuple[str, ...] = setting(
        ("",), "recordings: bags, KITTI folders or raw drives to make a set from; empty entries are passed over."
    )
    teacher: str = setting(
        "", "Checkpoint of the teacher, or shipped weights by name. live: empty records without labels."
    )
    assistant: str = setting(
        "", "Checkpoint of the assistant, or shipped weights by name, for a second opinion; empty: none."
    )
    config: str = setting("", "YAML like config/generate.yaml: how frames are chosen, labelled, written; empty: that.")
    device: str = setting("auto", "Where the networks run: cpu, cuda, cuda:N, or auto (CUDA where torch sees one).")
    jobs: int = setting(
        0,
        "recordings: processes that work at once; 0: all cores, 1 on CUDA. With 1 a pause acts at once.",
        low=0,
    )
    exit_when_done: bool = setting(True, "recordings: whether the node ends with its work, with exit code 0 or 1.")
    max_gib: float = setting(0.0, "Nothing is written once `out` takes so many GiB; 0: no limit.", low=0, live=True)
    min_free_gib: float = setting(
        1.0, "Nothing is written once the disk has fewer GiB free. Nothing is ever deleted.", low=0, live=True
    )
    preview_rate_hz: float = setting(
        1.0, "Frames shown on the preview topics a second, at most, while somebody listens; 0: none.", low=0, live=True
    )
    image_topic: str = setting("", "recordings: the bags' image topic; empty: the only one.")
    camera_info_topic: str = setting("", "recordings: the bags' CameraInfo topic; empty: the image topic's sibling.")
    points_topic: str = setting("", "recordings: the bags' PointCloud2 topic; empty: the only one.")
    odometry_topic: str = setting("", "recordings: the bags' Odometry topic; empty: the only one, if tf stands still.")
    compensate_motion: bool = setting(
        False, "recordings: whether clouds are moved to where they would have been measured at the image's stamp."
    )
    rectify: str = setting(
        "auto",
        "Whether images are undistorted; auto: when the camera has distortion and the topic is not named ...rect...",
        choices=("auto", "always", "never"),
    )
    calibration: str = setting(
        "", "KITTI calibration file whose Tr_velo_to_cam says where the LiDAR is, instead of tf; empty: tf."
    )
    image_transport: str = setting(
        "raw", "live: compressed subscribes to IMAGE/compressed.", choices=("raw", "compressed")
    )
    image_decoder: str = setting(
        "auto", "live: auto takes cv_bridge where it works.", choices=("auto", "cv_bridge", "builtin")
    )
    cloud_tolerance_s: float = setting(
        0.06, "Largest time between an image and the cloud that goes with it.", low=0, high=1
    )
    world_frame: str = setting(
        "odom", "live: tf frame in which the vehicle's motion is measured; without it the picture has to change."
    )
    tf_timeout_s: float = setting(0.2, "live: how long a frame waits for its tf.", low=0, high=5)
    part_format: str = setting(
        "bag", "live: parts are rosbag2 folders (MCAP), or KITTI folders.", choices=("bag", "kitti")
    )
    image_encoding: str = setting(
        "png", "live: of images in bags; png and raw lose nothing.", choices=("png", "raw", "jpeg")
    )
    part_s: float = setting(
        60.0, "live: a part is closed after so long; a power cut loses at most the open one.", low=1, high=3600
    )

    @property
    def sources(self) -> tuple[Path, ...]:
        """The recordings that are named."""
        return tuple(Path(name) for name in self.recordings if name)

    def require_complete(self) -> None:
        """Check that what the mode needs is there.

        Raises:
            ConfigError: names the parameter.
        """
        if not self.out:
            raise ConfigError("out: expected a folder to write to, got ''")
        if self.mode == "recordings" and not self.sources:
            raise ConfigError("recordings: expected at least one bag or folder, got none")
        if self.mode == "recordings" and not self.teacher:
            raise ConfigError("teacher: expected a checkpoint, got ''")
        if self.assistant and not self.teacher:
            raise ConfigError("assistant: expected a teacher beside it, got none")

    def generation_settings(self) -> GenerationSettings:
        """What `config` says.

        Raises:
            ConfigError: the file is unreadable, or a setting is unknown or out of range.
        """
        return load_settings(GenerationSettings, self.config) if self.config else GenerationSettings()

    def request(self) -> GenerationRequest:
        """What to generate from the recordings.

        Raises:
            ConfigError: as `generation_settings`.
        """
        return GenerationRequest(
            sources=self.sources,
            out=Path(self.out),
            teacher=checkpoint_path(self.teacher),
            assistant=checkpoint_path(self.assistant) if self.assistant else None,
            device=device_asked_for(self.device),
            options=self._source_options(),
            settings=self.generation_settings(),
        )

    @property
    def workers(self) -> int:
        """Processes that work at once."""
        return self.jobs or (1 if device_asked_for(self.device) != "cpu" else usable_cores())

    def _source_options(self) -> SourceOptions:
        return SourceOptions(
            image_topic=self.image_topic or None,
            camera_info_topic=self.camera_info_topic or None,
            points_topic=self.points_topic or None,
            odometry_topic=self.odometry_topic or None,
            compensate_motion=self.compensate_motion,
            rectify=self.rectify,  # type: ignore[arg-type]  # its choices are checked
            calibration=Path(self.calibration) if self.calibration else None,
            cloud_tolerance_s=self.cloud_tolerance_s,
            read_cut=True,
        )
