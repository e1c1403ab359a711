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
from monotakd_ros.ros.job_maker import STALE_HINT
from monotakd_ros.ros.live_camera import LiveCamera
from monotakd_ros.ros.live_detector import LiveDetector
from monotakd_ros.ros.tally import outcome_names

OLD_IMAGE_MS = 5000.0
"""Images this old are no live camera's."""
EARLY_MS = 1000.0
"""Clocks of two machines that are kept together differ less."""
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
    if not live.clock_runs:
        return Health("detector", WARN, "use_sim_time is on, but nothing comes on /clock: ages are not known", values)
    if live.failures_in_a_row >= FAILING:
        return Health("detector", ERROR, f"the network failed {live.failures_in_a_row} times in a row", values)
    return Health("detector", OK, state, values)


def _camera_health(camera: LiveCamera, state: str, settings: DetectorSettings) -> Health:
    tally = camera.tally
    values: dict[str, Any] = {
        "image topic": camera.input.image_topic,
        "images Hz": tally.rate_hz("received"),
        "boxes Hz": tally.rate_hz("published"),
        **outcome_names(tally.counts()),
        "beyond training": "; ".join(camera.notes) or "no",
        **{f"{name} ms": value for name, value in tally.latency_ms().items()},
    }
    level, message = _camera_state(camera, state, settings, values.get("transport p50 ms", 0.0))
    return Health(camera.title, level, message, values)


def _camera_state(camera: LiveCamera, state: str, settings: DetectorSettings, transport_ms: float) -> tuple[bytes, str]:
    tally = camera.tally
    if state != "active":
        return OK, f"{state}: not listening"
    if not camera.input.is_listening:
        return OK, "disabled"
    problem = tally.problem(PROBLEM_S)
    if (silent_s := tally.silent_s()) > settings.no_image_warn_s:
        where = f"on {camera.input.image_topic}, {camera.input.publishers_seen()} publishers"
        seen = tally.seconds_since("received") is not None
        return ERROR, problem or (f"no image for {silent_s:.1f} s {where}" if seen else f"no image so far {where}")
    if problem is not None:
        idle_s = tally.seconds_since("published")
        return (ERROR if idle_s is None or idle_s > settings.no_image_warn_s else WARN), problem
    if (unanswered_s := tally.unanswered_s()) > max(settings.no_image_warn_s, HANGING_S):
        return ERROR, f"images come, but no boxes went out for {unanswered_s:.0f} s: the network hangs or is too slow"
    if transport_ms > OLD_IMAGE_MS:
        return WARN, f"images are {transport_ms / 1e3:.0f} s old when they arrive: {STALE_HINT}"
    if transport_ms < -EARLY_MS:
        return WARN, f"images are stamped {-transport_ms / 1e3:.0f} s ahead of this machine's clock"
    return OK, "detecting"


def _resident_mib() -> float:
    """Memory of this process now; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
