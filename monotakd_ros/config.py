"""Every network and training setting, as frozen dataclasses; a value out of range is a `ConfigError`.

`config_file` reads them from YAML. ROS matters (topics, thresholds per deployment) are not here but in
`config/detector.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from monotakd_ros.errors import ConfigError
from monotakd_ros.geometry.depth_bins import DepthBins
from monotakd_ros.geometry.grid import VoxelGrid

Sampling = Literal["exact", "official"]
CellDepth = Literal["nearest", "mean"]
Amp = Literal["off", "bf16", "fp16"]
Schedule = Literal["one_cycle", "cosine", "constant"]
MapScale = Literal["rms", "none", "min_max"]
ResidualPart = Literal["positive", "absolute"]
ResidualScale = Literal["none", "rms"]
AssistantForm = Literal["frozen", "branch"]


def require(condition: bool, message: str) -> None:
    """Raise a `ConfigError` with this message where the condition does not hold."""
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class InputConfig:
    """The network's own camera, to which every image is brought.

    With `focal_px`, an image is scaled until its focal length is `focal_px`, then shifted so that its principal
    point falls on `center_px`, and cropped or padded to `width` x `height`: a pixel then always means the same
    viewing angle, so that depth stays true. Without it (null) images keep their size, padded at the right and
    bottom to the largest of the batch (the official code's way).
    """

    width: int = 1242
    height: int = 375
    focal_px: float | None = None
    center_px: tuple[float, float] | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    camera_height_m: float = 1.65
    """Height above the road that training saw, and training fills in, for a lidar frame 1.73 m above it; used to place
    the virtual lidar frame of a camera without one."""
    trained_scale: tuple[float, float] | None = None
    """Smallest and largest image scale (network focal / camera focal) that training saw; training fills it in."""

    def __post_init__(self) -> None:
        require(self.width > 0 and self.height > 0, "input: width and height must be > 0")
        require(
            (self.focal_px is None) == (self.center_px is None), "input: give focal_px and center_px together, or none"
        )
        require(self.focal_px is None or self.focal_px > 0, "input.focal_px must be > 0")
        require(all(value > 0 for value in self.std), "input.std must be > 0")


@dataclass(frozen=True)
class GridConfig:
    """Voxel grid in the lidar frame; see `geometry.grid.VoxelGrid`."""

    range_m: tuple[float, float, float, float, float, float] = (2.0, -30.08, -3.0, 46.8, 30.08, 1.0)
    voxel_size_m: tuple[float, float, float] = (0.32, 0.32, 0.4)

    def __post_init__(self) -> None:
        self.build()

    def build(self) -> VoxelGrid:
        """The grid itself."""
        return VoxelGrid(self.range_m, self.voxel_size_m)


@dataclass(frozen=True)
class DepthConfig:
    """LID depth bins; see `geometry.depth_bins.DepthBins`."""

    min_m: float = 2.0
    max_m: float = 46.8
    num_bins: int = 120

    def __post_init__(self) -> None:
        self.build()

    def build(self) -> DepthBins:
        """The bins themselves."""
        return DepthBins(self.min_m, self.max_m, self.num_bins)


@dataclass(frozen=True)
class EncoderConfig:
    """DeepLabV3 on a dilated ResNet: the depth head sits on the last stage, the image feature on `feature_stage`."""

    block: Literal["bottleneck", "basic"] = "bottleneck"
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem_channels: int = 64
    channels: tuple[int, int, int, int] = (256, 512, 1024, 2048)
    """Output channels of the four stages (a bottleneck works at a quarter of them)."""
    feature_stage: int = 3
    """Stage (2 to 4) whose output becomes the image feature; stages 2 to 4 all have stride 8."""
    feature_channels: int = 64
    """Channels after the 1x1 reduction: what is lifted into 3D."""
    aspp_channels: int = 256
    aspp_rates: tuple[int, ...] = (12, 24, 36)
    dropout: float = 0.5

    def __post_init__(self) -> None:
        require(2 <= self.feature_stage <= 4, "encoder.feature_stage must be 2 to 4")
        widths = (self.stem_channels, self.feature_channels, self.aspp_channels, *self.channels)
        require(all(width >= 1 for width in widths), "encoder: every number of channels must be >= 1")
        require(all(rate >= 1 for rate in self.aspp_rates), "encoder.aspp_rates must be >= 1")
        require(all(count >= 1 for count in self.layers), "encoder.layers: every stage needs at least one block")
        require(0 <= self.dropout < 1, "encoder.dropout must be in [0, 1)")


@dataclass(frozen=True)
class LiftConfig:
    """How voxels sample the image feature and the depth distribution.

    `exact` samples where the voxel centre truly projects. `official` repeats the published code's mix of pixel
    and feature grids, which its checkpoints depend on.
    """

    sampling: Sampling = "exact"


@dataclass(frozen=True)
class BevConfig:
    """Height collapse and BEV backbone (two stages, each up-sampled to the first stage's resolution)."""

    collapse_channels: int = 128
    stage_layers: tuple[int, ...] = (5, 5)
    stage_strides: tuple[int, ...] = (1, 2)
    stage_channels: tuple[int, ...] = (128, 256)
    upsample_channels: tuple[int, ...] = (256, 256)
    adaptation_blocks: int = 0
    """Self-calibrated blocks between the height collapse and the backbone (camera networks; official weights: 4)."""

    def __post_init__(self) -> None:
        require(self.adaptation_blocks >= 0, "bev.adaptation_blocks must be >= 0")
        widths = (self.collapse_channels, *self.stage_channels, *self.upsample_channels)
        require(all(width >= 1 for width in widths), "bev: every number of channels must be >= 1")
        require(all(count >= 0 for count in self.stage_layers), "bev.stage_layers must be >= 0")
        require(all(stride >= 1 for stride in self.stage_strides), "bev.stage_strides must be >= 1")
        lengths = {
            len(self.stage_layers),
            len(self.stage_strides),
            len(self.stage_channels),
            len(self.upsample_channels),
        }
        require(
            len(lengths) == 1, "bev: stage_layers, stage_strides, stage_channels and upsample_channels differ in length"
        )


@dataclass(frozen=True)
class AnchorConfig:
    """Anchors of one class; the class id is the position in `head.anchors`."""

    class_name: str
    size_m: tuple[float, float, float]
    """(dx, dy, dz): length, width, height."""
    bottom_z_m: float
    """Height of the anchor's bottom face in the lidar frame."""
    matched_iou: float
    unmatched_iou: float

    def __post_init__(self) -> None:
        require(all(value > 0 for value in self.size_m), f"anchors: size of {self.class_name} must be > 0")
        require(
            0 <= self.unmatched_iou <= self.matched_iou <= 1,
            f"anchors: {self.class_name} needs 0 <= unmatched_iou <= matched_iou <= 1",
        )


KITTI_ANCHORS = (
    AnchorConfig("Car", (3.9, 1.6, 1.56), -1.78, 0.6, 0.45),
    AnchorConfig("Pedestrian", (0.8, 0.6, 1.73), -0.6, 0.5, 0.35),
    AnchorConfig("Cyclist", (1.76, 0.6, 1.73), -0.6, 0.5, 0.35),
)
"""The official checkpoints' anchors (pedestrian and cyclist bottoms float 1.1 m above the road there)."""


@dataclass(frozen=True)
class HeadConfig:
    """Anchor head."""

    anchors: tuple[AnchorConfig, ...] = KITTI_ANCHORS
    rotations: tuple[float, ...] = (0.0, 1.57)
    placement: Literal["stretched", "cell_center"] = "stretched"
    """`stretched`: first and last anchor on the range's edges (OpenPCDet's align_center False)."""
    direction_offset: float = 0.78539

    def __post_init__(self) -> None:
        names = self.class_names
        require(len(names) > 0, "head.anchors: at least one class is needed")
        require(len(self.rotations) > 0, "head.rotations: at least one is needed")
        require(len(set(names)) == len(names), f"head.anchors: class names repeat: {names}")

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(anchor.class_name for anchor in self.anchors)


@dataclass(frozen=True)
class PostprocessConfig:
    """From head maps to boxes: class-agnostic rotated NMS in BEV."""

    score_threshold: float = 0.1
    pre_nms_max: int = 4096
    nms_iou: float = 0.01
    max_boxes: int = 500

    def __post_init__(self) -> None:
        require(0 <= self.score_threshold < 1, "postprocess.score_threshold must be in [0, 1)")
        require(0 <= self.nms_iou <= 1, "postprocess.nms_iou must be in [0, 1]")
        require(self.pre_nms_max > 0 and self.max_boxes > 0, "postprocess: pre_nms_max and max_boxes must be > 0")


@dataclass(frozen=True)
class ResidualConfig:
    """The residual branch: a height collapse of its own and the Spatial Alignment Module.

    The branch learns what the teacher's BEV map has and the assistant's lacks. `fusion` says how it joins the visual
    map F on the way to the backbone:

    - `adapted`: FFM(F + residual), F after the adaptation blocks, the map that IMD teaches. The paper's way.
    - `collapsed`: FFM(F + residual), F straight from the height collapse, the adaptation blocks bypassed. What the
      released code does once its commented-out line is switched on; with its shared norm (`FeatureFusionModule`), for
      its weights and not for training.
    - `off`: the branch stands beside the detector, learns from distillation only and does not reach the boxes. What
      the released code does.
    """

    fusion: Literal["adapted", "collapsed", "off"] = "adapted"
    assistant_branch: bool = False
    """Carry the released code's assistant: a third height collapse, fed with measured depth, before the same SAM."""


@dataclass(frozen=True)
class StudentConfig:
    """The camera detector."""

    input: InputConfig = field(default_factory=InputConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    depth: DepthConfig = field(default_factory=DepthConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    lift: LiftConfig = field(default_factory=LiftConfig)
    bev: BevConfig = field(default_factory=BevConfig)
    residual: ResidualConfig | None = None
    """None: no residual branch (the student of CMKD, and what is deployed when `fusion` is off)."""
    head: HeadConfig = field(default_factory=HeadConfig)
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.head.class_names


@dataclass(frozen=True)
class AssistantConfig:
    """The teaching assistant: the student's trunk, lifted with measured depth. All else is the student's section."""

    cell_depth: CellDepth = "nearest"
    """Depth of a feature cell with several LiDAR points. `nearest`: what is in front hides the rest, as for the
    student's depth loss. `mean`: the official code's average."""


@dataclass(frozen=True)
class LidarEncoderConfig:
    """VoxelResBackBone8x: submanifold residual blocks and strided sparse convolutions.

    The first stage keeps the voxels' resolution, every other halves it; the last stage has no padding along z.
    """

    channels: tuple[int, ...] = (16, 32, 64, 64)
    """Per stage."""
    blocks: int = 2
    """Residual blocks per stage."""
    out_channels: int = 64
    """Of the last convolution, which halves z once more; the BEV map has this times the heights left."""

    def __post_init__(self) -> None:
        require(len(self.channels) >= 2, "teacher.encoder.channels: at least two stages are needed")
        require(all(count >= 1 for count in (*self.channels, self.out_channels)), "teacher.encoder: channels >= 1")
        require(self.blocks >= 0, "teacher.encoder.blocks must be >= 0")

    @property
    def stride(self) -> int:
        """LiDAR voxels per BEV cell along x and y."""
        return 2 ** (len(self.channels) - 1)


@dataclass(frozen=True)
class TeacherConfig:
    """The LiDAR detector: SECOND with the residual sparse backbone."""

    grid: GridConfig = GridConfig(voxel_size_m=(0.04, 0.04, 0.1))
    max_points_per_voxel: int = 5
    max_voxels: int = 40000
    encoder: LidarEncoderConfig = field(default_factory=LidarEncoderConfig)
    bev: BevConfig = field(default_factory=BevConfig)
    """`collapse_channels` is the encoder's output: out_channels x heights left."""
    head: HeadConfig = field(default_factory=HeadConfig)
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)

    def __post_init__(self) -> None:
        require(self.max_points_per_voxel >= 1, "teacher.max_points_per_voxel must be >= 1")
        require(self.max_voxels >= 1, "teacher.max_voxels must be >= 1")
        columns, rows, heights = self.grid.build().shape_xyz
        stride = self.encoder.stride
        require(
            columns % stride == 0 and rows % stride == 0,
            f"teacher.grid: {columns} x {rows} voxels are no multiple of the encoder's stride {stride}",
        )
        require(self.bev_heights >= 1, f"teacher.grid: {heights} voxels along z are too few for the encoder's stages")
        channels = self.encoder.out_channels * self.bev_heights
        require(
            self.bev.collapse_channels == channels,
            f"teacher.bev.collapse_channels: the encoder leaves {self.bev_heights} of {heights} heights and gives "
            f"{channels} channels, got {self.bev.collapse_channels}",
        )
        require(self.bev.adaptation_blocks == 0, "teacher.bev.adaptation_blocks: camera networks only")

    @property
    def bev_heights(self) -> int:
        """Heights that the encoder leaves: every stage but the first halves, the last without padding, then again."""
        heights = self.grid.build().shape_xyz[2] + 1
        for _ in self.encoder.channels[1:-1]:
            heights = (heights - 1) // 2 + 1
        return max(((heights - 3) // 2 + 1 - 3) // 2 + 1, 0)

    @property
    def bev_grid(self) -> VoxelGrid:
        """The BEV map's cells (one voxel high)."""
        stride, size = self.encoder.stride, self.grid.voxel_size_m
        height = self.grid.range_m[5] - self.grid.range_m[2]
        return VoxelGrid(self.grid.range_m, (size[0] * stride, size[1] * stride, height))

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.head.class_names


@dataclass(frozen=True)
class LossConfig:
    """Weights and shape of the detection and depth losses."""

    cls_weight: float = 1.0
    box_weight: float = 2.0
    direction_weight: float = 0.2
    depth_weight: float = 3.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    depth_foreground_weight: float = 13.0
    """Weight of depth cells inside a labelled box's image region, against 1 elsewhere (CaDDN)."""

    def __post_init__(self) -> None:
        for name in ("cls_weight", "box_weight", "direction_weight", "depth_weight"):
            require(getattr(self, name) >= 0, f"training.loss.{name} must be >= 0")


@dataclass(frozen=True)
class DistillationConfig:
    """What frozen guides teach a student (and a teacher its assistant) besides the labels; all weights 0: nothing.

    See `training.distillation_losses` for the terms.
    """

    imd_weight: float = 0.0
    """Intra-modal distillation: the student's visual map towards the assistant's."""
    cmrd_weight: float = 0.0
    """Cross-modal residual distillation: the residual branch's map towards teacher - assistant."""
    direct_weight: float = 0.0
    """The student's visual map straight towards the teacher's: CMKD's way, the baseline of the paper."""
    alignment_weight: float = 0.0
    """In the assistant's own training: its map towards the teacher's, so that teacher - assistant, channel by channel,
    compares like with like; the only weight that such a training looks at. In a student's: the same of its `branch`."""
    logit_cls_weight: float = 0.0
    logit_box_weight: float = 0.0
    logit_direction_weight: float = 0.0
    assistant: AssistantForm = "frozen"
    """`frozen`: a network of its own, trained before (the paper). `branch`: part of the student, its image feature
    lifted with measured depth (`residual.assistant_branch`), learning beside it (the released code)."""
    map_scale: MapScale = "rms"
    """`rms`: each map term is a share, what the student does not say of what the guide says, so that weights mean the
    same for dense maps and sparse ones. `none`: not divided. `min_max`: as the released code, which brings assistant
    and student to 0..1 over the batch and detaches both: IMD teaches nothing."""
    residual_scale: ResidualScale = "rms"
    """`rms`: the residual is that of maps of equal root mean square (of what is not 0), because networks trained apart
    have features of different size. `none`: T - A itself, in the units that an aligned assistant has. The residual is
    then a hundred times as strong: an assistant's map is dense, a teacher's sparse, and `rms` shrinks the latter."""
    residual_part: ResidualPart = "positive"
    """`positive`: what the teacher has and the assistant lacks; the branch ends in a ReLU and is added to the visual
    map, so that it can give nothing else. `absolute`: the released code's."""
    residual_threshold: float = 0.1
    """Residuals below this share of the largest become 0: the frame's largest; with `min_max` the batch's (the released
    code: 0.6)."""
    residual_foreground_weight: float = 1.0
    """Weight of what the threshold kept, against 1 for the rest of the map: where LiDAR tells more than depth does,
    be it an object or a wall. Not to be confused with `foreground_weight`."""
    foreground_weight: float = 1.0
    """In `imd` and `direct`: weight of the cells in which the teacher is sure of an object, against 1 where it sees
    none. 1 weighs all cells alike, and asks for no teacher."""
    soft_label_threshold: float = 0.1
    """Teacher score above which an anchor counts as an object."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if name.endswith("_weight"):
                require(getattr(self, name) >= 0, f"training.distillation.{name} must be >= 0")
        for name in ("residual_threshold", "soft_label_threshold"):
            require(0 <= getattr(self, name) < 1, f"training.distillation.{name} must be in [0, 1)")
        for name in ("residual_foreground_weight", "foreground_weight"):
            require(getattr(self, name) > 0, f"training.distillation.{name} must be > 0")
        require(
            self.foreground_weight == 1 or self.map_scale != "min_max",
            "training.distillation.foreground_weight: the released code's map_scale min_max weighs all cells alike",
        )
        require(
            self.residual_scale == "none" or self.map_scale != "min_max",
            "training.distillation.residual_scale: expected none with the released code's map_scale min_max",
        )

    @property
    def teacher_weights(self) -> tuple[str, ...]:
        """Names of the weights above 0 that need the teacher, in a student's training."""
        branch = ("alignment",) if self.assistant == "branch" else ()
        foreground = ("foreground",) if self.weighs_foreground else ()
        return self._above_zero("cmrd", "direct", "logit_cls", "logit_box", "logit_direction", *branch, *foreground)

    @property
    def weighs_foreground(self) -> bool:
        """Whether a map term weighs cells by what the teacher's head sees in them."""
        return self.foreground_weight != 1 and bool(self.imd_weight or self.direct_weight)

    @property
    def assistant_weights(self) -> tuple[str, ...]:
        """Names of the weights above 0 that need the frozen assistant."""
        return self._above_zero("imd", "cmrd") if self.assistant == "frozen" else ()

    @property
    def branch_weights(self) -> tuple[str, ...]:
        """Names of the weights above 0 that need the student's own assistant."""
        return self._above_zero("imd", "cmrd", "alignment") if self.assistant == "branch" else ()

    def _above_zero(self, *terms: str) -> tuple[str, ...]:
        return tuple(f"{term}_weight" for term in terms if getattr(self, f"{term}_weight") > 0)


@dataclass(frozen=True)
class ClassThreshold:
    """The teacher's score from which a box of one class is a label."""

    class_name: str
    score: float

    def __post_init__(self) -> None:
        require(0 < self.score <= 1, "training.semi_supervised.thresholds: score must be in (0, 1]")


def threshold_of(class_name: str, thresholds: tuple[ClassThreshold, ...], otherwise: float) -> float:
    """The score from which a box of this class is a label, where some classes have their own."""
    return {item.class_name: item.score for item in thresholds}.get(class_name, otherwise)


@dataclass(frozen=True)
class SemiSupervisedConfig:
    """How recordings with clouds but without labels teach a student, beside labelled ones or alone; see
    `training.pseudo_labels`."""

    unlabelled_fraction: float = 0.0
    """Share of all training samples that is drawn from the unlabelled recordings, spread evenly. 0: none; 1: all, and
    there are no labelled ones."""
    threshold: float = 0.3
    """The frozen teacher's boxes from this score on become labels, of classes that `thresholds` does not name."""
    thresholds: tuple[ClassThreshold, ...] = ()
    ignore_threshold: float = 0.1
    """Boxes from this score up to the class's threshold are uncertain: anchors at them are neither object nor
    background."""
    detection_weight: float = 1.0
    """Weight of the detection losses on a frame that the teacher labelled, against 1 on one with human labels; 0:
    unlabelled frames teach through depth and distillation alone."""
    weigh_by_score: bool = True
    """Whether an anchor that answers for a teacher's box counts by that box's score; if not, by 1."""

    def __post_init__(self) -> None:
        where = "training.semi_supervised"
        require(0 <= self.unlabelled_fraction <= 1, f"{where}.unlabelled_fraction must be in [0, 1]")
        require(0 < self.threshold <= 1, f"{where}.threshold must be in (0, 1]")
        require(self.detection_weight >= 0, f"{where}.detection_weight must be >= 0")
        names = [item.class_name for item in self.thresholds]
        require(len(set(names)) == len(names), f"{where}.thresholds names a class twice")
        lowest = min([self.threshold, *(item.score for item in self.thresholds)])
        require(
            0 < self.ignore_threshold <= lowest,
            f"{where}.ignore_threshold must be above 0 and at most the lowest threshold ({lowest}), "
            f"got {self.ignore_threshold}",
        )

    @property
    def unlabelled_only(self) -> bool:
        """Whether no sample has labels of people."""
        return self.unlabelled_fraction == 1

    def threshold_of(self, class_name: str) -> float:
        """The score from which a box of this class is a label."""
        return threshold_of(class_name, self.thresholds, self.threshold)


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentations move image, camera, points and boxes together."""

    flip_probability: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    scale: float = 0.0
    """The image is enlarged by 1 / (1 + scale) to 1 + scale about a random point. The world stays and the camera matrix
    follows, so that the lift stays exact; but to a network that is used with one focal length objects then look larger
    or smaller than their distance says."""
    crop: float = 0.0
    """The image window moves by up to this share of its width and height."""

    def __post_init__(self) -> None:
        require(0 <= self.flip_probability <= 1, "training.augment.flip_probability must be in [0, 1]")
        require(0 <= self.scale <= 1, "training.augment.scale must be in [0, 1]")
        require(0 <= self.crop <= 0.5, "training.augment.crop must be in [0, 0.5]")

    @property
    def moves_camera(self) -> bool:
        """Whether a frame's camera is another one each time."""
        return self.scale > 0 or self.crop > 0


@dataclass(frozen=True)
class TrainingConfig:
    """Optimisation: AdamW, learning-rate schedule, EMA, gradient clipping, AMP."""

    recipe: str = ""
    """Name of the recipe laid over the config (`config/recipes`), for reports; changes nothing."""
    steps: int = 20000
    batch_size: int = 4
    """Frames of one forward pass in one process; a step has batch_size x accumulate x processes frames."""
    accumulate: int = 1
    """Forward passes whose gradients are summed before the weights move; batch norms see them one by one."""
    learning_rate: float = 2e-3
    schedule: Schedule = "one_cycle"
    """How the rate rises over `warmup_fraction` of the steps and what follows; see `training.optim`. `one_cycle`: up
    along a cosine, down along a cosine. `cosine`: up along a line, down along a cosine. `constant`: up along a line,
    then `learning_rate`."""
    weight_decay: float = 0.01
    warmup_fraction: float = 0.3
    grad_clip_norm: float = 10.0
    ema_decay: float = 0.999
    amp: Amp = "off"
    """Half precision of forward and backward passes. For bf16 on a CPU that has no instructions for it `monotakd train`
    takes float32, with a warning (`network.precision.usable_amp`)."""
    activation_checkpointing: bool = False
    """Keep only the inputs of the heavy parts and compute these again going backward: less memory, more time."""
    seed: int = 0
    num_workers: int = 0
    lift_plans: int = 512
    """Calibrations (a mirrored one counts again) whose lift plan is kept; about 4 MB each for the small student. With
    `augment.scale` or `crop` none comes back, and only those of a few steps are kept."""
    log_every: int = 20
    validate_every: int = 1000
    checkpoint_every: int = 500
    """Steps after which `last.pt` is written."""
    checkpoint_minutes: float = 10.0
    """Also after so many minutes, so that a kill costs no more where steps are slow."""
    validation_fraction: float = 0.1
    """Share of frames held back for validation when no `--val-data` is given."""
    loss: LossConfig = field(default_factory=LossConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    semi_supervised: SemiSupervisedConfig = field(default_factory=SemiSupervisedConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "accumulate",
            "lift_plans",
            "log_every",
            "validate_every",
            "checkpoint_every",
        ):
            require(getattr(self, name) >= 1, f"training.{name} must be >= 1")
        require(0 <= self.seed < 2**32, "training.seed must be in [0, 2^32)")
        require(self.checkpoint_minutes > 0, "training.checkpoint_minutes must be > 0")
        require(self.learning_rate > 0, "training.learning_rate must be > 0")
        require(0 <= self.ema_decay < 1, "training.ema_decay must be in [0, 1)")
        require(0 <= self.validation_fraction < 1, "training.validation_fraction must be in [0, 1)")

    @property
    def plans_to_keep(self) -> int:
        """Number of lift plans that are worth their memory."""
        return min(self.lift_plans, 4 * self.batch_size) if self.augment.moves_camera else self.lift_plans


@dataclass(frozen=True)
class Config:
    """One YAML file of `config/`."""

    name: str
    student: StudentConfig = field(default_factory=StudentConfig, kw_only=True)
    assistant: AssistantConfig = field(default_factory=AssistantConfig, kw_only=True)
    teacher: TeacherConfig | None = field(default=None, kw_only=True)
    training: TrainingConfig = field(default_factory=TrainingConfig, kw_only=True)

    def __post_init__(self) -> None:
        if self.teacher is not None:
            _require_common_bev(self.student, self.teacher)
        require(
            self.student.residual is not None or self.training.distillation.cmrd_weight == 0,
            "training.distillation.cmrd_weight: cross-modal residual distillation needs a `student.residual` section",
        )
        branch = self.student.residual is not None and self.student.residual.assistant_branch
        require(
            branch or self.training.distillation.assistant == "frozen",
            "training.distillation.assistant: branch needs student.residual.assistant_branch: true",
        )
        for item in self.training.semi_supervised.thresholds:
            require(
                item.class_name in self.student.class_names,
                f"training.semi_supervised.thresholds: the student has no class {item.class_name!r}; "
                f"it has {', '.join(self.student.class_names)}",
            )


def _require_common_bev(student: StudentConfig, teacher: TeacherConfig) -> None:
    """Distillation compares maps and head outputs cell by cell: they must mean the same."""
    cells, own_cells = teacher.bev_grid.shape_xyz[:2], student.grid.build().shape_xyz[:2]
    pairs = {
        "grid.range_m": (teacher.grid.range_m, student.grid.range_m),
        "BEV cells (x, y)": (cells, own_cells),
        "bev.collapse_channels": (teacher.bev.collapse_channels, student.bev.collapse_channels),
        "head": (teacher.head, student.head),
    }
    for name, (given, expected) in pairs.items():
        require(given == expected, f"teacher: {name} differs from the student's: expected {expected}, got {given}")
