"""A bag of boxes against ground truth: the same figures whatever frame, clock and class names the boxes have."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from monotakd_ros.data.bag_writer import BagFile
from monotakd_ros.data.detections_to_msg import DetectionMessages
from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.data.kitti_text import text_from_labels
from monotakd_ros.data.message_types import bag_message_types
from monotakd_ros.data.source import SourceOptions
from monotakd_ros.errors import BagError, ConfigError, LabelError, SourceError
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame, evaluation_frame
from monotakd_ros.evaluation.kitti_ap import KITTI_CLASSES, kitti_ap
from monotakd_ros.evaluation.latency import latency_ms
from monotakd_ros.frame import Detections3D, Frame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import invert_transform, make_transform, nominal_cam_T_lidar, rotation_about_z
from monotakd_ros.replay.detection_bag import DetectionBag
from monotakd_ros.report.both_sides import warnings_about
from monotakd_ros.report.gathered import Gathered
from monotakd_ros.report.recorded_bag import gather_bag

CLASSES = ("Car", "Pedestrian", "Cyclist")
BUILDER = DetectionMessages(bag_message_types())
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
FRAMES = 6
CAMERA = CameraModel.from_intrinsics(200, 200, 160, 60, 320, 120)
EXTRINSIC = make_transform(rotation_about_z(0.012), np.zeros(3)) @ nominal_cam_T_lidar()


def frame(index: int) -> Frame:
    """Four cars and a cyclist ahead; every stamp an odd number of nanoseconds."""
    random = np.random.default_rng(index)
    boxes = [[10.0 + 6 * k, 3.0 * (-1) ** k, -0.9, 4.0, 1.7, 1.5, random.uniform(-3, 3)] for k in range(4)]
    boxes.append([8.0, 0.5, -0.9, 1.8, 0.6, 1.7, 0.3])
    count = len(boxes)
    labels = Labels3D(
        np.array(boxes),
        ("Car",) * 4 + ("Cyclist",),
        np.zeros(count),
        np.zeros(count, dtype=np.int64),
        np.full((count, 4), np.nan),
    )
    return Frame(
        name=f"night-{index}",
        stamp_ns=START_NS + index * PERIOD_NS + 123_456_789,
        image=np.full((120, 320, 3), index, dtype=np.uint8),
        camera=CAMERA,
        camera_frame_id="cam_optical",
        cam_T_lidar=EXTRINSIC,
        lidar_frame_id="velo",
        labels=labels,
    )


def found_in(item: Frame) -> Detections3D:
    """The labels, moved a little, and one box where nothing is."""
    random = np.random.default_rng(item.stamp_ns)
    boxes = item.labels.boxes_lidar + random.normal(0, 0.08, item.labels.boxes_lidar.shape)
    boxes = np.vstack([boxes, [30.0, -9.0, -0.9, 4.0, 1.7, 1.5, 0.1]])
    spread = random.normal(0, 1, (len(boxes), 3, 3))
    return Detections3D(
        boxes.astype(np.float32),
        random.uniform(0.1, 0.9, len(boxes)).astype(np.float32),
        np.array([0, 0, 0, 0, 2, 0]),
        CLASSES,
        (spread @ spread.transpose(0, 2, 1)).astype(np.float32),
        EXTRINSIC,
    )


@dataclass
class Setup:
    """The same drive as files of every kind."""

    folder: Path
    frames: list[Frame]
    found: list[Detections3D]

    def expected(self, indices=range(FRAMES)) -> list[EvaluationFrame]:
        return [
            evaluation_frame(f.name, f.labels, d, f.camera, f.cam_T_lidar, f.stamp_ns)
            for f, d in ((self.frames[i], self.found[i]) for i in indices)
        ]

    def source(self, name: str = "drive", frames: list[Frame] | None = None, **options) -> Path:
        with open_writer(self.folder / name, **options) as writer:
            for item in self.frames if frames is None else frames:
                writer.write(item)
        return self.folder / name

    def replayed(self, name: str = "boxes", images: bool = False, indices=range(FRAMES)) -> Path:
        bag = DetectionBag(self.folder / name, CLASSES, 0.1, images=images, points=False)
        for index in indices:
            bag.write(self.frames[index], self.found[index], self.found[index])
        bag.close()
        return self.folder / name

    def recorded(self, change: Callable[[int, object], object] = lambda index, array: array, **options) -> Path:
        """Boxes alone, as some other detector would write them: no camera, no class names, no tf."""
        return other_detector(self, change, **options)

    def label_files(self, name: str = "label_2") -> Path:
        (self.folder / name).mkdir(parents=True)
        for index, item in enumerate(self.frames):
            text = text_from_labels(item.labels, EXTRINSIC)
            (self.folder / name / f"{index:06d}.txt").write_text(text)
        return self.folder / name


def other_detector(
    setup: Setup,
    change: Callable[[int, object], object],
    name: str = "other",
    frame_T_cam: np.ndarray | None = None,
    frame_id: str = "cam_optical",
    shift_ns: int = 0,
    lag_ns: int = 0,
    also: Callable[[BagFile], None] = lambda bag: None,
) -> Path:
    bag = BagFile(setup.folder / name)
    for index, (item, found) in enumerate(zip(setup.frames, setup.found)):
        moved = found if frame_T_cam is None else replace(found, cam_T_lidar=frame_T_cam @ EXTRINSIC)
        stamp_ns = item.stamp_ns + shift_ns
        message = change(index, BUILDER.detections(moved, stamp_ns, frame_id))
        if message is not None:
            bag.write("/boxes", message, stamp_ns + lag_ns)
    also(bag)
    bag.close()
    return setup.folder / name


@pytest.fixture
def setup(tmp_path) -> Setup:
    frames = [frame(index) for index in range(FRAMES)]
    return Setup(tmp_path, frames, [found_in(item) for item in frames])


def figures(frames: Sequence[EvaluationFrame]) -> list[float]:
    result = kitti_ap([item.truth for item in frames], [item.results for item in frames])
    return result["strict"]["Car"]["3d"]["R40"]


def assert_same_boxes(
    gathered: Gathered, expected: list[EvaluationFrame], atol: float = 1e-6, atol_px: float = 1e-4
) -> None:
    """Both sides box by box, in their order."""
    assert len(gathered.frames) == len(expected)
    for got, wanted in zip(gathered.frames, expected):
        for side in ("truth", "results"):
            mine, theirs = getattr(got, side), getattr(wanted, side)
            assert mine.names == theirs.names
            for name, values in vars(theirs).items():
                if name != "names":
                    tolerance = atol_px if name == "bbox_px" else atol
                    np.testing.assert_allclose(getattr(mine, name), values, rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_allclose(got.covariance_cam, wanted.covariance_cam, rtol=0, atol=1e-5)


def names(gathered: Gathered) -> list[str]:
    return [item.name for item in gathered.frames]


def test_a_replay_against_its_source_gives_the_replays_own_figures(setup):
    gathered = gather_bag(setup.replayed(), setup.source())
    assert_same_boxes(gathered, setup.expected())
    assert figures(gathered.frames) == pytest.approx(figures(setup.expected()), abs=1e-9)
    assert 5 < figures(gathered.frames)[1] < 95, figures(gathered.frames)
    assert names(gathered) == [item.name for item in setup.frames]
    assert [item.stamp_ns for item in gathered.frames] == [item.stamp_ns for item in setup.frames]
    assert (gathered.missing, gathered.extra, gathered.skipped, gathered.warnings) == ((), (), (), ())
    assert gathered.seconds == {}  # written at the images' own stamps: nothing was live


def test_run_says_what_was_compared(setup):
    boxes, drive = setup.replayed(), setup.source()
    run = gather_bag(boxes, drive, tolerance_s=0.02).run
    json.dumps(run)
    assert (run["mode"], run["results"], run["labels"]) == ("detections", str(boxes), str(drive))
    assert run["sources"] == [{"name": "drive", "path": str(drive), "frames": FRAMES}]
    assert (run["detections_topic"], run["tolerance_s"], run["greatest_stamp_difference_s"]) == ("/detections", 0.02, 0)


def test_against_a_kitti_folder_with_stamps(setup):
    folder = setup.source(format="kitti")
    gathered = gather_bag(setup.replayed(), folder)
    assert_same_boxes(gathered, setup.expected())
    name = gathered.frames[2].name
    assert gathered.scenes([name])[name].image[0, 0, 0] == 2


def test_a_kitti_folder_without_stamps_is_matched_by_order(setup):
    folder = setup.source(format="kitti")
    (folder / "frames.csv").unlink()
    gathered = gather_bag(setup.replayed(), folder)
    assert_same_boxes(gathered, setup.expected())
    assert any("matched with the arrays by order" in text for text in gathered.warnings)
    assert [item.stamp_ns for item in gathered.frames] == [item.stamp_ns for item in setup.frames]
    with pytest.raises(SourceError, match="no frame is on both sides"):
        gather_bag(setup.replayed("fewer", indices=(0, 1)), folder)


def test_made_up_stamps_match_but_tell_no_time(setup):
    """Original KITTI folders count up at 10 Hz; a replay of one writes these stamps."""
    folder = setup.source(format="kitti")
    (folder / "frames.csv").unlink()
    stamps_ns = iter(range(PERIOD_NS, 10 * PERIOD_NS, PERIOD_NS))

    def change(index, array):
        array.header = BUILDER.header(next(stamps_ns), "camera")
        return array

    gathered = gather_bag(setup.recorded(change), folder)
    assert_same_boxes(gathered, setup.expected())
    assert gathered.warnings == ()
    assert [item.stamp_ns for item in gathered.frames] == [None] * FRAMES


def test_label_folder_of_a_source_means_the_source(setup):
    unlabelled = [replace(item, labels=None) for item in setup.frames]
    setup.source("drive", unlabelled)
    labels = setup.label_files("drive/label_2")
    gathered = gather_bag(setup.replayed(), labels)
    assert_same_boxes(gathered, setup.expected())
    assert names(gathered)[0] == "night-0"
    assert list(gathered.scenes(["night-3"])) == ["night-3"]


def test_bare_label_files_are_matched_by_order(setup):
    gathered = gather_bag(setup.replayed(), setup.label_files("elsewhere"))
    assert_same_boxes(gathered, setup.expected(), 2e-3, 0.6)  # upright by the camera, which is tilted by 0.012
    assert names(gathered) == [f"{index:06d}" for index in range(FRAMES)]
    assert gathered.scenes(["000000"]) == {}


def test_bare_label_files_of_another_number(setup):
    labels = setup.label_files("elsewhere")
    (labels / "000003.txt").unlink()
    with pytest.raises(SourceError, match=r"holds 5 label files, but .* 6 arrays on /detections"):
        gather_bag(setup.replayed(), labels, allow_missing=True)


def test_bare_label_files_need_a_camera(setup):
    with pytest.raises(BagError, match="expected a CameraInfo topic"):
        gather_bag(setup.recorded(), setup.label_files("elsewhere"))


def test_ground_truth_topic_in_a_bag_without_images(setup):
    def boxes_of_labels(index, array):
        labels = setup.frames[index].labels
        return BUILDER.ground_truth(labels, setup.frames[index].stamp_ns, "velo")

    gathered = gather_bag(setup.replayed(), setup.recorded(boxes_of_labels, name="truth"))  # tf: from the other bag
    expected = [
        replace(item, truth=replace(item.truth, truncation=-np.ones(5), occlusion=-np.ones(5, dtype=np.int64)))
        for item in setup.expected()
    ]
    assert_same_boxes(gathered, expected, 2e-3, 0.6)
    assert gathered.run["ground_truth_topic"] == "/boxes"
    assert names(gathered)[0] == "000000"
    told = warnings_about(gathered.frames, KITTI_CLASSES)
    assert [text.split(" is unknown")[0] for text in told] == ["truncation", "occlusion"]


def both_in_one(setup: Setup, images: bool) -> Path:
    """One recording with detections and ground truth on topics."""

    def also(bag: BagFile) -> None:
        message = BUILDER.transform(invert_transform(EXTRINSIC), "velo", "cam_optical", START_NS)
        bag.write("/tf_static", message, START_NS, latched=True)
        for item in setup.frames:
            bag.write("/ground_truth", BUILDER.ground_truth(item.labels, item.stamp_ns, "velo"), item.stamp_ns)
            bag.write("/cam/camera_info", BUILDER.camera_info(CAMERA, item.stamp_ns, "cam_optical"), item.stamp_ns)
            if images:
                bag.write("/cam/image_rect", BUILDER.image(item.image, item.stamp_ns, "cam_optical"), item.stamp_ns)

    return setup.recorded(name="one", also=also)


@pytest.mark.parametrize("images", [False, True])
def test_both_sides_from_one_bag(setup, images):
    bag = both_in_one(setup, images)
    gathered = gather_bag(bag, bag)
    assert figures(gathered.frames) == pytest.approx(figures(setup.expected()), abs=1e-9)
    assert len(gathered.scenes(["000001"])) == int(images)


def test_detections_are_never_their_own_ground_truth(setup):
    bag = setup.replayed(images=True)
    with pytest.raises(SourceError, match="none of its 6 frames has labels"):
        gather_bag(bag, bag)
    with pytest.raises(BagError, match="expected a topic of type"):
        gather_bag(setup.replayed("plain"), setup.folder / "plain")


TILTED = make_transform(rotation_about_z(0.9) @ np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]), [4.0, -2, 1])


def tf_of_base(bag: BagFile) -> None:
    message = BUILDER.transform(TILTED, "base", "cam_optical", START_NS)
    bag.write("/tf_static", message, START_NS, latched=True)


def test_another_frame_gives_the_same_figures(setup):
    drive = setup.source()
    other = setup.recorded(frame_T_cam=TILTED, frame_id="base", also=tf_of_base)
    gathered = gather_bag(other, drive)
    assert_same_boxes(gathered, setup.expected())
    assert figures(gathered.frames) == pytest.approx(figures(setup.expected()), abs=1e-9)


def test_tf_of_the_labels_bag_connects_too(setup):
    def tf_of_velo(bag: BagFile) -> None:  # base -> velo here, velo -> camera in the drive
        message = BUILDER.transform(TILTED @ EXTRINSIC, "base", "velo", START_NS)
        bag.write("/tf_static", message, START_NS, latched=True)

    other = setup.recorded(frame_T_cam=TILTED, frame_id="base", also=tf_of_velo)
    assert_same_boxes(gather_bag(other, setup.source()), setup.expected())


def test_a_moving_frame_is_looked_up_at_each_stamp(setup):
    """Boxes in `map`, through which the camera moves."""
    poses = [make_transform(rotation_about_z(0.2 * k), [3.0 * k, 1, 0]) for k in range(FRAMES)]

    def change(index, array):
        moved = replace(setup.found[index], cam_T_lidar=poses[index] @ EXTRINSIC)
        return BUILDER.detections(moved, setup.frames[index].stamp_ns, "map")

    def also(bag):
        for item, pose in zip(setup.frames, poses):
            bag.write("/tf", BUILDER.transform(pose, "map", "cam_optical", item.stamp_ns), item.stamp_ns)

    assert_same_boxes(gather_bag(setup.recorded(change, also=also), setup.source()), setup.expected())


def test_frames_of_single_detections_count_where_the_array_names_none(setup):
    def change(index, array):
        array.header = BUILDER.header(setup.frames[index].stamp_ns, "")
        return array

    gathered = gather_bag(setup.recorded(change), setup.source())
    assert_same_boxes(gathered, setup.expected())


def test_the_lidar_of_a_source_without_tf_is_known(setup):
    found = [replace(item, cam_T_lidar=np.eye(4)) for item in setup.found]

    def change(index, array):
        return BUILDER.detections(found[index], setup.frames[index].stamp_ns, "velo")

    gathered = gather_bag(setup.recorded(change), setup.source(format="kitti"))
    assert_same_boxes(gathered, setup.expected())


def test_a_folder_takes_the_name_of_its_camera_from_the_detections_bag(setup):
    folder = setup.source(format="kitti", frames=[replace(item, camera_frame_id="camera") for item in setup.frames])
    assert_same_boxes(gather_bag(setup.replayed(), folder), setup.expected())


def test_no_transform_names_both_frames(setup):
    drive, other = setup.source(), setup.recorded(frame_id="roof")
    with pytest.raises(BagError, match=r"topic /boxes, stamp \d+ ns: no transform .* 'roof' .* 'cam_optical'"):
        gather_bag(other, drive)


def test_frames_without_a_transform_may_be_left_out(setup):
    """As at the start of a recording, before the first tf."""

    def change(index, array):
        frame_id = "roof" if index < 2 else "cam_optical"
        return BUILDER.detections(setup.found[index], setup.frames[index].stamp_ns, frame_id)

    drive, other = setup.source(), setup.recorded(change)
    with pytest.raises(BagError, match=r"no transform .* 'roof' .*--allow-missing leaves such frames out"):
        gather_bag(other, drive)
    gathered = gather_bag(other, drive, allow_missing=True)
    assert_same_boxes(gathered, setup.expected(range(2, FRAMES)))
    assert len(gathered.skipped) == 2
    with pytest.raises(BagError, match="no transform"):
        gather_bag(setup.recorded(name="never", frame_id="roof"), drive, allow_missing=True)


def test_no_frame_at_all(setup):
    def change(index, array):
        array.header = BUILDER.header(setup.frames[index].stamp_ns, "")
        for detection in array.detections:
            detection.header = array.header
        return array

    with pytest.raises(BagError, match="neither the array nor its detections name the frame"):
        gather_bag(setup.recorded(change), setup.source())


@pytest.mark.parametrize("shift_ns", [-49_000_000, 30_000_001])
def test_shifted_stamps_within_the_tolerance(setup, shift_ns):
    gathered = gather_bag(setup.recorded(shift_ns=shift_ns), setup.source())
    assert_same_boxes(gathered, setup.expected())
    assert gathered.run["greatest_stamp_difference_s"] == abs(shift_ns) / 1e9


def test_shifted_stamps_beyond_the_tolerance(setup):
    drive, other = setup.source(), setup.recorded(shift_ns=30_000_000)
    with pytest.raises(SourceError, match=r"no frame is on both sides: labelled .*: 6 .* arrays of .*: 6"):
        gather_bag(other, drive, tolerance_s=0.029, allow_missing=True)


@pytest.mark.parametrize("tolerance_s", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none(setup, tolerance_s):
    with pytest.raises(ConfigError, match="tolerance: expected seconds >= 0"):
        gather_bag(setup.folder, setup.folder, tolerance_s=tolerance_s)


def test_missing_and_extra_frames_are_named_and_counted(setup):
    labelled = [replace(item, labels=None) if index == 1 else item for index, item in enumerate(setup.frames)]
    drive = setup.source(frames=labelled[:5])
    boxes = setup.replayed(indices=(0, 1, 3, 4, 5))
    stamp_ns = setup.frames[5].stamp_ns
    faults = rf"without an array: 1 \(night-2\); arrays of no labelled frame: 2 \(night-1, stamp {stamp_ns} ns\)"
    with pytest.raises(SourceError, match=faults + r"\. --allow-missing .* have, 3$"):
        gather_bag(boxes, drive)
    gathered = gather_bag(boxes, drive, allow_missing=True)
    assert_same_boxes(gathered, setup.expected((0, 3, 4)))
    assert (gathered.missing, gathered.extra) == (("night-2",), ("night-1", f"stamp {stamp_ns} ns"))


def test_a_live_recording_tells_its_latency(setup):
    gathered = gather_bag(setup.recorded(lag_ns=80_000_000), setup.source())
    assert gathered.seconds == {"age": [0.08] * FRAMES}
    assert latency_ms(gathered.seconds)["age"]["p50"] == 80


@pytest.mark.parametrize("lag_ns", [-1_000_000, 6_000_000_000])
def test_clocks_that_differ_are_no_latency(setup, lag_ns):
    assert gather_bag(setup.recorded(lag_ns=lag_ns), setup.source()).seconds == {}


def renamed(new_names: dict[str, str]) -> Callable[[int, object], object]:
    def change(index, array):
        for detection in array.detections:
            hypothesis = detection.results[0].hypothesis
            hypothesis.class_id = new_names[hypothesis.class_id]
        return array

    return change


def test_class_ids_by_number(setup):
    def also(bag: BagFile) -> None:
        bag.write("/label_info", BUILDER.label_info(("car", "cyclist"), 0.1, START_NS, ""), START_NS, latched=True)

    other = setup.recorded(renamed({"Car": "0", "Cyclist": "1"}), also=also)
    assert_same_boxes(gather_bag(other, setup.source()), setup.expected())


def test_class_map(setup):
    other, drive = setup.recorded(renamed({"Car": "vehicle", "Cyclist": "Bicycle"})), setup.source()
    with pytest.raises(SourceError, match=r"the classes are 'vehicle' \(30\), 'Bicycle' \(6\): .*--class-map FROM=TO"):
        gather_bag(other, drive)
    gathered = gather_bag(other, drive, class_map={"vehicle": "Car", "bicycle": "Cyclist"})
    assert_same_boxes(gathered, setup.expected())
    partly = gather_bag(other, drive, class_map={"vehicle": "Car"})
    assert warnings_about(partly.frames, KITTI_CLASSES) == ["results of classes that are not evaluated: Bicycle (6)"]


def test_what_cannot_be_used_is_told(setup):
    def change(index, array):
        if index == 2:
            array.detections[0].results[0].hypothesis.score = float("nan")
            array.detections[1].results = []
            array.detections[2].bbox.size.x = 0.0
        return array

    gathered = gather_bag(setup.recorded(change), setup.source())
    stamp_ns = setup.frames[2].stamp_ns
    assert [len(item.results) for item in gathered.frames] == [6, 6, 4, 6, 6, 6]
    assert gathered.warnings[0].startswith("detections that cannot be used: 2 (1 with ")
    assert gathered.warnings[0].endswith(f"stamp {stamp_ns} ns")
    assert gathered.warnings[1].startswith("detections with a size of zero or less, which overlap nothing in 3D: 1,")


def test_empty_arrays_are_frames_in_which_nothing_was_found(setup):
    def change(index, array):
        array.detections = []
        return array

    gathered = gather_bag(setup.recorded(change), setup.source())
    assert [len(item.results) for item in gathered.frames] == [0] * FRAMES
    assert all(item.covariance_cam is None for item in gathered.frames)


def test_ground_truth_without_size_is_refused(setup):
    def change(index, array):
        array.detections[0].bbox.size.y = -1.0
        return array

    truth = setup.recorded(change, name="truth")
    with pytest.raises(LabelError, match=r"topic /boxes, stamp \d+ ns: expected sizes > 0 of ground truth, got -1"):
        gather_bag(setup.replayed(), truth)


def test_labels_that_are_nothing(setup):
    boxes = setup.replayed()
    (setup.folder / "nothing").mkdir()
    with pytest.raises(SourceError, match="no such file or folder"):
        gather_bag(boxes, setup.folder / "nowhere")
    with pytest.raises(SourceError, match="no such file or folder"):
        gather_bag(setup.folder / "nowhere", boxes)
    with pytest.raises(SourceError, match="expected a source with images and labels"):
        gather_bag(boxes, setup.folder / "nothing")


def test_options_reach_the_labels_source(setup):
    drive = setup.source()
    with pytest.raises(BagError, match="no image topic '/left'"):
        gather_bag(setup.replayed(), drive, source_options=SourceOptions(image_topic="/left"))
