"""Run one cell in several processes of this machine, which train one model together."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as group
from torch import multiprocessing

from suite.study.cells import Job, Result, Work

LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}
POLL = 0.2  # seconds


def run(work: Work, job: Job, processes: int, device: str) -> Result:
    """The result of a job that several processes of this machine do together, on cuda with a GPU each.

    Raises:
        torch.multiprocessing.ProcessRaisedException: with the traceback of the first that failed; the others are ended.
    """
    steps = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        told = job.progress
        arguments = (work, replace(job, progress=_ignore), processes, device, folder, steps)
        started: Any = multiprocessing.start_processes(  # type: ignore[attr-defined,no-untyped-call]
            _member, arguments, processes, join=False
        )
        ended = False
        while not ended:
            ended = started.join(POLL)
            while not steps.empty():
                told(steps.get())
        result: Result = pickle.loads(Path(folder, "result").read_bytes())  # noqa: S301  (our own)
    return result


def _member(number: int, work: Work, job: Job, processes: int, device: str, folder: str, steps: Any) -> None:
    """Do a job as one of several processes; the first says how far it is, and leaves the result."""
    for name, value in LOOPBACK.items():
        os.environ.setdefault(name, value)
    if device == "cuda":
        torch.cuda.set_device(number)
    meeting = group.FileStore(  # type: ignore[attr-defined]
        str(Path(folder, "group")), processes
    )
    group.init_process_group("nccl" if device == "cuda" else "gloo", store=meeting, rank=number, world_size=processes)
    result = work(replace(job, progress=steps.put if number == 0 else _ignore))
    if number == 0:
        Path(folder, "result").write_bytes(pickle.dumps(result))
    group.barrier()
    group.destroy_process_group()


def _ignore(_steps: int) -> None:
    """Say nothing."""
