"""With which instruction sets torch computes: those that the machine has, or fixed ones, so that machines agree.

The same code and seed give other bits on another processor, because torch, MKL and oneDNN choose kernels by what it can
do. `portable` asks all three for AVX2; MKL follows that on Intel's processors only, elsewhere it keeps its own choice
(`mkl_branch`). `compatible` asks for the lowest, which MKL follows everywhere
(https://www.intel.com/content/www/us/en/docs/onemkl/developer-guide-linux/2024-2/instruction-set-specific-dispatch.html).
Whether two machines then agree is known of those alone that were compared. numpy's dispatch is left alone: the pixels
of the data sets were equal with and without it.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from suite.errors import UserError

Numerics = Literal["native", "portable", "compatible"]
FIXED = {"MKL_DYNAMIC": "FALSE", "MKL_ENABLE_INSTRUCTIONS": ""}
ENVIRONMENT: dict[str, dict[str, str]] = {  # read when torch, MKL and oneDNN are loaded
    "native": {},
    "portable": FIXED | {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2,STRICT", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "compatible": FIXED | {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}
CAPABILITY = {"portable": "AVX2", "compatible": "DEFAULT"}  # as torch calls it
BRANCHES = {1: "off", 2: "auto", 3: "compatible", 9: "avx", 10: "avx2", 12: "avx512", 14: "avx512-e1"}  # mkl_types.h
BRANCH = {"portable": {"avx2", "unknown"}, "compatible": {"compatible", "unknown"}}  # elsewhere than on Intel also auto
NOT_KNOWN = "not known on this system"
BEFORE = "CROPR_SUITE_ENVIRONMENT_BEFORE"  # what `enter` has changed, as JSON; empty after `leave`


def check(level: Numerics) -> None:
    """Refuse to compute otherwise than asked.

    Raises:
        UserError: naming what was asked and what was found.
    """
    asked = ENVIRONMENT[level]
    wrong = [
        f"{name} is {os.environ.get(name, 'not set')}" for name in asked if os.environ.get(name, "") != asked[name]
    ]
    found = facts()
    if level in CAPABILITY and found["torch_capability"] != CAPABILITY[level]:
        wrong.append(f"torch computes with {found['torch_capability']}, not {CAPABILITY[level]}")
    ignored = level == "portable" and "GenuineIntel" not in found.get("processor_id", "")
    if level in BRANCH and found["mkl_branch"] not in BRANCH[level] | ({"auto"} if ignored else set()):
        wrong.append(f"the branch of MKL is {found['mkl_branch']!r}, not that of {asked['MKL_CBWR']}")
    if wrong:
        raise UserError(
            f"numerics: {level} is not what this process has ({'; '.join(wrong)}); run on an x86-64 processor with "
            "AVX2 and a torch built with MKL, or take `numerics: native`"
        )


def missing(level: Numerics) -> str:
    """Why this machine cannot compute so, as far as it shows without torch; empty if nothing speaks against it."""
    if level == "native" or (platform.machine() == "x86_64" and "avx2" in _cpuinfo()):
        return ""
    return (
        f"numerics: {level} needs an x86-64 processor with AVX2, and this is {platform.machine()}; take "
        "--set numerics=native, whose results are a record of their own"
    )


def facts() -> dict[str, Any]:
    """What decides how torch rounds in this process: libraries, their instruction sets, the processor's caches."""
    import torch

    built = torch.__config__.show()
    return {
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "mkl": _after(r"Math Kernel Library Version (\S+?)-", built),
        "mkl_branch": _mkl_branch(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"),
        "onednn": _after(r"MKL-DNN v(\S+)", built),
        "environment": {name: os.environ[name] for name in sorted(ENVIRONMENT["portable"]) if name in os.environ},
        "threads": torch.get_num_threads(),
        **processor(),
    }


def processor() -> dict[str, str]:
    """Maker, family, model and stepping of the processor, and the sizes of its caches, where the system shows them."""
    text = _cpuinfo()
    known = dict(re.findall(r"^(vendor_id|cpu family|model|stepping)\s*: (.*)$", text, re.MULTILINE))
    caches = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    facts = [known.get(name, "?") for name in ("vendor_id", "cpu family", "model", "stepping")] if known else []
    return {
        "processor_id": " ".join(facts) or NOT_KNOWN,
        "caches": " ".join(size.read_text(encoding="utf-8").strip() for size in caches) or NOT_KNOWN,
    }


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def enter(level: Numerics) -> None:
    """Start this command anew with fixed instruction sets. Nothing must be open that is to be closed.

    Raises:
        UserError: in an interactive session, which would be lost.
    """
    if hasattr(sys, "ps1"):
        raise UserError(
            f"numerics: {level} is fixed before torch is loaded, so that a process must start anew for it, which an "
            "interactive session cannot; run the study with the command, or take `numerics: native`"
        )
    outer = {name: os.environ.get(name) for name in ENVIRONMENT[level]}
    _start_anew(os.environ | ENVIRONMENT[level] | {BEFORE: json.dumps(outer)})


def leave() -> None:
    """Start this command anew with the instruction sets that it had before `enter`."""
    restored = os.environ | json.loads(os.environ[BEFORE]) | {BEFORE: "{}"}
    _start_anew({name: value for name, value in restored.items() if value is not None})


def stage() -> Literal["first", "entered", "left"]:
    """Whether this command was started anew by `enter` or `leave`."""
    before = os.environ.get(BEFORE)
    return "first" if before is None else "left" if before == "{}" else "entered"


def _start_anew(environment: Mapping[str, str]) -> None:
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606


def _after(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _mkl_branch(library: Path) -> str:
    """Which kernels MKL was told to take; it has no public name in torch's library, where it is linked into."""
    try:
        code = ctypes.CDLL(str(library)).mkl_serv_cbwr_get(1)
    except (OSError, AttributeError):
        return "unknown"
    return BRANCHES.get(code, str(code))
