"""Recordings into a set, in a thread: `monotakd generate`'s pipeline under a node's control. No ROS here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from monotakd_ros.errors import MonotakdError
from monotakd_ros.frame import BoxedFrame
from monotakd_ros.generation.generate import Engine, GenerationRequest, GenerationResult, Watcher, generate
from monotakd_ros.generation.local_engine import local_engine
from monotakd_ros.generation.set_frames import NewestFrame
from monotakd_ros.ros.disk_quota import DiskQuota
from monotakd_ros.ros.generation_control import Cancelled, GenerationControl, GenerationWatch
from monotakd_ros.ros.run_status import RunStatus

logger = logging.getLogger(__name__)

CLOSE_S = 10.0
"""How long a stop waits for the step at hand: an image, or a recording's checksum. What it leaves is made again."""
Generate = Callable[[GenerationRequest, Engine, Watcher], GenerationResult]


class RecordingsRun:
    """A `Run` that makes a set.

    Args:
        request: what to make.
        jobs: processes that work at once.
        quota: of the set's folder.
        work: what does it.
    """

    def __init__(self, request: GenerationRequest, jobs: int, quota: DiskQuota, work: Generate = generate) -> None:
        self._request, self._jobs, self._quota, self._work = request, jobs, quota, work
        self._control = GenerationControl()
        self._watch = GenerationWatch(self._control, quota)
        self._newest = NewestFrame(request.out)
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
        self._end: RunStatus | None = None

    def start(self) -> None:
        """See `Run`."""
        self._thread.start()

    def pause(self) -> str:
        """See `Run`."""
        self._control.pause()
        what = "after the image at hand" if self._jobs == 1 else "after the segments at hand"
        return f"pauses {what}"

    def resume(self) -> str:
        """See `Run`."""
        self._control.resume()
        return "goes on"

    def cancel(self) -> str:
        """See `Run`."""
        self._control.cancel()
        return "ends; what is done is kept: the same parameters go on with it"

    @property
    def cancelled(self) -> bool:
        """See `Run`."""
        return self._control.cancelled

    def status(self) -> RunStatus:
        """See `Run`."""
        end = self._end
        if end is not None:
            return end
        values = self._values()
        if self.cancelled:
            return RunStatus("warn", "cancelled: ends", self._watch.share_done, values)
        if self._control.paused:
            state = "paused" if self._control.holds else "pauses"
            return RunStatus("warn", state, self._watch.share_done, values)
        if self._watch.total is None:
            what = f"reading {self._watch.reading}" if self._watch.reading else "loading the networks"
            return RunStatus("ok", what, 0.0, values)
        return RunStatus("ok", "generating", self._watch.share_done, values)

    def preview(self) -> BoxedFrame | None:
        """See `Run`."""
        return self._newest.read()

    def close(self) -> None:
        """See `Run`."""
        if not self._thread.ident:
            return
        if self._end is None:
            self.cancel()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            logger.warning("stopped in the middle of a step; it is done again when generating goes on")

    def _run(self) -> None:
        try:
            result = self._work(self._request, local_engine(self._jobs), self._watch)
            self._finish(_verdict(result, self._request))
        except Cancelled:
            logger.info("cancelled: %s keeps what is done; the same parameters go on with it", self._request.out)
            self._finish(RunStatus("warn", "cancelled; what is done is kept", exit_code=0))
        except MonotakdError as error:
            logger.error("%s", error)
            self._finish(RunStatus("error", f"failed: {error}", exit_code=1))
        except Exception as error:  # a fault of ours must not leave a node that seems to work
            logger.exception("generating failed: %r", error)
            self._finish(RunStatus("error", f"failed: {error!r}", exit_code=1))

    def _finish(self, end: RunStatus) -> None:
        share_done = 1.0 if end.exit_code == 0 and end.level == "ok" else self._watch.share_done
        self._end = RunStatus(end.level, end.message, share_done, {**self._values(), **end.values}, end.exit_code)

    def _values(self) -> dict[str, object]:
        watch, left_s = self._watch, self._watch.left_s
        return {
            "images": watch.done,
            "images to look at": "" if watch.total is None else watch.total,
            "images per second": watch.images_per_s,
            "seconds left": "" if left_s is None else round(left_s),
            "free GiB": self._quota.free_gib,
            "out": self._request.out,
        }


def _verdict(result: GenerationResult, request: GenerationRequest) -> RunStatus:
    """How a run that came to its end went; also logged."""
    for name, why in result.broken.items():
        logger.warning("%s cannot be read to its end: %s", name, why)
    for key, why in result.failed.items():
        logger.error("segment %s: %s", key, why)
    values = {"segments done": result.segments_done, "segments done before": result.segments_kept}
    if result.manifest is None:
        why = next(iter(result.failed.values()), "the set has more recordings: name them all")
        return RunStatus("error", f"not finished: {why}", values=values, exit_code=1)
    manifest = result.manifest
    values |= {"frames": manifest["frames"]}
    values |= {f"left out: {reason}": count for reason, count in manifest["skipped"].items()}
    values |= {f"boxes: {kind}": count for kind, count in manifest["boxes"].items()}
    if not manifest["frames"]:
        return RunStatus("error", "done, but no frame was kept", values=values, exit_code=1)
    logger.info("done: %d frames in %s; train with --data %s", manifest["frames"], request.out, request.out)
    return RunStatus("ok", f"done: {manifest['frames']} frames", values=values, exit_code=0)
