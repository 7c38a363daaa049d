"""Run one cell in several processes on the nodes of a Ray cluster of which none has room for all of them.

Each process is an actor with a place of its own in the placement group that Tune reserved for the cell. They meet as
those of one machine do (`several.py`), in a store that the process which Tune started for the cell keeps.
"""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import psutil
import ray
from ray.exceptions import RayActorError, RayError
from ray.util import get_current_placement_group, get_node_ip_address
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from suite.run.several import ProcessFailed, ignore
from suite.study.cells import Cell, Job, Result, Work
from suite.tasks.processes import joined

QUIET = "quiet"  # one per machine: a speed cell takes all of it, everybody else a thousandth
POLL, LAST_WORDS = 0.2, 10.0  # seconds: between two looks; in which it must be known which process died
STEPS, FAILED = "steps", "traceback"  # keys in the store
Node = Mapping[str, float]
Bundle = dict[str, float]


def bundles(cell: Cell, nodes: Sequence[Node]) -> list[Bundle]:
    """What a cell needs of a cluster: of one node, or, if none has room for all its processes, of as many as it takes.

    Then the first bundle, of the process that starts the others, is empty.
    """
    quiet: Bundle = {QUIET: 1 if cell.alone else 0.001}
    if cell.processes == 1 or any(_room(node, cell) >= cell.processes for node in nodes):
        return [{"CPU": cell.cores} | quiet | ({"GPU": cell.gpus} if cell.gpus else {})]
    return [{}, *[{"CPU": cell.threads} | quiet | ({"GPU": 1} if cell.gpus else {})] * cell.processes]


def without_room(cells: Sequence[Cell], nodes: Sequence[Node]) -> str:
    """Why a cluster cannot run one of these cells; empty if it can run each."""
    for cell in cells:
        found = sum(_room(node, cell) for node in nodes)
        if found < cell.processes:
            each = f"processors: {cell.threads}" + (" and GPUs: 1" if cell.gpus else "")
            return (
                f"a cell of this study needs processes: {cell.processes}, each on one node with {each}; the nodes of "
                f"the Ray cluster have room for {found}: add nodes, or lower threads or processes"
            )
    return ""


def _room(node: Node, cell: Cell) -> int:
    """Processes of a cell that a node can run at a time."""
    room = int(node.get("CPU", 0) // cell.threads)
    return min(room, int(node.get("GPU", 0))) if cell.gpus else room


def run(work: Work, needs: Sequence[Bundle], job: Job) -> Result:
    """The result of a job that one process for each of these needs does, in the current placement group.

    All are ended when one fails, and by Ray when this process ends.

    Raises:
        ProcessFailed: with the traceback of the first that failed, or which one died.
    """
    store = _store()
    members = [_member(number, need) for number, need in enumerate(needs)]
    silent, meeting = replace(job, progress=ignore), (store.host, store.port)
    try:
        ends = [
            member.work.remote(work, silent, number, len(members), meeting) for number, member in enumerate(members)
        ]
        return _wait(ends, store, job)
    finally:
        for member in members:
            ray.kill(member)


def _store() -> TCPStore:
    """What processes meet in, at the address of this node that Ray knows, and at no other."""
    host = get_node_ip_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, 0), family=family)
    port = listening.getsockname()[1]
    return TCPStore(host, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach())


def _member(number: int, need: Bundle) -> Any:
    reserved: Any = get_current_placement_group()
    place = PlacementGroupSchedulingStrategy(reserved, placement_group_bundle_index=number)
    own = {"num_cpus": need["CPU"], "num_gpus": need.get("GPU", 0), "resources": {QUIET: need[QUIET]}}
    return ray.remote(Member).options(scheduling_strategy=place, **own).remote()


class Member:
    """One of several processes, on whatever node it is."""

    def work(self, work: Work, job: Job, number: int, processes: int, meeting: tuple[str, int]) -> Result | None:
        """Do a job as one of several; the first says how far it is, and has the result."""
        _use_interface_of_ray()
        store = TCPStore(*meeting, is_master=False)
        progress = (lambda steps: store.set(STEPS, str(steps))) if number == 0 else ignore
        try:
            with joined(store, number, processes, job.identity["device"]):
                result = work(replace(job, progress=progress))
        except Exception:
            store.compare_set(FAILED, "", traceback.format_exc())  # of the first that failed
            raise
        return result if number == 0 else None


def _use_interface_of_ray() -> None:
    """Names of hosts, by which gloo would look for one, often lead to loopback."""
    own = get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if own in {address.address for address in addresses}:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", name)


def _wait(ends: Sequence[Any], store: Store, job: Job) -> Result:
    """Until all have ended; what the first of them reports is told on."""
    left, told = list(ends), b""
    while left:
        over, left = ray.wait(left, timeout=POLL)
        if store.check([STEPS]) and (steps := store.get(STEPS)) != told:
            job.progress(int(steps))
            told = steps
        try:
            ray.get(over)
        except RayError as error:
            raise ProcessFailed(_reason(ends, store, error)) from None
    result: Result = ray.get(ends[0])
    return result


def _reason(ends: Sequence[Any], store: Store, error: RayError) -> str:
    """What ended a training: one that died, else what the first that failed says, not those that waited for it."""
    over, _ = ray.wait(list(ends), num_returns=len(ends), timeout=LAST_WORDS)
    for end in over:
        try:
            ray.get(end)
        except RayActorError:
            number = ends.index(end) + 1
            return f"process {number} of {len(ends)} of this training died (out of memory, or killed)"
        except RayError:
            continue
    return store.get(FAILED).decode() if store.check([FAILED]) else str(error)
