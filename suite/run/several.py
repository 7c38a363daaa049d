"""Run one cell in several processes of this machine, which train one model together."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import tempfile
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing
from torch.distributed import FileStore  # type: ignore[attr-defined]

from suite.study.cells import Job, Result, Work
from suite.tasks.processes import joined

LOOP = "lo0" if sys.platform == "darwin" else "lo"
LOOPBACK = {"GLOO_SOCKET_IFNAME": LOOP, "NCCL_SOCKET_IFNAME": LOOP}  # as Ray, off the network
POLL = 0.2  # seconds
DONE, FAILED = "result", "traceback"  # files in a folder of their own


class ProcessFailed(RuntimeError):
    """One of several processes failed; the message is its traceback, or that it died."""


def run(work: Work, job: Job, processes: int, device: str) -> Result:
    """The result of a job that several processes of this machine do together, on cuda with a GPU each.

    All are ended when one fails, and when this process is interrupted.

    Raises:
        ProcessFailed: with the traceback of the first that failed, not of those that waited for it.
        torch.multiprocessing.ProcessExitedException: if one was killed.
    """
    steps = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        arguments = (work, replace(job, progress=ignore), processes, device, folder, steps)
        started: Any = multiprocessing.start_processes(  # type: ignore[attr-defined,no-untyped-call]
            _member, arguments, processes, join=False
        )
        try:
            _wait(started, steps, job)
        except multiprocessing.ProcessRaisedException as error:  # type: ignore[attr-defined]
            raise ProcessFailed(Path(folder, FAILED).read_text(encoding="utf-8")) from error
        finally:
            for process in started.processes:
                process.kill()
                process.join()
        if not Path(folder, DONE).is_file():
            raise ProcessFailed("a process of this training was interrupted")
        result: Result = pickle.loads(Path(folder, DONE).read_bytes())  # noqa: S301  (our own)
    return result


def _wait(started: Any, steps: Any, job: Job) -> None:
    """Until all have ended; what the first of them reports is told on."""
    ended = False
    while not ended:
        ended = started.join(POLL)
        while not steps.empty():
            job.progress(steps.get())


def _member(number: int, work: Work, job: Job, processes: int, device: str, folder: str, steps: Any) -> None:
    """Do a job as one of several processes; the first says how far it is, and leaves the result."""
    for name, value in LOOPBACK.items():
        os.environ.setdefault(name, value)
    try:
        meeting: Any = FileStore(str(Path(folder, "group")), processes)
        if device == "cuda":
            torch.cuda.set_device(number)
        with joined(meeting, number, processes, device):
            result = work(replace(job, progress=steps.put if number == 0 else ignore))
            if number == 0:
                Path(folder, DONE).write_bytes(pickle.dumps(result))
    except Exception:
        with contextlib.suppress(FileExistsError), Path(folder, FAILED).open("x", encoding="utf-8") as file:
            file.write(traceback.format_exc())
        raise


def ignore(_steps: float) -> None:
    """Say nothing."""
