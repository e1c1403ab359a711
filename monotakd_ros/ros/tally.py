"""What a live camera counts and times, for diagnostics. Written by the worker and the callbacks, read by the timer."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Outcome = Literal[
    "received",
    "published",
    "replaced",
    "stale",
    "no_camera_info",
    "bad",
    "no_transform",
    "failed",
    "unsent",
    "split",
    "calibrations",
    "resets",
]
"""received: images that arrived; published: whose boxes went out; replaced: a newer one came first; stale: older than
max_image_age_s; no_camera_info: came before any; bad: damaged, of an unknown encoding, or not as CameraInfo says;
no_transform: tf did not know; failed: the network gave an error (CUDA out of memory, ...); unsent: boxes could not be
published; split: tried alone, because all cameras' images together failed; calibrations: how often CameraInfo changed;
resets: how often time jumped."""

STAGES = ("transport", "queue", "decode", "infer", "publish", "total")
"""Image stamp to callback, to worker, to frame, to boxes, to messages sent; and all of it."""
KEPT = 300
RATE_OVER_S = 5.0
LATELY_S = 1.0
"""A camera that sent nothing for so long is not waited for."""
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Timing:
    """Seconds of one image; see `STAGES`."""

    transport: float
    queue: float
    decode: float
    infer: float
    publish: float

    @property
    def total(self) -> float:
        return self.transport + self.queue + self.decode + self.infer + self.publish


class CameraTally:
    """Counts outcomes, and keeps the latest times and problems of one camera."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Outcome] = Counter()
        self._timings: deque[Timing] = deque(maxlen=KEPT)
        self._moments: dict[Outcome, deque[float]] = {
            "received": deque(maxlen=KEPT),
            "published": deque(maxlen=KEPT),
        }
        self._problem: tuple[float, str] | None = None
        self._unanswered_since: float | None = None
        self._began = time.monotonic()

    def begin(self) -> None:
        """The camera is listened to from now on: silence before does not count."""
        with self._lock:
            self._began = time.monotonic()
            self._unanswered_since = None

    def silent_s(self) -> float:
        """Since the last image, or since it is listened to."""
        with self._lock:
            moments = self._moments["received"]
            return time.monotonic() - max([self._began, *list(moments)[-1:]])

    def sent_lately(self) -> bool:
        """Whether an image came a moment ago."""
        since_s = self.seconds_since("received")
        return since_s is not None and since_s < LATELY_S

    def count(self, outcome: Outcome, problem: str | None = None) -> None:
        """Count one; `problem` is what to tell of it."""
        now = time.monotonic()
        with self._lock:
            self._counts[outcome] += 1
            if outcome in self._moments:
                self._moments[outcome].append(now)
            if outcome == "published":
                self._unanswered_since = None
            elif outcome == "received" and self._unanswered_since is None:
                self._unanswered_since = now
        if problem is not None:
            self.note(problem)

    def note(self, problem: str) -> None:
        """Keep a problem without counting."""
        with self._lock:
            self._problem = time.monotonic(), problem

    def published(self, timing: Timing) -> None:
        """Count an image whose boxes went out."""
        with self._lock:
            self._timings.append(timing)
        self.count("published")

    def counts(self) -> dict[Outcome, int]:
        """So far, of those that happened."""
        with self._lock:
            return dict(self._counts)

    def rate_hz(self, outcome: Outcome) -> float:
        """Of "received" or "published", over the last seconds; 0 when there were fewer than two."""
        with self._lock:
            moments = [moment for moment in self._moments[outcome] if moment > time.monotonic() - RATE_OVER_S]
        if len(moments) < 2 or moments[-1] == moments[0]:
            return 0.0
        return (len(moments) - 1) / (moments[-1] - moments[0])

    def seconds_since(self, outcome: Outcome) -> float | None:
        """Since the last "received" or "published"; None when there was none."""
        with self._lock:
            moments = self._moments[outcome]
            return time.monotonic() - moments[-1] if moments else None

    def unanswered_s(self) -> float:
        """For how long images have come without boxes going out; 0 when none waits."""
        with self._lock:
            return 0.0 if self._unanswered_since is None else time.monotonic() - self._unanswered_since

    def problem(self, within_s: float) -> str | None:
        """The last problem, if it was so recently."""
        with self._lock:
            recent = self._problem is not None and time.monotonic() - self._problem[0] <= within_s
            return self._problem[1] if recent and self._problem is not None else None

    def latency_ms(self) -> dict[str, float]:
        """Percentiles of every stage over the latest images, e.g. "total p95"; empty before the first."""
        with self._lock:
            timings = list(self._timings)
        if not timings:
            return {}
        figures = {}
        for stage in STAGES:
            values = np.percentile([1e3 * getattr(timing, stage) for timing in timings], PERCENTILES)
            figures |= {f"{stage} p{percent}": float(value) for percent, value in zip(PERCENTILES, values)}
        return figures

    def interval_s(self) -> float | None:
        """Usual time from one publication to the next; None before the second."""
        with self._lock:
            moments = list(self._moments["published"])[-20:]
        return float(np.median(np.diff(moments))) if len(moments) >= 2 else None


def outcome_names(counts: Mapping[Outcome, int]) -> dict[str, int]:
    """Counts for people: all outcomes, in order."""
    return {name.replace("_", " "): counts.get(name, 0) for name in Outcome.__args__}  # type: ignore[attr-defined]
