"""Run the checks of methods over the matrix of backbones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from suite.contract import checks, compiled
from suite.contract.backbones import MATRIX
from suite.contract.case import Broken, Case, Inapplicable
from suite.contract.kept import check_kept
from suite.contract.positions import check_positions, check_prefix
from suite.errors import describe

Status = Literal["holds", "fails", "skipped"]
LONGEST = 400  # characters of a reason; compilers talk at length

CHECKS: dict[str, Callable[[Case], None]] = {
    "parity": checks.check_parity,
    "tokens": checks.check_schedule,
    "prefix": check_prefix,
    "positions": check_positions,
    "kept": check_kept,
    "batch": checks.check_batch,
    "gradients": checks.check_gradients,
    "bf16": checks.check_bf16,
    "keys": checks.check_keys,
    "deploy": checks.check_deploy,
    "compile": compiled.check_compile,
    "inductor": compiled.check_inductor,
}
SLOW = ("compile", "inductor")
EVERY = "every backbone"
ONE_BACKBONE = ("inductor",)  # takes 10 s and more each time


@dataclass(frozen=True)
class Result:
    """How one check of one method on one backbone ended, and why."""

    method: str
    backbone: str
    check: str
    status: Status
    reason: str = ""


def judge(method: str, backbone: str, check: str) -> Result:
    """Run one check; whatever the method raises is a failure, with the exception as its reason.

    The random generator is left as it was, and starts the same for every check.
    """
    status: Status = "holds"
    reason = ""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            CHECKS[check](Case(method, backbone))
    except Inapplicable as inapplicable:
        status, reason = "skipped", str(inapplicable)
    except Broken as broken:
        status, reason = "fails", str(broken)
    except (Exception, SystemExit) as error:
        status, reason = "fails", f"it raises {describe(error)}"
    return Result(method, backbone, check, status, reason if len(reason) <= LONGEST else f"{reason[:LONGEST]} ...")


def examine(
    method: str, checks: Iterable[str] = tuple(CHECKS), backbones: Iterable[str] = tuple(MATRIX)
) -> Iterator[Result]:
    """Run checks of one method over backbones; those in `ONE_BACKBONE` on the first that does not skip them.

    A method that is skipped everywhere fails: nothing is known about it.
    """
    done: set[str] = set()
    skipped: list[Result] = []
    ran = False
    for backbone in backbones:
        for check in checks:
            if check in done:
                continue
            result = judge(method, backbone, check)
            yield result
            if result.status == "skipped":
                skipped.append(result)
            elif check in ONE_BACKBONE:
                done.add(check)
            ran = ran or result.status != "skipped"
    if not ran:
        reasons = "; ".join(dict.fromkeys(result.reason for result in skipped))
        yield Result(method, EVERY, "any", "fails", f"skipped on every backbone, so nothing was checked: {reasons}")
