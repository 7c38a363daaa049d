"""One pass under torch's profiler: which attention kernels ran, and how much memory was alive at once."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from suite.measure.clock import Run

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read at the first profile; the profiler announces itself otherwise

PREFIX = "aten::_scaled_dot_product_"
KERNELS = {
    "attention_math": "math",
    "cudnn_attention": "cudnn",
    "efficient_attention": "efficient",
    "flash_attention": "flash",
    "flash_attention_for_cpu": "flash-for-cpu",
}
SOFTMAX = "aten::softmax"


def observe(run: Run, device: torch.device) -> tuple[tuple[str, ...], int]:
    """Run a pass once under the profiler, which slows it down.

    Returns:
        The kernel of each attention in order (torch's fused ones by name, `eager` for products and a softmax of their
        own, none where a compiler made its own); and the most bytes that torch's allocator had alive at once beyond
        those from before. What libraries allocate by themselves is not seen.
    """
    events = _trace(run, memory=device.type == "cpu")
    names = [event["name"] for event in events]
    short = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
    kernels = tuple(KERNELS.get(name, name) for name in short) or ("eager",) * names.count(SOFTMAX)
    return kernels, _peak(events) if device.type == "cpu" else _peak_on_gpu(run, device)


def summary(kernels: Sequence[str]) -> str:
    """Kernels for a reader: one name if all are the same, else how many of each in a row."""
    runs = [(name, len(list(group))) for name, group in groupby(kernels)]
    if len(runs) == 1:
        return runs[0][0]
    return ", ".join(f"{count} {name}" for name, count in runs) or "generated"


def _trace(run: Run, memory: bool) -> list[dict[str, Any]]:
    """The profiler's events in the order of time."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=memory, acc_events=True
    ) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    return sorted((event for event in events if "ts" in event), key=lambda event: float(event["ts"]))


def _peak(events: Sequence[dict[str, Any]]) -> int:
    """The most bytes that were allocated on the processor at once, over those at the first allocation."""
    counts = [event["args"] for event in events if event["name"] == "[memory]" and event["args"]["Device Type"] == 0]
    totals = [int(count["Total Allocated"]) for count in counts]
    return max(totals) - (totals[0] - int(counts[0]["Bytes"])) if counts else 0


def _peak_on_gpu(run: Run, device: torch.device) -> int:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
