"""How a set of training data is generated; read from YAML by `config_file.from_dict`, kept in the set's `set.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from monotakd_ros.config import ClassThreshold, require, threshold_of

ImageFormat = Literal["png", "jpeg"]
SetFormat = Literal["kitti", "tar"]
FeatureOf = Literal["teacher", "assistant"]


@dataclass(frozen=True)
class SelectionSettings:
    """Which frames of a recording are kept, so that a set is not ten thousand frames of one red light."""

    max_rate_hz: float = 2.0
    """At most so many frames a second; 0: no limit."""
    min_motion_m: float = 1.0
    """A frame is kept when the vehicle moved this far since the last one that was kept, or turned, or, where it stands
    or its pose is not known, when the picture changed."""
    min_turn_deg: float = 5.0
    """See `min_motion_m`."""
    min_novelty: float = 0.02
    """How much of the range from black to white a picture of 32 x 16 px, its mean brightness taken off, differs on
    average from that of the last frame that was kept; 0: any picture is new."""
    min_points: int = 50
    """LiDAR points that fall into the image, below which a frame is left out."""
    one_image_per_cloud: bool = True
    """Whether, of several images that go with one cloud, only the nearest in time is kept."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require(value >= 0, f"selection.{name} must be >= 0, got {value}")


ALL_FRAMES = SelectionSettings(
    max_rate_hz=0, min_motion_m=0, min_turn_deg=0, min_novelty=0, min_points=0, one_image_per_cloud=False
)
"""Leaves out none that could be used."""


@dataclass(frozen=True)
class CleaningSettings:
    """Which of the teacher's boxes become labels, which are uncertain (learned from in neither way), which go."""

    threshold: float = 0.3
    """A box from this score on may be a label, of classes that `thresholds` does not name."""
    thresholds: tuple[ClassThreshold, ...] = ()
    ignore_threshold: float = 0.1
    """A box below is dropped."""
    min_points: int = 5
    """A box with fewer LiDAR points in it is uncertain."""
    min_in_image: float = 0.1
    """A box of which less than this share of its projection lies in the image is dropped."""
    agreement_below: float = 0.6
    """A box with a lower score is uncertain when the assistant, if there is one, sees nothing of its class near it."""
    agreement_m: float = 2.0
    """How near, in m over ground, and 5 % of the distance on top."""
    neighbours_below: float = 0.6
    """A box with a lower score is uncertain when no neighbouring cloud shows one of its class that could be it."""
    neighbours_m: float = 1.0
    """How near such a box has to be, in m over ground, besides what the object may have moved."""
    max_speed_mps: float = 15.0
    """How fast an object may move over ground (where the ego pose is not known: against the vehicle)."""

    def __post_init__(self) -> None:
        names = [item.class_name for item in self.thresholds]
        require(len(set(names)) == len(names), "cleaning.thresholds names a class twice")
        lowest = min([self.threshold, *(item.score for item in self.thresholds)])
        require(
            0 < self.ignore_threshold <= lowest <= 1,
            "cleaning: expected 0 < ignore_threshold <= every threshold <= 1, got "
            f"{self.ignore_threshold} and {lowest}",
        )
        for name in ("min_points", "min_in_image", "agreement_m", "neighbours_m", "max_speed_mps"):
            require(getattr(self, name) >= 0, f"cleaning.{name} must be >= 0, got {getattr(self, name)}")

    def threshold_of(self, class_name: str) -> float:
        """The score from which a box of this class may be a label."""
        return threshold_of(class_name, self.thresholds, self.threshold)


@dataclass(frozen=True)
class GenerationSettings:
    """Everything that decides what a set holds, besides recordings and weights."""

    selection: SelectionSettings = field(default_factory=SelectionSettings)
    cleaning: CleaningSettings = field(default_factory=CleaningSettings)
    format: SetFormat = "kitti"
    """KITTI's folders, or one tar file a segment with the same files (WebDataset's convention), for large sets."""
    image_format: ImageFormat = "png"
    """KITTI's tools expect PNG; JPEG (quality 95) takes a fifth of the space."""
    crop_cloud: bool = True
    """Whether only the points that the camera sees are kept."""
    depth_maps: bool = True
    """Whether sparse depth maps are written, in the image's and in the feature map's resolution."""
    features: tuple[FeatureOf, ...] = ()
    """Of whom the bird's-eye-view maps are written, as gzipped float16 `.npy`; for training code other than ours,
    which keeps its own (`monotakd train --guide-cache`)."""
    segment_s: float = 60.0
    """Recordings are worked on in segments of this length; selection begins anew in each."""

    def __post_init__(self) -> None:
        require(self.segment_s > 0, f"segment_s must be > 0, got {self.segment_s}")
