"""The detector node's network: which file, which device, warm. No ROS."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from monotakd_ros.detector import Detector
from monotakd_ros.errors import CheckpointError, ConfigError
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.loading import load_detector, warm_up
from monotakd_ros.ros.settings import changed
from monotakd_ros.shipped import default_checkpoint


def test_the_shipped_weights_are_the_default() -> None:
    detector, name = load_detector(DetectorSettings())
    assert name.file == default_checkpoint().name
    assert detector.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_warming_up_notes_nothing_and_runs_one_and_all(
    tiny_checkpoint: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, _ = load_detector(changed(DetectorSettings(), {"checkpoint": str(tiny_checkpoint), "device": "cpu"}))
    sizes = []
    original = detector.detect_batch
    monkeypatch.setattr(detector, "detect_batch", lambda frames: sizes.append(len(frames)) or original(frames))
    with caplog.at_level(logging.INFO, "monotakd_ros"):
        warm_up(detector, 3)
        warm_up(Detector.from_checkpoint(default_checkpoint()), 1)
    assert sizes == [1, 3]
    assert not caplog.records


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"checkpoint": "/nowhere/none.pt"}, CheckpointError, "none.pt"),
        ({"device": "tpu"}, ConfigError, "expected 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
        ({"device": "cpu", "amp": "fp16"}, ConfigError, "fp16"),
    ],
)
def test_what_cannot_be_loaded_says_why(values: dict[str, str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_detector(changed(DetectorSettings(), values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cameras": ("front", "front")}, "each once"),
        ({"cameras": ("front", "")}, "need a name each"),
        ({"cameras": ("front",), "enabled_cameras": ("rear",)}, "expected names among"),
        ({"cameras": ("front", "/front")}, "each once"),
        ({"cameras": ("front/",)}, "expected ROS names"),
        ({"cameras": ("1cam",)}, "expected ROS names"),
        ({"cameras": ("front cam",)}, "expected ROS names"),
        ({"output_frame": "/base_link"}, "no leading slash"),
        ({"publish_merged": True}, "expected an output_frame"),
        ({"publish_merged": True, "output_frame": "base_link"}, "expected several cameras"),
        ({"class_score_thresholds": ("Car",)}, "Class:0.4"),
        ({"distance_score_thresholds": ("near:1",)}, "30:0.4"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        changed(DetectorSettings(), values)


def test_cameras_are_enabled_by_name_or_all() -> None:
    settings = changed(DetectorSettings(), {"cameras": ("front", "left")})
    assert settings.enabled == ("front", "left")
    assert changed(settings, {"enabled_cameras": ("left",)}).enabled == ("left",)
    assert changed(settings, {"enabled_cameras": ("",)}).enabled == ()
    assert DetectorSettings().enabled == ("",)
