"""What the page of a study of speed says: what is measured beside what is published, device by device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from suite.kinds.speed.lines import Line, Measured, Setup, devices_not_measured
from suite.kinds.speed.table import title
from suite.measure.timing_options import UNPRUNED
from suite.report.page.facts import Facts
from suite.study.load import load

SOURCE = {
    "cpu": "Published speed-ups are of GPUs: a processor neither reproduces nor contradicts them.",
    "cuda": "GPU, precision and batch size of published speed-ups are unknown: none is contradicted here.",
}
Pairs = Sequence[tuple[Line, Measured]]


def facts(folder: Path, lines: Sequence[Line]) -> Facts:
    """The facts of a study of speed with these lines; unreliable timings are in no number."""
    setups = list(dict.fromkeys(line.setup for line in lines))
    headlines, found, warnings = [], [], []
    for setup in setups:
        own = [line for line in lines if line.setup == setup]
        pairs = [(line, line.measured) for line in own if line.measured and line.row != UNPRUNED]
        reliable = [(line, measured) for line, measured in pairs if not measured.timing_warnings]
        headlines.append(_headline(setup, reliable))
        place = f"{title(setup)}: " if len(setups) > 1 else ""
        found += [(f"{place}{name}", value) for name, value in _facts(pairs, reliable)]
        warnings += [f"{place}{warning}" for warning in _warnings(pairs, reliable, own)]
        warnings.append(SOURCE[setup.device_type])
    named = {"cpu": "processor", "cuda": "GPU"}
    warnings += [f"No {named[name]} was measured." for name in devices_not_measured(load(folder.name).study, lines)]
    return Facts(" ".join(headlines), tuple(found), tuple(dict.fromkeys(warnings)))


def agrees(line: Line) -> bool:
    """Whether the published speed-up, up to its rounding, lies between the quartiles of the rounds."""
    if line.ratio is None or line.measured is None:
        return False
    return line.ratio.low <= line.measured.unpruned.high and line.measured.unpruned.low <= line.ratio.high


def _headline(setup: Setup, reliable: Pairs) -> str:
    """The speed-ups of a device, and how many agree with published ones."""
    if not reliable:
        return f"On {title(setup)}, no reduced row has a reliable timing: no claim."
    speeds = _range([measured.unpruned.median for _, measured in reliable], "x")
    beside = [line for line, _ in reliable if line.ratio]
    found = f"On {title(setup)}, reduced rows run {speeds} as fast as the unpruned timm model"
    if not beside:
        return f"{found}; none has a published speed-up."
    farthest = max(beside, key=lambda line: abs(_deviation(line)))
    return (
        f"{found}; {sum(map(agrees, beside))} of {len(beside)} published speed-ups lie between the quartiles measured, "
        f"the farthest is {_beside(farthest)} ({farthest.row}, {farthest.backbone}, batch of {farthest.batch_size})."
    )


def _facts(pairs: Pairs, reliable: Pairs) -> Iterator[tuple[str, str]]:
    yield "reliable timings", f"{len(reliable)} of {len(pairs)} reduced rows"
    for where in dict.fromkeys((line.backbone, line.batch_size) for line, _ in reliable):
        own = [measured for line, measured in reliable if (line.backbone, line.batch_size) == where]
        speeds, macs = _range([one.unpruned.median for one in own], "x"), _range([one.macs for one in own], "x")
        yield f"{where[0]}, batch of {where[1]}", f"{speeds} (by MACs {macs})"
    if reliable:
        yield "measured / MACs", _range([measured.realised for _, measured in reliable])
    for line, _ in reliable:
        if line.ratio:
            yield f"{line.row}, {line.backbone}, batch of {line.batch_size}", _beside(line)
    unreliable = {(line.backbone, line.batch_size, line.row) for line, own in pairs if own.timing_warnings}
    for line, measured in reliable:
        ratio = measured.compare_to
        if ratio and (line.backbone, line.batch_size, line.compare_to) not in unreliable:
            name = f"{line.row} over {line.compare_to}, {line.backbone}, batch of {line.batch_size}"
            yield name, f"{ratio.median:.3f}x (quartiles of {ratio.n} rounds {ratio.low:.3f}–{ratio.high:.3f})"


def _warnings(pairs: Pairs, reliable: Pairs, lines: Sequence[Line]) -> Iterator[str]:
    counts = {
        "reduced rows have unreliable timings (drift or spread of their rounds) and are left out here": len(pairs)
        - len(reliable),
        "rows of the study are not measured": sum(line.status == "not measured" for line in lines),
        "published rows cannot be run here; see the notes": sum(line.status == "excluded" for line in lines),
    }
    yield from (f"{count} {what}." for what, count in counts.items() if count)


def _deviation(line: Line) -> float:
    """Measured over published speed-up, less 1, in percent."""
    assert line.ratio is not None
    assert line.measured is not None
    return 100 * (line.measured.unpruned.median / float(line.ratio.text) - 1)


def _beside(line: Line) -> str:
    assert line.ratio is not None
    assert line.measured is not None
    times = line.measured.unpruned
    return (
        f"{times.median:.2f}x (quartiles {times.low:.2f}–{times.high:.2f}), published {line.ratio.text}x, "
        f"{_deviation(line):+.1f} %"
    )


def _range(numbers: Sequence[float], unit: str = "") -> str:
    low, high = (f"{number:.2f}{unit}" for number in (min(numbers), max(numbers)))
    return low if low == high else f"{low} to {high}"
