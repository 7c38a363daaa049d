"""Limits on processor time are of the machine they were set on: an older one, or a busy one, takes longer for all."""

import time

COUNT = 1_000_000
USUAL = 0.075  # seconds that so many take there, alone


def slowness() -> float:
    """How many times longer plain Python takes here and now; 1 at the least."""
    start = time.process_time()
    for number in range(COUNT):
        str(number).encode()
    return max(1.0, (time.process_time() - start) / USUAL)
