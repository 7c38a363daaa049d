"""What systems do not have in common."""

from __future__ import annotations

import os


def cores() -> int:
    """Processor cores that this process may use; where a system does not say which (macOS), those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
