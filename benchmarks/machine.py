"""How fast the machine is at this moment. Where its cores are shared with others that changes by a factor of two."""

from __future__ import annotations

import os
import subprocess
import sys

LOOPS = 4_000_000
_SPIN = """
import time
begun = time.perf_counter()
for _ in range({loops}): pass
print({loops} / (time.perf_counter() - begun))
"""


def loops_per_s(loops: int = LOOPS) -> float:
    """Turns of an empty Python loop a second on all cores together, all of them busy at once, in millions."""
    command = [sys.executable, "-c", _SPIN.format(loops=loops)]
    spinning = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) for _ in range(os.cpu_count() or 1)
    ]
    return sum(float(one.communicate()[0]) for one in spinning) / 1e6
