"""How closely our networks repeat the official code's own outputs, tap by tap.

The official code's outputs for made-up weights (values that depend on a parameter's official name and shape only) lie
in the `parity` folder of the test data; its README tells how they were made. The weights go through the same import as
a published checkpoint. `test/network/test_parity.py` holds the figures.

    python benchmarks/parity.py [--data ../shared/data] [--tables ../shared/design/state_dicts]
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from monotakd_ros.config_file import load_config
from monotakd_ros.data.preprocess import collate, prepare
from monotakd_ros.frame import Frame, FrameBatch
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.network.checkpoint import Network, build_network, load_weights
from monotakd_ros.network.measured_depth import cell_layout, measured_distribution
from monotakd_ros.network.official_weights import convert
from monotakd_ros.network.student import Student
from monotakd_ros.network.teacher import Teacher

ROOT = Path(__file__).resolve().parents[1]
BOX_TAPS = ("pred_boxes", "pred_scores", "pred_labels")


@dataclass(frozen=True)
class Deviation:
    """How far one tap is off.

    Attributes:
        tap: name in the official outputs.
        count: number of values compared.
        max_abs: largest absolute difference.
        relative: `max_abs` over the largest absolute official value.
    """

    tap: str
    count: int
    max_abs: float
    relative: float


class Published:
    """The official code's outputs of one run, `X` whole or as samples `X/idx`, `X/val` of a tensor `X/shape`."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self.arrays = dict(file)

    def deviation(self, tap: str, ours: torch.Tensor) -> Deviation:
        """Compare our whole tensor, in the official layout, with the published values."""
        values = ours.detach().double().numpy()
        if tap in self.arrays:
            expected, got = self.arrays[tap].astype(np.float64), values
        else:
            shape = tuple(self.arrays[f"{tap}/shape"].tolist())
            assert values.shape == shape, f"{tap}: expected shape {shape}, got {values.shape}"
            expected = self.arrays[f"{tap}/val"].astype(np.float64)
            got = values.reshape(-1)[self.arrays[f"{tap}/idx"]]
        assert got.shape == expected.shape, f"{tap}: expected {expected.shape} values, got {got.shape}"
        error = float(np.abs(got - expected).max())
        return Deviation(tap, expected.size, error, error / float(np.abs(expected).max()))

    def sum_deviation(self, tap: str, ours: torch.Tensor) -> float:
        """Relative difference of sum |x| over the whole tensor."""
        expected = float(self.arrays[f"{tap}/stats"][4])
        return abs(float(ours.detach().double().abs().sum()) - expected) / expected


def official_weights(kind: str, data: Path, tables: Path) -> dict[str, torch.Tensor]:
    """The made-up weights under their official names."""
    path = data / "parity" / "fill_weights.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build(str(tables / f"{kind}.tsv"))


def imported(kind: str, fusion: bool, data: Path, tables: Path) -> Network:
    """The network with the made-up weights, by way of the import of official checkpoints."""
    base = load_config(ROOT / "config" / "official_r50.yaml")
    converted = convert(official_weights(kind, data, tables), kind, base, fusion)
    network = build_network(kind, converted.config)
    load_weights(network, converted.state_dict, where=kind)
    return network.eval()


def parity_frame(data: Path) -> Frame:
    """The frame that the official code was given; its sparse depth map as a cloud."""
    with np.load(data / "parity" / "input.npz") as given:
        height, width = given["image_shape"].tolist()
        camera = CameraModel(given["trans_cam_to_img"].astype(np.float64), width, height)
        return Frame(
            name="parity",
            stamp_ns=0,
            image=given["image_u8"],
            camera=camera,
            cam_T_lidar=given["trans_lidar_to_cam"].astype(np.float64),
        )


def parity_batch(data: Path) -> FrameBatch:
    """The same frame as a batch, with the depth map's pixels as LiDAR points in the image."""
    settings = load_config(ROOT / "config" / "official_r50.yaml").student
    batch = collate([prepare(parity_frame(data), settings.input, settings.class_names)])
    with np.load(data / "parity" / "input.npz") as given:
        depth = torch.from_numpy(given["depth_map"])
    v, u = torch.nonzero(depth > 0, as_tuple=True)
    points_img = torch.stack([u.float(), v.float(), depth[v, u]], dim=1)
    points_lidar = torch.zeros((len(points_img), 4))
    return FrameBatch(
        batch.images, batch.valid_px, batch.img_P_cam, batch.cam_T_lidar, batch.names, (points_img,), (points_lidar,)
    )


