"""What is timed: a model's forward pass on fixed images, as it is, compiled, or replayed from a CUDA graph."""

from __future__ import annotations

import copy
import functools
import time
import types
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.errors import UserError, describe
from suite.measure.clock import Run
from suite.measure.profile import observe
from suite.reduction.attention import PROJECT, TimmModule

GRAPH_WARMUP = 3  # passes before a CUDA graph is captured, so that lazy initialisation is over
SETTLING = 2  # passes after the first compiled one, in which a compiler that guessed wrong compiles again


@dataclass(frozen=True)
class Compiled:
    """In how many graphs a compiled model runs, how many were compiled anew for equal shapes, and how long it took."""

    graphs: int
    again: int
    seconds: float


@dataclass(frozen=True)
class Facts:
    """Kernels of each attention, in order; bytes of weights, images and activations alive at once; the compiler."""

    kernels: tuple[str, ...]
    memory: int
    compiled: Compiled | None = None


@dataclass(frozen=True)
class Pass:
    """A pass that is ready to be timed."""

    run: Run
    facts: Facts


def draw_images(size: tuple[int, int], device: torch.device, dtype: torch.dtype, count: int) -> Tensor:
    """Random images, (count, 3, height, width)."""
    return torch.rand(count, 3, *size, device=device, dtype=dtype)


def with_attention(model: nn.Module, fused: bool) -> nn.Module:
    """A copy that shares all weights, with timm's fused or its eager attention in every block."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    attentions: list[TimmModule] = [module for module in twin.modules() if isinstance(module, tuple(PROJECT))]
    for attention in attentions:
        attention.fused_attn = fused
    return twin.eval()


@torch.inference_mode()
def prepare(
    name: str, model: nn.Module, images: Tensor, compiled: bool = False, graph: bool = False, backend: str = "inductor"
) -> Pass:
    """Make a pass ready on images, (B, 3, height, width), whose device and precision the model has.

    If `compiled`, through `torch.compile` with static shapes, before the pass; with `graph`, kernels are captured once
    and replayed, which leaves out the processor's time to launch them.

    UserError if the model cannot be compiled or captured.
    """
    run: Run = functools.partial(model, images)
    told = None
    if compiled:
        run = functools.partial(torch.compile(_with_own_code(model), dynamic=False, backend=backend), images)
        told = _compile(name, run)
    kernels, activations = observe(run, images.device)
    tensors = [*model.parameters(), *model.buffers(), images]
    memory = sum(tensor.numel() * tensor.element_size() for tensor in tensors) + activations
    return Pass(_captured(name, run) if graph else run, Facts(kernels, memory, told))


def compilations() -> int:
    """How many graphs this process has compiled so far."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def _with_own_code(model: nn.Module) -> Run:
    """A function of the model's own.

    The compiler keeps what it compiled by code object: models of one class would share a list, search it at every call,
    and be refused from the ninth on.
    """

    def forward(images: Tensor) -> object:
        return model(images)

    return types.FunctionType(forward.__code__.replace(), globals(), "forward", None, forward.__closure__)


def _compile(name: str, run: Run) -> Compiled:
    before, start = compilations(), time.perf_counter()
    try:
        run()
        seconds, graphs = time.perf_counter() - start, compilations() - before
        for _ in range(SETTLING):
            run()
    except torch._dynamo.exc.TorchDynamoException as error:
        raise UserError(f"{name} cannot be compiled ({describe(error)[:300]}); leave compile out") from error
    return Compiled(graphs, compilations() - before - graphs, seconds)


def _captured(name: str, run: Run) -> Run:
    """Replay of the kernels that a pass launches on the GPU."""
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(GRAPH_WARMUP):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = run()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise UserError(
            f"{name} cannot be captured in a CUDA graph ({describe(error)[:300]}); leave graph out"
        ) from error
    return functools.partial(_replay, graph, output)


def _replay(graph: torch.cuda.CUDAGraph, output: object) -> object:
    graph.replay()
    return output
