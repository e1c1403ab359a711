"""The detector node's diagnostics: what it is doing, and how each camera fares."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import torch

from monotakd_ros.provenance import device_name
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.diagnostics import ERROR, OK, STALE, WARN, Health
from monotakd_ros.ros.live_camera import LiveCamera
from monotakd_ros.ros.live_detector import STALE_HINT, LiveDetector
from monotakd_ros.ros.tally import outcome_names

OLD_IMAGE_MS = 5000.0
"""Images this old are no live camera's."""
PROBLEM_S = 10.0
"""How long a problem stays visible."""
HANGING_S = 5.0
"""A network that takes longer for one image is no live detector."""
FAILING = 10
"""After so many failures of the network in a row, it is an error and no accident."""


def detector_health(
    live: LiveDetector | None, state: str, failure: str | None, settings: DetectorSettings
) -> list[Health]:
    """The node, then each camera; arguments as the node holds them."""
    if live is None:
        level = ERROR if failure else STALE
        return [Health("detector", level, failure or state, {"state": state})]
    cameras = [_camera_health(camera, state, settings) for camera in live.cameras.values()]
    return [_detector_health(live, state, failure), *cameras]


def _detector_health(live: LiveDetector, state: str, failure: str | None) -> Health:
    values: dict[str, Any] = {
        "state": state,
        "checkpoint": live.checkpoint.file,
        "sha256": live.checkpoint.sha256[:12],
        "config": live.detector.config.name,
        "classes": ", ".join(live.detector.class_names),
        "device": device_name(live.detector.device),
        "half precision": live.detector.amp,
        "image decoder": live.decoder_name,
        "memory MiB": _resident_mib(),
    }
    if live.detector.device.type == "cuda":
        values["CUDA memory MiB"] = torch.cuda.memory_allocated(live.detector.device) / 2**20
    if failure is not None:
        return Health("detector", ERROR, failure, values)
    if live.failures_in_a_row >= FAILING:
        return Health("detector", ERROR, f"the network failed {live.failures_in_a_row} times in a row", values)
    return Health("detector", OK, state, values)


def _camera_health(camera: LiveCamera, state: str, settings: DetectorSettings) -> Health:
    tally = camera.tally
    values: dict[str, Any] = {
        "image topic": camera.image_topic,
        "images Hz": tally.rate_hz("received"),
        "boxes Hz": tally.rate_hz("published"),
        **outcome_names(tally.counts()),
        "beyond training": "; ".join(camera.notes) or "no",
        **{f"{name} ms": value for name, value in tally.latency_ms().items()},
    }
    level, message = _camera_state(camera, state, settings, values.get("transport p50 ms", 0.0))
    return Health(camera.title, level, message, values)


def _camera_state(camera: LiveCamera, state: str, settings: DetectorSettings, transport_ms: float) -> tuple[bytes, str]:
    if state != "active":
        return OK, f"{state}: not listening"
    if not camera.is_listening:
        return OK, "disabled"
    silent_s = camera.tally.seconds_since("received")
    if silent_s is None or silent_s > settings.no_image_warn_s:
        since = "no image so far" if silent_s is None else f"no image for {silent_s:.1f} s"
        reason = camera.tally.problem(PROBLEM_S)
        return ERROR, reason or f"{since} on {camera.image_topic}, {camera.publishers_seen()} publishers"
    if (problem := camera.tally.problem(PROBLEM_S)) is not None:
        idle_s = camera.tally.seconds_since("published")
        return (ERROR if idle_s is None or idle_s > settings.no_image_warn_s else WARN), problem
    if (unanswered_s := camera.tally.unanswered_s()) > max(settings.no_image_warn_s, HANGING_S):
        return (
            ERROR,
            f"images come, but for {unanswered_s:.0f} s no boxes went out: the network hangs or is far too slow",
        )
    if transport_ms > OLD_IMAGE_MS:
        return WARN, f"images are {transport_ms / 1e3:.0f} s old when they arrive: {STALE_HINT}"
    return OK, "detecting"


def _resident_mib() -> float:
    """Memory of this process now; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
