"""Memory that stays with the process between two passes.

Otherwise glibc returns a pass's memory to the system and the next pass pays thousands of page faults, a reduced model
more of them than the unpruned one or less, by chance. On a CPU that alone decides ratios of a few percent.
"""

from __future__ import annotations

import ctypes

# What glibc reads when a process starts.
ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",  # no tensor gets pages of its own: glibc would return them at once
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_ARENA_MAX": "1",  # a thread's own arena would ignore both
}
MALLOPT = {-4: 0, -1: -1, -8: 1}  # the same for a running process: mmap_max, trim_threshold (-1 is never), arena_max


def keep_memory() -> str:
    """Tell the running process's allocator to keep what it has; returns what was done, for the record."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another system, or another C library
        return "as the system has it: not glibc"
    refused = [number for number, value in MALLOPT.items() if not mallopt(number, value)]
    return f"as the system has it: glibc refused {refused}" if refused else "glibc, which keeps freed memory"


def give_back() -> None:
    """Return to the system what `keep_memory` has kept; for when no pass will want it again."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # nothing was kept there
        return
