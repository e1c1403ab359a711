"""Time as the stamps of messages tell it, which jumps back when a bag begins anew. No ROS here."""

from __future__ import annotations

from monotakd_ros.generation.selection import CLOCK_JUMP_NS


class StampClock:
    """Follows stamps, and notices when one lies far before those that came."""

    def __init__(self) -> None:
        self._newest_ns: int | None = None

    def jump_back_s(self, stamp_ns: int) -> float:
        """Take the next stamp.

        Returns:
            How far time jumped back with it, at least `CLOCK_JUMP_NS`; 0 where it did not. Stamps a little out of order
            are no jump. After one, what came before it is forgotten.
        """
        back_ns = 0 if self._newest_ns is None else self._newest_ns - stamp_ns
        if back_ns >= CLOCK_JUMP_NS:
            self._newest_ns = stamp_ns
            return back_ns * 1e-9
        self._newest_ns = max(stamp_ns, stamp_ns + back_ns)
        return 0.0
