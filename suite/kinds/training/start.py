"""The file of weights that cells start from: as a study names it, or by timm's tag."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from suite.errors import suggest

HUB = "timm"
FILES = ("model.safetensors", "pytorch_model.bin")


def file_of(start: Path) -> Path:
    """The file itself; of `timm/MODEL.TAG` the one that is in Hugging Face's cache on this machine, if it is there."""
    if start.exists() or (tag := _tag(start)) is None:
        return start
    from huggingface_hub import try_to_load_from_cache

    place = getattr(_known(tag), "hf_hub_id", None) or f"{HUB}/{tag}"
    found = (try_to_load_from_cache(place, name) for name in FILES)
    return next((Path(path) for path in found if isinstance(path, str)), start)


def known(start: Path) -> Any:
    """What timm says of weights that are named by its tag; None for a file."""
    tag = _tag(start)
    return None if tag is None else _known(tag)


def missing(start: Path, backbone: str) -> str:
    """What to fetch and where to put it, in one sentence; empty if the file is there."""
    if file_of(start).is_file():
        return ""
    if (tag := _tag(start)) is None:
        shown = start if start.is_absolute() else f"{start} in {Path.cwd()}"
        return (
            f"start: there is no {shown}; put the weights there (a file of torch or safetensors for {backbone}), or "
            "name the file that has them"
        )
    if (known := _known(tag)) is None:
        return f"start: timm has no weights {tag!r}; {suggest(tag, _pretrained())}"
    source = f"huggingface.co/{known.hf_hub_id}: {FILES[0]}" + (f", or {known.url}" if known.url else "")
    return (
        f"start: {start} is not in Hugging Face's cache on this machine; fetch it where there is a network ({source}), "
        f"put it to weights/{tag}.safetensors, say, and name that file as start"
    )


def _tag(start: Path) -> str | None:
    """What follows `timm/` if it begins with a model's name; None for other paths."""
    model = start.name.partition(".")[0]
    return start.name if start.parts[:-1] == (HUB,) and _timm().is_model(model) else None


def _known(tag: str) -> Any:
    """What timm says of the weights of a tag; None for one that it does not know."""
    return _timm().get_pretrained_cfg(tag) if tag in _pretrained() else None


@functools.cache
def _pretrained() -> list[str]:
    """Tags of all weights that timm knows."""
    return list(_timm().list_pretrained())


def _timm() -> Any:
    import suite.torchvision_operators  # noqa: F401  (before timm, see there)

    # isort: split
    import timm

    return timm
