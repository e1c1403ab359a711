"""Keep freed memory in the process.

A forward pass allocates and frees tens of megabytes many times. By default glibc hands each such block back to the
kernel and gets it again page by page, zeroed; on virtual machines this can cost more than the arithmetic.
`benchmarks/allocator.py` measures it.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_KEEP_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from the heap and to keep up to 2 GiB of it when freed.

    Returns:
        Whether it took effect; False on systems without glibc, where nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES))
