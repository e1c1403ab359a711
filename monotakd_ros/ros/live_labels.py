"""Closed parts of a drive into a labelled set, in a thread, with the pipeline that recordings take. No ROS here.

No part is lost when the teacher is slower than the drive: parts wait on the disk, and the next run goes on with them.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from monotakd_ros.errors import MonotakdError, SourceError
from monotakd_ros.generation.generate import GenerationRequest, generate
from monotakd_ros.generation.local_engine import local_engine
from monotakd_ros.generation.set_folder import SetFolder
from monotakd_ros.generation.set_frames import NewestFrame
from monotakd_ros.ros.disk_quota import DiskQuota
from monotakd_ros.ros.generation_control import Cancelled, GenerationControl, GenerationWatch

logger = logging.getLogger(__name__)

CLOSE_S = 10.0


class LiveLabels:
    """Labels parts one after the other.

    Args:
        request: into which set, by whom; its sources are what is to be labelled first.
        quota: of the disk.

    Attributes:
        labelled: parts done by this run.
        trouble: why labelling stopped; None while it goes on.
        newest: looks into the set.
    """

    def __init__(self, request: GenerationRequest, quota: DiskQuota) -> None:
        self._request = request
        self._control = GenerationControl()
        self._quota = quota
        self._waiting: queue.Queue[Path] = queue.Queue()
        for part in unlabelled(request.sources, request.out):
            self._waiting.put(part)
        self._thread = threading.Thread(target=self._run, name="label", daemon=True)
        self.labelled = 0
        self.trouble: str | None = None
        self.newest = NewestFrame(request.out)

    @property
    def waiting(self) -> int:
        """Parts that are not begun."""
        return self._waiting.qsize()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add(self, part: Path) -> None:
        """Have a part labelled when its turn comes."""
        self._waiting.put(part)

    def close(self) -> None:
        """End after the image at hand."""
        self._control.cancel()
        if self._thread.ident:
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._control.cancelled:
            try:
                part = self._waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            try:
                self._label(part)
            except Cancelled:
                return
            except SourceError as error:
                logger.warning("%s: not labelled: %s", part, error)
            except MonotakdError as error:
                self._stop(f"{error}")
                return
            except Exception as error:  # a fault of ours must not end the recording
                self._stop(repr(error))
                return

    def _label(self, part: Path) -> None:
        watch = GenerationWatch(self._control, self._quota)
        result = generate(replace(self._request, sources=(part,)), local_engine(1), watch)
        for key, why in result.failed.items():
            logger.warning("%s, segment %s: not labelled: %s", part, key, why)
        self.labelled += not result.failed

    def _stop(self, why: str) -> None:
        self.trouble = why
        logger.error("parts are not labelled any more, but recorded: %s", why, exc_info=True)


def unlabelled(parts: Sequence[Path], out: Path) -> list[Path]:
    """Those of the parts that a set does not hold as a whole."""
    folder = SetFolder(out)
    begun = {segment.source for segment in folder.planned() if not folder.is_done(segment)}
    done = {source["name"] for source in folder.sources() if source["number"] not in begun}
    return [part for part in parts if part.name not in done]
