"""What is recorded of a cell, and whether a file says it: nothing damaged or edited counts as a result."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Required, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from suite.strict import explain
from suite.study.cells import Identity, id_of
from suite.study.records import parsed

DIGEST = "sha256"  # of all else in the file, as JSON with sorted keys; older files have none
OF_SPEED = ("speedup", "speedup_eager", "macs_ratio", "kernels", "timing_warnings", "session")


class Entry(TypedDict, total=False):
    """What is recorded of a cell; one of a study of speed has what stands from `speedup` on instead of metrics.

    `repetitions` has a value for each block or round, `curves` one for each epoch; `images` is of
    `suite.study.images`; `seconds` are those that the cell
    took, in a study of speed those of each pass on a GPU. `start_digest` is that of the weights it started from.
    """

    __pydantic_config__ = ConfigDict(strict=True)  # type: ignore[misc]  # how pydantic is told

    cell_id: str
    identity: Identity
    status: Required[Literal["done", "skipped", "failed"]]
    reason: str
    metrics: dict[str, float]
    units: dict[str, str]
    repetitions: dict[str, list[float]]
    curves: dict[str, list[float]]
    details: dict[str, Any]
    images: str
    seconds: Any
    provenance: dict[str, Any]
    weights_digest: str
    start_digest: str
    speedup: Sequence[float]
    speedup_eager: Sequence[float]
    macs_ratio: float
    kernels: str
    timing_warnings: str
    machine: dict[str, Any]
    session: str


_checker: TypeAdapter[Entry] = TypeAdapter(Entry)


def written(entry: Mapping[str, Any]) -> str:
    """The file of an entry, with its digest."""
    text = json.dumps(entry, indent=1)
    return json.dumps({**entry, DIGEST: _digest(json.loads(text))}, indent=1)


def read(text: str | bytes, cell_id: str) -> Entry:
    """The entry that a file of a cell has.

    Raises:
        ValueError: with what is wrong, if it is not the whole record of that cell as it was written.
    """
    entry = parsed(text)
    if not isinstance(entry, dict) or not cell_id == entry.get("cell_id") == id_of(entry.get("identity", {})):
        raise ValueError("it is not the record of that cell")
    digest = entry.pop(DIGEST, None)
    if digest is None:
        _check(entry)
    elif digest != _digest(entry):
        raise ValueError("it was changed after it was written")
    return cast(Entry, entry)


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def _check(entry: dict[str, Any]) -> None:
    """Refuse what no run has written, as far as that shows without a digest."""
    try:
        _checker.validate_python(entry)
    except ValidationError as error:
        raise ValueError(explain(error)) from error
    if wrong := next(_wrong(entry), None):
        raise ValueError(wrong)


def _wrong(entry: dict[str, Any]) -> Iterator[str]:
    """What does not belong together."""
    if entry["status"] != "done":
        return
    metrics, curves = entry.get("metrics", {}), entry.get("curves", {})
    needed = OF_SPEED if "speedup" in entry or "metrics" not in entry else ("units",)
    yield from (f"it has no {name}" for name in (*needed, "provenance") if name not in entry)
    if unknown := {*metrics, *entry.get("repetitions", {})} - entry.get("units", {}).keys():
        yield f"it has no unit of {', '.join(sorted(unknown))}"
    yield from (f"{name} is {value}, which no cell ends with" for name, value in metrics.items() if not _finite(value))
    seconds = entry.get("seconds", 0.0)
    if not all(isinstance(one, int | float) for one in (seconds if isinstance(seconds, list) else [seconds])):
        yield f"its seconds are {seconds!r}"
    epochs = entry["identity"].get("recipe", {}).get("epochs")
    for name, values in curves.items():
        if len(values) != epochs:
            yield f"the curve {name} has {len(values)} values in {epochs} epochs"


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number above all others
        return False


def last_line(entry: Entry) -> str:
    """The last line of the reason why a cell failed or was skipped; empty where there is none."""
    return "".join(entry.get("reason", "").strip().splitlines()[-1:])
