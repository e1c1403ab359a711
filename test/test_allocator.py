import subprocess
import sys

import pytest

from monotakd_ros.allocator import keep_freed_memory

MEASURE = """
import resource, sys
from monotakd_ros.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
bytearray(64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is a Linux library")
def test_freed_memory_is_reused_without_page_faults():
    """Ten blocks of 64 MiB one after the other: by default each is faulted in anew, afterwards none is."""
    if not keep_freed_memory():
        pytest.skip("this Linux has no glibc")

    def faults(mode: str) -> int:
        command = [sys.executable, "-c", MEASURE, mode]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert faults("keep") < 100
