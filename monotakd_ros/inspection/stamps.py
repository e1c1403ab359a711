"""When the messages of a topic were recorded and stamped: kept small, and what is odd about it.

Bag times come in order, as readers give them; a clock that was set shows as a jump of the header stamps against them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

GAP_FACTOR = 1.9
"""A step longer than this many median periods is a gap: a message is missing."""
JUMP_NS = 500_000_000
"""Header stamps and bag times that drift apart by this much from one message to the next: a clock was set."""
MAX_LISTED = 5


class StampLog:
    """Bag time and header stamp of each message, 16 bytes a message."""

    def __init__(self) -> None:
        self._log_ns = array("q")
        self._header_ns = array("q")
        self._breaks = array("q")
        self.without_stamp = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._log_ns)

    def add(self, log_ns: int, header_ns: int | None, size: int) -> None:
        """Add a message of `size` bytes; without a header stamp (None or 0) its bag time counts."""
        self.without_stamp += header_ns == 0
        self._log_ns.append(log_ns)
        self._header_ns.append(header_ns or log_ns)
        self.bytes += size

    def begin_span(self) -> None:
        """What follows was not recorded right after what came before."""
        self._breaks.append(len(self))

    @property
    def log_ns(self) -> np.ndarray:
        """(N,) int64 bag times."""
        return np.array(self._log_ns, dtype=np.int64)

    @property
    def header_ns(self) -> np.ndarray:
        """(N,) int64 header stamps."""
        return np.array(self._header_ns, dtype=np.int64)

    def steps(self) -> np.ndarray:
        """(M,) indices of messages whose predecessor was read too."""
        following = np.ones(len(self), dtype=bool)
        following[:1] = False
        breaks = np.array(self._breaks, dtype=np.int64)
        following[breaks[breaks < len(self)]] = False
        return np.flatnonzero(following)


@dataclass(frozen=True)
class Gap:
    """A time without messages: from `at_s` after the bag's start, `length_s` long."""

    at_s: float
    length_s: float


@dataclass(frozen=True)
class TopicTiming:
    """What a topic's stamps say.

    Attributes:
        read: messages that were looked at.
        mean_bytes: of a message.
        median_period_ms: None with fewer than three messages.
        rate_hz: of the median period.
        gaps: number of steps longer than `GAP_FACTOR` periods.
        longest_gaps: the longest, at most `MAX_LISTED`.
        duplicates: messages with their predecessor's header stamp.
        backward: messages with an earlier header stamp than their predecessor's.
        without_stamp: messages whose header stamp is 0.
        delay_ms: bag time less header stamp: median and 95th percentile; None where messages have no header.
        clock_jumps: where bag time and header stamps jump against each other, s after the bag's start.
    """

    read: int
    mean_bytes: int
    median_period_ms: float | None
    rate_hz: float | None
    gaps: int
    longest_gaps: tuple[Gap, ...]
    duplicates: int
    backward: int
    without_stamp: int
    delay_ms: tuple[float, float] | None
    clock_jumps: tuple[float, ...]


def timing(log: StampLog, has_header: bool, start_ns: int) -> TopicTiming:
    """Summarise a topic.

    Args:
        log: its stamps.
        has_header: whether the stamps are the messages' own.
        start_ns: bag time of the bag's start.
    """
    header, bag = log.header_ns, log.log_ns
    ends = log.steps()
    step, bag_step = header[ends] - header[ends - 1], bag[ends] - bag[ends - 1]
    ahead = step[step > 0]
    period = float(np.median(ahead)) if len(ahead) >= 2 else None
    is_gap = step > GAP_FACTOR * period if period else np.zeros(len(step), dtype=bool)
    longest = [i for i in np.argsort(-step, kind="stable")[:MAX_LISTED] if is_gap[i]]
    jumps = ends[np.abs(step - bag_step) > JUMP_NS]
    delay = (bag - header) / 1e6
    return TopicTiming(
        read=len(log),
        mean_bytes=log.bytes // max(len(log), 1),
        median_period_ms=None if period is None else period / 1e6,
        rate_hz=None if period is None else 1e9 / period,
        gaps=int(is_gap.sum()),
        longest_gaps=tuple(Gap((bag[ends[i] - 1] - start_ns) / 1e9, step[i] / 1e9) for i in longest),
        duplicates=int((step == 0).sum()) if has_header else 0,
        backward=int((step < 0).sum()),
        without_stamp=log.without_stamp,
        delay_ms=(float(np.median(delay)), float(np.percentile(delay, 95))) if has_header and len(delay) else None,
        clock_jumps=tuple(float((bag[i] - start_ns) / 1e9) for i in jumps[:MAX_LISTED]),
    )
