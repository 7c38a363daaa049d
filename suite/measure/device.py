"""Devices, precisions and the compiler: whether they are there, said before anything is built."""

from __future__ import annotations

import torch

from suite.errors import UserError, describe
from suite.measure.allocator import keep_memory
from suite.measure.timing_options import TimingOptions

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_device(name: str) -> torch.device:
    """A processor or a GPU that can be computed on; UserError if there is none, or its time cannot be taken."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = describe(error).split(". ")[0][:120]
        raise UserError(f"cannot use the device {name!r} ({why}); --device cpu always works") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"speed is measured on cpu and cuda, whose end of work is known; found {name!r}")
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        torch.cuda.set_device(device)  # CUDA graphs are captured on the current one
    return device


def open_machine(options: TimingOptions) -> tuple[torch.device, torch.dtype]:
    """Make this process ready to time models, of which weights and images are drawn alike every time.

    Returns the device and the type of weights and images; UserError for a device, precision or compiler not there.
    """
    keep_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = open_device(options.device)
    dtype = check_precision(options.precision, device)
    if options.compile:
        check_compiler(device)
    return device, dtype


def check_precision(name: str, device: torch.device) -> torch.dtype:
    """The type of a precision; UserError if the device would only emulate it, which says nothing about its speed."""
    dtype = PRECISIONS[name]
    if not _has_instructions(dtype, device):
        raise UserError(
            f"{name} on this {device.type} would be emulated, several times slower than float32, and its ratios would "
            f"be the emulation's; use --precision {' or '.join(_others(device))}"
        )
    return dtype


def check_compiler(device: torch.device) -> None:
    """Compile the simplest function; UserError if `torch.compile` cannot, mostly for want of a compiler."""
    try:
        torch.compile(torch.neg)(torch.ones(8, device=device))
    except Exception as error:  # whatever a tool chain raises
        why = describe(error).split(" Set TORCHDYNAMO")[0][:300]
        raise UserError(
            f"torch.compile cannot compile anything here ({why}); install a C++ compiler (for a GPU also triton), or "
            "leave compile out"
        ) from error


def _has_instructions(dtype: torch.dtype, device: torch.device) -> bool:
    if device.type == "cuda":
        return dtype != torch.bfloat16 or torch.cuda.is_bf16_supported(including_emulation=False)
    supported = {
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return dtype not in supported or (torch.backends.mkldnn.is_available() and bool(supported[dtype]()))


def _others(device: torch.device) -> list[str]:
    return [name for name, dtype in PRECISIONS.items() if _has_instructions(dtype, device)]
