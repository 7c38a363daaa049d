"""What is said alike in the identity of every cell: the version of the protocol, and how and on what speed is timed."""

from __future__ import annotations

from typing import Any

from suite.measure.timing_options import TimingOptions

PROTOCOL = 1  # raise it when something else is trained, evaluated or timed than before


def timing_identity(options: TimingOptions, device_name: str) -> dict[str, Any]:
    """How, and on what, a speed cell is timed.

    The device is known by its name, not only its type, because it decides the ratios: with another processor or GPU,
    the cell is another one and is timed again. An empty name leaves open which device of its type will be found.
    """
    where = {"device", "precision"}
    how = options.model_dump(mode="json", exclude=where) | {"batch_size": options.batch}
    shared = {"kind": "speed", "protocol": PROTOCOL, "threads": options.threads, "device_name": device_name}
    return shared | options.model_dump(mode="json", include=where) | {"speed": how}