@torch.no_grad()
def student_taps(student: Student, batch: FrameBatch, published: Published) -> Iterator[tuple[str, torch.Tensor]]:
    """Our tensors under the official taps' names and layouts, in the order of the forward pass."""
    images = student.normalization(batch.images, batch.valid_px)
    yield "ddn_features_layer3", student.encoder.backbone(images)[0]
    features, depth_logits = student.encoder(images)
    yield "depth_logits", depth_logits
    yield "image_features", features
    depth = depth_logits.softmax(dim=1)
    layout = cell_layout(batch.images.shape[-2:], student.view_transform.sampling)
    measured = measured_distribution(batch.points_img, layout, student.view_transform.bins, "mean")
    yield "frustum_features", features[:, :, None] * depth[:, None, :-1]
    yield "frustum_features_target", features[:, :, None] * measured[:, None, :-1]
    plan = student.lift_plan(batch)
    voxels = student.view_transform(features, depth, plan)
    measured_voxels = student.view_transform(features, measured, plan)
    yield "voxel_features", voxels
    yield "voxel_features_target", measured_voxels
    yield "pre_scnet_spatial_features", student.collapse(voxels)
    yield "pre_scnet_spatial_features_copy", student.residual(voxels)
    yield "pre_scnet_spatial_features_target", student.residual.assistant(measured_voxels)
    yield from _detector_taps(student, batch, published)


def _detector_taps(student: Student, batch: FrameBatch, published: Published) -> Iterator[tuple[str, torch.Tensor]]:
    maps: list[torch.Tensor] = []
    hook = student.bev_backbone.register_forward_hook(lambda module, given, result: maps.append(result))
    output = student(batch, with_residual=True)
    hook.remove()
    yield "scnet_spatial_features", output.bev
    yield "spatial_features_2d", maps[0]
    yield from _head_taps(output)
    head = student.head
    everything = torch.arange(len(head.anchors))
    yield "anchors", head.anchors
    yield "batch_box_preds", head.decode_at(everything, output.box_codes[0], output.dir_logits[0])[None]
    boxes = student.decode(output)[0]
    yield "pred_boxes", boxes.boxes
    yield "pred_scores", boxes.scores
    yield "pred_labels", boxes.labels + 1


def _head_taps(output, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Per-anchor maps (B, A, n) in the official layout (B, Y, X, anchors per cell x n)."""
    rows, columns = output.bev.shape[-2:]
    for name, maps in (("cls", output.cls_logits), ("box", output.box_codes), ("dir_cls", output.dir_logits)):
        yield f"{prefix}{name}_preds", maps.reshape(len(maps), rows, columns, -1)


@torch.no_grad()
def teacher_taps(teacher: Teacher, data: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The teacher's tensors for the parity scene's points."""
    with np.load(data / "parity" / "voxels.npz") as given:
        points = torch.from_numpy(given["points"])
    batch = FrameBatch(
        torch.zeros((1, 3, 8, 8), dtype=torch.uint8),
        torch.tensor([[0.0, 0.0, 8.0, 8.0]]),
        torch.eye(3, 4)[None],
        torch.eye(4)[None],
        ("parity",),
        (torch.zeros((len(points), 3)),),
        (points,),
    )
    output = teacher(batch)
    yield "bev_lidar", output.bev
    yield from _head_taps(output, "teacher_")


def student_deviations(data: Path, tables: Path, fusion: bool) -> tuple[list[Deviation], dict[str, float]]:
    """Every tap of the student, and per sampled tensor the relative difference of its sum |x|."""
    published = Published(data / "parity" / f"student_{'fusion' if fusion else 'released'}.npz")
    student = imported("student", fusion, data, tables)
    deviations, sums = [], {}
    for tap, ours in student_taps(student, parity_batch(data), published):
        deviations.append(published.deviation(tap, ours))
        if f"{tap}/stats" in published.arrays:
            sums[tap] = published.sum_deviation(tap, ours)
    return deviations, sums


def teacher_deviations(data: Path, tables: Path) -> list[Deviation]:
    """Every tap of the teacher."""
    published = Published(data / "parity" / "training_step.npz")
    teacher = imported("teacher", False, data, tables)
    deviations = []
    for tap, ours in teacher_taps(teacher, data):
        deviations.append(_bev_lidar(published, ours) if tap == "bev_lidar" else published.deviation(tap, ours))
    return deviations


def _bev_lidar(published: Published, ours: torch.Tensor) -> Deviation:
    """The official BEV map is stored thinned twice: some of every n-th value, the places thinned likewise."""
    places, ranks = published.arrays["bev_lidar_idx/val"], published.arrays["bev_lidar_idx/idx"]
    step = int(places[-1] // ranks[-1])
    got = ours.double().numpy().reshape(-1)[published.arrays["bev_lidar_val/idx"] * step]
    expected = published.arrays["bev_lidar_val/val"].astype(np.float64)
    error = float(np.abs(got - expected).max())
    return Deviation("bev_lidar", expected.size, error, error / float(np.abs(expected).max()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--tables", type=Path, default=ROOT.parent / "shared" / "design" / "state_dicts")
    options = parser.parse_args()
    parts = {
        "student, fusion off": student_deviations(options.data, options.tables, False)[0],
        "student, fusion on": student_deviations(options.data, options.tables, True)[0],
        "teacher": teacher_deviations(options.data, options.tables),
    }
    print(f"{'network':20} {'tap':36} {'values':>8} {'max abs':>10} {'relative':>10}")
    for network, deviations in parts.items():
        for item in deviations:
            print(f"{network:20} {item.tap:36} {item.count:8d} {item.max_abs:10.1e} {item.relative:10.1e}")


if __name__ == "__main__":
    main()
