"""Time of one training step of a student, part by part, on made-up frames.

Where a recipe asks for teacher and assistant, random ones guide it.

python benchmarks/train_step.py --config config/student_small.yaml --steps 10
python benchmarks/train_step.py --config config/monotakd_small.yaml --recipe paper
python benchmarks/train_step.py --config config/monotakd_small.yaml --recipe paper --guide-cache
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from monotakd_ros.allocator import keep_freed_memory
from monotakd_ros.config import Config
from monotakd_ros.config_file import load_config
from monotakd_ros.data.preprocess import PreparedFrame, project_cloud
from monotakd_ros.frame import Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.network.checkpoint import ASSISTANT, TEACHER, build_network
from monotakd_ros.network.made_up_batch import made_up_cloud
from monotakd_ros.network.precision import usable_amp
from monotakd_ros.shipped import recipe_path
from monotakd_ros.training.frame_cache import TrainingFrame
from monotakd_ros.training.guides import Guides
from monotakd_ros.training.loop import TrainingRun
from monotakd_ros.training.losses import total
from monotakd_ros.training.optim import set_learning_rate
from monotakd_ros.training.run_options import RunOptions

BOXES_PER_FRAME = 12
WARM_UP_STEPS = 3
"""Until then the process grows."""


def made_up_frame(config: Config, index: int) -> TrainingFrame:
    """A frame of noise with boxes in the grid and points all over the image."""
    generator = np.random.default_rng(index)
    camera = config.student.input
    focal, center = camera.focal_px or 720.0, camera.center_px or (camera.width / 2, camera.height / 2)
    model = CameraModel.from_intrinsics(focal, focal, *center, camera.width, camera.height)
    x0, y0, _, x1, y1, _ = config.student.grid.range_m
    boxes = np.zeros((BOXES_PER_FRAME, 7))
    boxes[:, 0] = generator.uniform(x0, x1, BOXES_PER_FRAME)
    boxes[:, 1] = generator.uniform(y0, y1, BOXES_PER_FRAME) * 0.5
    boxes[:, 2:6] = [-1.0, 3.9, 1.6, 1.5]
    boxes[:, 6] = generator.uniform(-np.pi, np.pi, BOXES_PER_FRAME)
    size = [camera.width, camera.height]
    points_img, points_lidar = seen_cloud(model, generator)
    labels = Labels3D(
        boxes,
        ("Car",) * BOXES_PER_FRAME,
        np.zeros(BOXES_PER_FRAME),
        np.zeros(BOXES_PER_FRAME, dtype=np.int64),
        np.full((BOXES_PER_FRAME, 4), np.nan),
    )
    prepared = PreparedFrame(
        name=f"{index:06d}",
        image=generator.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8),
        valid_px=np.array([0, 0, *size], dtype=np.float32),
        img_P_cam=model.img_P_cam,
        cam_T_lidar=nominal_cam_T_lidar(),
        points_img=points_img,
        points_lidar=points_lidar,
        boxes_lidar=boxes.astype(np.float32),
        labels=np.zeros(BOXES_PER_FRAME, dtype=np.int64),
    )
    return TrainingFrame(prepared, labels, model, nominal_cam_T_lidar())


def seen_cloud(camera: CameraModel, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What the camera sees of a LiDAR's view of a street: (M, 3) float32 px, px, m, and (M, 4) float32, lidar."""
    valid_px = np.array([0, 0, camera.width, camera.height])
    return project_cloud(made_up_cloud(generator), nominal_cam_T_lidar(), camera, valid_px)


def random_guides(config: Config) -> Guides:
    """Untrained guides, as far as weights ask for them: they cost what trained ones do."""
    settings = config.training.distillation
    return Guides(
        teacher=build_network(TEACHER, config) if settings.teacher_weights else None,
        assistant=build_network(ASSISTANT, config) if settings.assistant_weights else None,
    )


class PartTimer:
    """Seconds of named parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds[name].append(time.perf_counter() - start)


def fill_cache(run: TrainingRun, steps: int) -> None:
    """Let the guides run on every frame of these steps; prints what that takes and how large it becomes."""
    start = time.perf_counter()
    with run.precision():
        for step in range(steps):
            run.guides(run.batches[step].to(run.device).guided, run.guide_parts, run.guide_cache)
    files = [path for path in run.guide_cache.folder.rglob("*") if path.is_file() and path.suffix != ".json"]
    frames, size = len(files) / len(run.guide_parts), sum(path.stat().st_size for path in files)
    seconds = time.perf_counter() - start
    print(f"guides' cache: {frames:.0f} frames filled in {seconds:.1f} s, {size / frames / 1e3:.0f} kB each")


def timed_step(run: TrainingRun, step: int, part: PartTimer) -> None:
    """The same work as `TrainingRun.take_step`, in parts."""
    with part("frames and augmentation"):
        frames, true_colours = run.batches.prepared(step)
    with part("targets, guides' cache"):
        batch = run.build(frames, true_colours).to(run.device)
    run.network.train()
    with part("forward"), run.precision():
        output = run.forward(run.network, batch.frames)
    with part("guides and losses"):
        loss = total(run.losses(output, batch))
    with part("backward"):
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
    with part("clip, optimiser, average"):
        torch.nn.utils.clip_grad_norm_(run.network.parameters(), run.config.training.grad_clip_norm)
        set_learning_rate(run.optimizer, 1e-4)
        run.optimizer.step()
        run.average.update(run.network, step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("config/student_small.yaml"))
    parser.add_argument("--recipe", action="append", default=[], help="as of monotakd train")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--amp", choices=("off", "bf16"), help="bf16 also where it is emulated (default: the config's)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--guide-cache", action="store_true", help="read what the guides give from a filled cache")
    arguments = parser.parse_args()
    keep_freed_memory()  # as every command of this package does
    torch.set_num_threads(arguments.threads)
    config = load_config(arguments.config, *map(recipe_path, arguments.recipe))
    amp = arguments.amp or usable_amp(config.training.amp, torch.device(arguments.device))
    changes = {"batch_size": arguments.batch_size, "amp": amp}
    changes = {name: value for name, value in changes.items() if value is not None}
    config = replace(config, training=replace(config.training, **changes))
    frames = [made_up_frame(config, index) for index in range(16)]
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(
            device=arguments.device, guide_cache=Path(folder) / "guides" if arguments.guide_cache else None
        )
        run = TrainingRun("student", config, frames, [], Path(folder), options, random_guides(config))
        if run.guide_cache is not None:
            fill_cache(run, WARM_UP_STEPS + arguments.steps)
        for step in range(WARM_UP_STEPS):
            timed_step(run, step, PartTimer())
        part = PartTimer()
        for step in range(WARM_UP_STEPS, WARM_UP_STEPS + arguments.steps):
            timed_step(run, step, part)
    training = config.training
    guides = ", ".join(run.guides.networks) or "none"
    print(
        f"{config.name}, batch {training.batch_size}, amp {training.amp}, {arguments.threads} threads, guides: {guides}"
    )
    for name, seconds in part.seconds.items():
        print(f"{name:28s} {1e3 * np.median(seconds):8.1f} ms")
    print(f"{'step':28s} {1e3 * sum(np.median(seconds) for seconds in part.seconds.values()):8.1f} ms")


if __name__ == "__main__":
    main()
