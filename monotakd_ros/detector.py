"""The one door between sensor data and boxes.

Live node, bag replay, data generation and evaluation all call `Detector`. A checkpoint carries its own
config, so nothing else is needed.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from monotakd_ros.config import Amp, Config
from monotakd_ros.data.preprocess import PreparedFrame, collate, frame_notes, prepare
from monotakd_ros.errors import ConfigError, FrameError
from monotakd_ros.frame import Detections3D, Frame, FrameBatch
from monotakd_ros.network.anchor_head import DecodedBoxes
from monotakd_ros.network.checkpoint import Network, load_network
from monotakd_ros.network.detection_output import DetectionOutput
from monotakd_ros.network.position_covariance import position_covariance
from monotakd_ros.network.precision import autocast, usable_amp
from monotakd_ros.network.student import Student

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
    expected = f"device: expected 'cpu', 'cuda' or 'cuda:N', got {name!r}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(expected) from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(expected)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= (device.index or 0):
            raise ConfigError(
                f"device: {name!r} was asked for, but torch {torch.__version__} sees {count} CUDA devices"
            )
    return device


class Detector:
    """Finds 3D boxes in frames with a trained network: the student, or an assistant or teacher where clouds are.

    Source: MonoTAKD (arXiv 2404.04910); see `network/student.py`, `network/assistant.py`, `network/teacher.py`.
    """

    def __init__(self, network: Network, config: Config, device: torch.device | str = "cpu", amp: Amp = "off") -> None:
        self.config = config
        self.device = torch.device(device)
        self.amp = usable_amp(amp, self.device)
        self._network = network.to(self.device).eval()
        self._noted: set[str] = set()

    @classmethod
    def from_checkpoint(
        cls, path: Path | str, device: str = "cpu", amp: Amp = "off", score_threshold: float | None = None
    ) -> Detector:
        """Load a checkpoint, which carries its config and says which network it is.

        Args:
            path: the checkpoint.
            device: "cpu", "cuda" or "cuda:N".
            amp: "bf16" or "fp16" computes in half precision, which moves boxes slightly (docs/results.md); bf16 on a
                CPU that has no instructions for it is float32, with a warning.
            score_threshold: lowest score of a detection; None takes the config's.

        Raises:
            CheckpointError: unreadable, of another model, or with missing or mis-shaped keys.
            ConfigError: the device is not there, or cannot compute in this precision.
        """
        target = resolve_device(device)
        network, checkpoint = load_network(path, target)
        if score_threshold is not None:
            network.head.postprocess = replace(network.head.postprocess, score_threshold=score_threshold)
        return cls(network, checkpoint.config, target, amp)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self._network.config.class_names

    @property
    def score_threshold(self) -> float:
        """Lowest score of a detection."""
        return self._network.head.postprocess.score_threshold

    @property
    def needs_cloud(self) -> bool:
        """Whether frames must carry a LiDAR cloud: true of assistant and teacher."""
        return not isinstance(self._network, Student)

    def detect(self, frame: Frame, timer: StageTimer | None = None) -> Detections3D:
        """Detect boxes in one frame.

        Args:
            frame: image and camera, and for an assistant or teacher the cloud; a student does not look at it. Labels
                are not looked at.
            timer: collects the seconds of the stages `prepare`, `network` and `decode`.

        Raises:
            FrameError: the image contradicts its camera, or the cloud that the network needs is missing.
        """
        return self.detect_batch([frame], timer)[0]

    @torch.inference_mode()
    def detect_batch(self, frames: Sequence[Frame], timer: StageTimer | None = None) -> list[Detections3D]:
        """Detect boxes in several frames at once, as `detect`; a bad frame fails all. Empty in, empty out."""
        if not frames:
            return []
        batch, output, prepared = self._forward(frames, timer)
        with _stage(timer, "decode"):
            return self._decode(batch, output, prepared)

    @torch.inference_mode()
    def detect_with_bev(self, frame: Frame) -> tuple[Detections3D, np.ndarray]:
        """As `detect`, and the map (C, Y, X) float32 that distillation compares; see `DetectionOutput.bev`."""
        batch, output, prepared = self._forward([frame], None)
        return self._decode(batch, output, prepared)[0], output.bev[0].float().cpu().numpy()

    def notes(self, frame: Frame) -> tuple[str, ...]:
        """Where this frame's camera goes beyond what training covered, one sentence each."""
        return frame_notes(frame, self.config.student.input)

    def _forward(
        self, frames: Sequence[Frame], timer: StageTimer | None
    ) -> tuple[FrameBatch, DetectionOutput, list[PreparedFrame]]:
        with _stage(timer, "prepare"):
            inputs = [self._input(frame) for frame in frames]
            prepared = [prepare(frame, self.config.student.input, self.class_names) for frame in inputs]
            self._log_notes(prepared)
            batch = collate(prepared).to(self.device)
        with _stage(timer, "network"), autocast(self.amp, self.device):
            return batch, self._network(batch), prepared

    def _input(self, frame: Frame) -> Frame:
        """The part of a frame that the network may look at."""
        if not self.needs_cloud:
            return replace(frame, points_lidar=None, points_stamp_ns=None, labels=None)
        if frame.points_lidar is None or frame.cam_T_lidar is None:
            lacking = "LiDAR cloud" if frame.points_lidar is None else "LiDAR extrinsic"
            network = type(self._network).__name__.lower()
            raise FrameError(
                f"frame {frame.name}: no {lacking}, which the {network} detects with; a student needs none"
            )
        return replace(frame, labels=None)

    def _decode(
        self, batch: FrameBatch, output: DetectionOutput, prepared: Sequence[PreparedFrame]
    ) -> list[Detections3D]:
        results = []
        for index, boxes in enumerate(self._network.decode(output)):
            results.append(
                Detections3D(
                    boxes_lidar=boxes.boxes.float().cpu().numpy(),
                    scores=boxes.scores.float().cpu().numpy(),
                    labels=boxes.labels.cpu().numpy(),
                    class_names=self.class_names,
                    covariance_lidar=self._covariance(batch, output, boxes, index),
                    cam_T_lidar=np.array(prepared[index].cam_T_lidar),
                )
            )
        return results

    def _covariance(self, batch: FrameBatch, output: DetectionOutput, boxes: DecodedBoxes, index: int) -> np.ndarray:
        """(N, 3, 3) of one frame's boxes; zero, which means unknown, for a teacher, which has no depth distribution."""
        if output.depth is None:
            return np.zeros((len(boxes), 3, 3), dtype=np.float32)
        covariance = position_covariance(
            output.depth[index],
            boxes.boxes,
            batch.img_P_cam[index],
            batch.cam_T_lidar[index],
            batch.valid_px[index],
            self.config.student.depth.build(),
            self.config.student.grid.voxel_size_m[0],
        )
        return covariance.float().cpu().numpy()

    def _log_notes(self, prepared: Sequence[PreparedFrame]) -> None:
        for frame in prepared:
            for note in frame.notes:
                if note not in self._noted:
                    self._noted.add(note)
                    logger.warning("from frame %s on: %s", frame.name, note)


def _stage(timer: StageTimer | None, name: str) -> AbstractContextManager[None]:
    return timer.stage(name) if timer else nullcontext()
