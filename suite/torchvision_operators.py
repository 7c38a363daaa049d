"""Let timm be imported where torchvision's compiled operators cannot be loaded.

torchvision registers fake kernels for `nms` and `qnms` without checking that its compiled library was loaded, so a
torch and torchvision of different builds (a CPU wheel of one, a CUDA wheel of the other) make `import timm` fail with
"operator torchvision::nms does not exist". Nothing here calls these operators, so declaring their schemas is enough.
With a matching pair `declare_missing` only loads the library that torchvision would load anyway.
"""

import functools
import importlib.util
import sys
from pathlib import Path
from typing import NoReturn

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _refuse(*_: object) -> NoReturn:
    raise RuntimeError(
        "torchvision's compiled operators could not be loaded, so nms and qnms are only declared; "
        "install a torchvision that was built for this torch to call them"
    )


def _operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True  # no torchvision: nothing will miss its operators
    folder = Path(spec.submodule_search_locations[0])
    libraries = [path for path in folder.glob("_C*") if path.suffix in (".so", ".pyd", ".dylib")]
    try:
        for library in libraries:
            torch.ops.load_library(library)
    except OSError:
        return False
    return bool(libraries)


@functools.cache
def declare_missing() -> "torch.library.Library | None":
    """Declare `nms` and `qnms` if torchvision's own cannot be loaded.

    Returns the library that holds the declarations (they live as long as it does), or None if nothing was missing.
    """
    if "torchvision" in sys.modules or _operators_load():
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name, schema in SCHEMAS.items():
        library.define(schema)
        library.impl(name, _refuse, "CompositeExplicitAutograd")
    return library


declare_missing()
