"""The one door between sensor data and boxes.

Live node, bag replay, data generation and evaluation all call `Detector`. A checkpoint carries its own
config, so nothing else is needed.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from monotakd_ros.config import Config
from monotakd_ros.data.preprocess import PreparedFrame, collate, frame_notes, prepare
from monotakd_ros.errors import ConfigError
from monotakd_ros.frame import Detections3D, Frame, FrameBatch
from monotakd_ros.network.checkpoint import load_student
from monotakd_ros.network.position_covariance import position_covariance
from monotakd_ros.network.student import Student, StudentOutput

logger = logging.getLogger(__name__)


class StageTimer:
    """Collects wall-clock seconds per named stage; on CUDA it waits for the device at each stage's end."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._cuda = torch.device(device).type == "cuda"
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the enclosed block as one sample of stage `name`."""
        start = time.perf_counter()
        yield
        if self._cuda:
            torch.cuda.synchronize()
        self.seconds[name].append(time.perf_counter() - start)


def resolve_device(name: str) -> torch.device:
    """The torch device of that name.

    Raises:
        ConfigError: the name is unknown, or a CUDA device that this machine or torch build does not have.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device: expected 'cpu', 'cuda' or 'cuda:N', got {name!r}") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= (device.index or 0):
            raise ConfigError(
                f"device: {name!r} was asked for, but torch {torch.__version__} sees {count} CUDA devices"
            )
    return device


class Detector:
    """Finds 3D boxes in frames with a trained student.

    Source: MonoTAKD (arXiv 2404.04910), camera student; see `network/student.py`.
    """

    def __init__(self, student: Student, config: Config, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        self._student = student.to(self.device).eval()
        self._noted: set[str] = set()

    @classmethod
    def from_checkpoint(cls, path: Path | str, device: str = "cpu") -> Detector:
        """Load a checkpoint, which carries its config.

        Raises:
            CheckpointError: unreadable, of another model, or with missing or mis-shaped keys.
            ConfigError: the device is not there.
        """
        target = resolve_device(device)
        student, config = load_student(path, target)
        return cls(student, config, target)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.config.student.class_names

    def detect(self, frame: Frame, timer: StageTimer | None = None) -> Detections3D:
        """Detect boxes in one frame.

        Args:
            frame: image and camera; cloud and labels are not looked at.
            timer: collects the seconds of the stages `prepare`, `network` and `decode`.

        Raises:
            FrameError: the image contradicts its camera.
        """
        return self.detect_batch([frame], timer)[0]

    @torch.inference_mode()
    def detect_batch(self, frames: Sequence[Frame], timer: StageTimer | None = None) -> list[Detections3D]:
        """Detect boxes in several frames with one forward pass; same contract as `detect`. Empty in, empty out."""
        if not frames:
            return []

        def stage(name: str):
            return timer.stage(name) if timer else nullcontext()

        with stage("prepare"):
            prepared = [prepare(_camera_only(frame), self.config.student.input, self.class_names) for frame in frames]
            self._log_notes(prepared)
            batch = collate(prepared).to(self.device)
        with stage("network"):
            output = self._student(batch)
        with stage("decode"):
            return self._decode(batch, output, prepared)

    def notes(self, frame: Frame) -> tuple[str, ...]:
        """Where this frame's camera goes beyond what training covered, one sentence each."""
        return frame_notes(frame, self.config.student.input)

    def _decode(
        self, batch: FrameBatch, output: StudentOutput, prepared: Sequence[PreparedFrame]
    ) -> list[Detections3D]:
        bins = self.config.student.depth.build()
        results = []
        for index, boxes in enumerate(self._student.decode(output)):
            covariance = position_covariance(
                output.depth_logits[index],
                boxes.boxes,
                batch.img_P_cam[index],
                batch.cam_T_lidar[index],
                batch.valid_px[index],
                bins,
            )
            results.append(
                Detections3D(
                    boxes_lidar=boxes.boxes.float().cpu().numpy(),
                    scores=boxes.scores.float().cpu().numpy(),
                    labels=boxes.labels.cpu().numpy(),
                    class_names=self.class_names,
                    covariance_lidar=covariance.float().cpu().numpy(),
                    cam_T_lidar=np.array(prepared[index].cam_T_lidar),
                )
            )
        return results

    def _log_notes(self, prepared: Sequence[PreparedFrame]) -> None:
        for frame in prepared:
            for note in frame.notes:
                if note not in self._noted:
                    self._noted.add(note)
                    logger.warning("from frame %s on: %s", frame.name, note)


def _camera_only(frame: Frame) -> Frame:
    return replace(frame, points_lidar=None, points_stamp_ns=None, labels=None)
