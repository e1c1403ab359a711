"""Which array belongs to which frame: the nearest in time, one to one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def match_stamps(a_ns: Sequence[int], b_ns: Sequence[int], tolerance_ns: int) -> list[tuple[int, int]]:
    """Pairs of indices (i, j) whose stamps differ by at most `tolerance_ns`, i rising.

    The nearest pair of all is taken first, then the nearest of what is left, and so on; of equally near ones, the
    earliest. Each index comes once at most.

    Args:
        a_ns: rising stamps.
        b_ns: rising stamps.
        tolerance_ns: inclusive.
    """
    a, b = np.asarray(a_ns, dtype=np.int64), np.asarray(b_ns, dtype=np.int64)
    first = np.searchsorted(b, a - tolerance_ns, side="left")
    last = np.searchsorted(b, a + tolerance_ns, side="right")
    near = [(abs(int(b[j] - a[i])), i, j) for i in range(len(a)) for j in range(first[i], last[i])]
    taken_a: set[int] = set()
    pairs: dict[int, int] = {}
    for _, i, j in sorted(near):
        if i not in taken_a and j not in pairs:
            taken_a.add(i)
            pairs[j] = i
    return sorted((i, j) for j, i in pairs.items())
