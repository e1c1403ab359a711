"""Closed parts of a drive into a labelled set, in a thread, with the pipeline that recordings take. No ROS here.

No part is lost when the teacher is slower than the drive: parts wait on the disk, and the next run goes on with them.
Nor when labelling fails: the part at hand waits until somebody resumes it.
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
LOOK_S = 0.2
"""How often it is asked whether to end."""


class LiveLabels:
    """Labels parts one after the other.

    Args:
        request: into which set, by whom; its sources are what is to be labelled first.
        quota: of the disk.

    Attributes:
        labelled: parts done by this run.
        trouble: why labelling stopped; empty while it goes on.
        newest: looks into the set.
    """

    def __init__(self, request: GenerationRequest, quota: DiskQuota) -> None:
        self._request = request
        self._control = GenerationControl()
        self._quota = quota
        self._waiting: queue.Queue[Path] = queue.Queue()
        self._again = threading.Event()
        for part in unlabelled(request.sources, request.out):
            self._waiting.put(part)
        self._thread = threading.Thread(target=self._run, name="label", daemon=True)
        self.labelled = 0
        self.trouble = ""
        self.newest = NewestFrame(request.out)

    @property
    def waiting(self) -> int:
        """Parts that are not begun, or to be begun again."""
        return self._waiting.qsize() + bool(self.trouble)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add(self, part: Path) -> None:
        """Have a part labelled when its turn comes."""
        self._waiting.put(part)

    def resume(self) -> None:
        """Try again what failed."""
        self.trouble = ""
        self._again.set()

    def cancel(self) -> None:
        """End after the image at hand; waits for nothing."""
        self._control.cancel()
        self._again.set()

    def close(self) -> None:
        """End after the image at hand, and wait for it."""
        self.cancel()
        if self._thread.ident:
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._control.cancelled:
            try:
                part = self._waiting.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            while not self._control.cancelled and not self._is_settled(part):
                self._again.wait()

    def _is_settled(self, part: Path) -> bool:
        """Label a part; False where that is to be tried again."""
        self.trouble = ""
        try:
            self._label(part)
        except Cancelled:
            pass
        except SourceError as error:
            logger.warning("%s: not labelled: %s", part, error)
        except MonotakdError as error:
            return self._hold(str(error))
        except Exception as error:  # a fault of ours must not end the recording
            return self._hold(repr(error), error)
        return True

    def _label(self, part: Path) -> None:
        watch = GenerationWatch(self._control, self._quota)
        result = generate(replace(self._request, sources=(part,)), local_engine(1), watch)
        for key, why in result.failed.items():
            logger.warning("%s, segment %s: not labelled: %s", part, key, why)
        self.labelled += not result.failed

    def _hold(self, why: str, unexpected: Exception | None = None) -> bool:
        self._again.clear()
        if self._control.cancelled:  # before that
            self._again.set()
        logger.error("parts wait for labels: %s; ~/resume tries again", why, exc_info=unexpected)
        self.trouble = why
        return False


def unlabelled(parts: Sequence[Path], out: Path) -> list[Path]:
    """Those of the parts that a set does not hold as a whole."""
    folder = SetFolder(out)
    begun = {segment.source for segment in folder.planned() if not folder.is_done(segment)}
    done = {source["name"] for source in folder.sources() if source["number"] not in begun}
    return [part for part in parts if part.name not in done]
