"""The ways to compile and export a deployed model: each makes, from a model and images, a module that runs like it.

The model's `forward` takes images, (B, 3, height, width), and returns a tuple of tensors whose first dimension is B. An
artefact is made once, for batches of any size.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import UserError

Outputs = tuple[Tensor, ...]
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class Compiled(nn.Module):
    """`torch.compile` in one graph, with the batch marked as dynamic; `graphs` counts how often it was compiled."""

    def __init__(self, model: nn.Module, images: Tensor, backend: str = "inductor") -> None:
        super().__init__()
        self.graphs = 0
        self.backend = backend
        torch._dynamo.reset()
        self.run = torch.compile(model, fullgraph=True, backend=self._compile)
        self(images)

    def forward(self, images: Tensor) -> Outputs:
        torch._dynamo.maybe_mark_dynamic(images, 0)
        with torch.inference_mode():
            outputs: Outputs = self.run(images)
        return outputs

    def _compile(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        self.graphs += 1
        compiled: Callable[..., Any] = torch._dynamo.lookup_backend(self.backend)(graph, inputs)
        return compiled


class InOnnxRuntime(nn.Module):
    """The graph that `torch.export` finds as ONNX, in ONNX Runtime on the CPU, with as many threads as torch has."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        import onnxruntime

        found = in_onnx(program(model, images))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(
            found.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.input = self.session.get_inputs()[0].name

    def forward(self, images: Tensor) -> Outputs:
        return tuple(map(torch.from_numpy, self.session.run(None, {self.input: images.numpy()})))


def in_onnx(found: torch.export.ExportedProgram) -> torch.onnx.ONNXProgram:
    """The same graph in ONNX; `require_onnx` says whether it can be had."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # of torch, about itself
        made = torch.onnx.export(found, dynamo=True, verbose=False)
    assert made is not None
    return made


def exported(model: nn.Module, images: Tensor) -> nn.Module:
    """The graph that `torch.export` finds, run by torch."""
    module: nn.Module = program(model, images).module()
    return module


Make = Callable[[nn.Module, Tensor], nn.Module]
PATHS: dict[str, Make] = {"torch.compile": Compiled, "torch.export": exported, "ONNX Runtime": InOnnxRuntime}
QUICK: dict[str, Make] = PATHS | {"torch.compile": partial(Compiled, backend="aot_eager")}  # generates no code


def require_onnx() -> None:
    """Refuse, by a UserError that names them, to go on without the packages of the extra `export`."""
    from importlib.util import find_spec

    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed; ONNX needs: "
            "pip install 'cropr-suite[export]'"
        )


def program(model: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """The graph of a model for batches of any size; `images` are an example, of two or more."""
    with torch.no_grad():
        return torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
