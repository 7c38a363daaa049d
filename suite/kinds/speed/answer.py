"""What a study of speed answers, in sentences: device by device, and from rows that are to be trusted alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from suite.kinds.speed.lines import Line, Measured, Setup, devices_not_measured
from suite.kinds.speed.schema import SpeedStudy
from suite.kinds.speed.table import title
from suite.kinds.training.answer import Answer
from suite.kinds.training.shown import plural
from suite.measure.timing_options import UNPRUNED

PUBLISHED = {
    "cpu": "Published speed-ups are taken to be of GPUs, so a processor neither reproduces nor contradicts them.",
    "cuda": "Which GPU, precision and batch size a published speed-up is of is not known: none is contradicted here.",
}
KINDS = {"cpu": "processor", "cuda": "GPU"}


@dataclass(frozen=True)
class Found:
    """A reduced row that was measured, and what was measured of it."""

    line: Line
    measured: Measured

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against its ratios."""
        return not self.measured.timing_warnings

    @property
    def name(self) -> str:
        """The row with its backbone and batch."""
        return f"{self.line.row} ({self.line.backbone}, batch of {self.line.batch_size})"

    @property
    def deviation(self) -> float:
        """Measured over published speed-up, less 1, in percent."""
        assert self.line.ratio is not None
        return 100 * (self.measured.unpruned.median / float(self.line.ratio.text) - 1)

    @property
    def agrees(self) -> bool:
        """Whether the published speed-up, up to its rounding, lies between the quartiles of the rounds."""
        ratio, times = self.line.ratio, self.measured.unpruned
        return ratio is not None and ratio.low <= times.high and times.low <= ratio.high


def answer_of_speed(study: SpeedStudy, lines: Sequence[Line]) -> Answer:
    """The answer of a study of speed with these lines, of which at least one was measured."""
    setups = list(dict.fromkeys(line.setup for line in lines))
    verdicts, sentences, facts = [], [], []
    for setup in setups:
        own = [line for line in lines if line.setup == setup]
        found = [Found(line, line.measured) for line in own if line.measured and line.row != UNPRUNED]
        verdicts.append(_verdict(setup, found))
        said = [*_doubted(found), *_ranges(found), *_promised(found), *_compared(found, own), *_missing(own)]
        place = f"{title(setup)}: " if len(setups) > 1 else ""
        sentences += [f"{place}{sentence}" for sentence in said]
        facts += [(f"{place}{what}", value) for what, value in _facts(found)]
    sentences += [f"No {KINDS[name]} was measured." for name in devices_not_measured(study, lines)]
    return Answer(" ".join(verdicts), tuple(sentences), tuple(facts))


def _verdict(setup: Setup, found: Sequence[Found]) -> str:
    """How measured speed-ups compare with published ones on a device."""
    beside = [one for one in found if one.line.ratio]
    trusted, where = [one for one in beside if one.trusted], f"On {title(setup)}"
    if not beside:
        return f"{where}, no measured row has a published speed-up, so there is nothing to compare."
    if not trusted:
        return (
            f"{where}, nothing can be said: of {plural(len(beside), 'row')} with a published speed-up, all are marked "
            "as not to be trusted."
        )
    farthest = max(trusted, key=lambda one: abs(one.deviation))
    times = farthest.measured.unpruned
    measured = f"{times.median:.2f}x ({times.low:.2f}–{times.high:.2f})"
    assert farthest.line.ratio is not None
    published = "follows from published throughputs" if farthest.line.ratio.quotient else "is published"
    return (
        f"{where}, {len(trusted)} of {plural(len(beside), 'row')} with a published speed-up can be trusted, and "
        f"{sum(one.agrees for one in trusted)} of these have it, up to its rounding, between the quartiles of their "
        f"rounds; farthest from it is {farthest.name}, {measured} where {farthest.line.ratio.text}x {published} "
        f"({farthest.deviation:+.1f} %). {PUBLISHED[setup.device_type]}"
    )


def _doubted(found: Sequence[Found]) -> Iterator[str]:
    if doubted := sum(not one.trusted for one in found):
        yield (
            f"{doubted} of {plural(len(found), 'reduced row')} {'is' if doubted == 1 else 'are'} marked as not to be "
            "trusted, for drift or spread of their rounds, and left out of every comparison; the reasons stand below "
            "the table."
        )


def _ranges(found: Sequence[Found]) -> Iterator[str]:
    """The speed-ups of each backbone at each batch size, of rows that are to be trusted."""
    for where in dict.fromkeys((one.line.backbone, one.line.batch_size) for one in found):
        own = [one for one in found if (one.line.backbone, one.line.batch_size) == where]
        trusted = [one for one in own if one.trusted]
        place = f"{where[0]}, batch of {where[1]}"
        if not trusted:
            yield f"{place}: no range, for none of {plural(len(own), 'reduced row')} is to be trusted."
            continue
        counted = f"{len(trusted)} of {plural(len(own), 'reduced row')}"
        yield (
            f"{place}: {counted} to be trusted, {_span(trusted, lambda one: one.measured.unpruned.median)} as fast as "
            f"the unpruned timm model, where MACs alone promise {_span(trusted, lambda one: one.measured.macs)}."
        )


def _promised(found: Sequence[Found]) -> Iterator[str]:
    """How much of what multiply-accumulates promise is reached."""
    if trusted := [one for one in found if one.trusted]:
        below = sum(one.measured.unpruned.high < one.measured.macs for one in trusted)
        yield (
            f"Rows to be trusted reach {_realised(trusted)} of what their MACs promise; in {below} of {len(trusted)} "
            "the third quartile of the rounds is below that promise."
        )


def _compared(found: Sequence[Found], lines: Sequence[Line]) -> Iterator[str]:
    """Ratios of two rows, formed round by round: told apart only if the quartiles lie on one side of 1."""
    timing_warnings = {
        (line.backbone, line.batch_size, line.row) for line in lines if line.measured and line.measured.timing_warnings
    }
    for one in found:
        line, ratio = one.line, one.measured.compare_to
        if not line.compare_to:
            continue
        start = f"{line.row} over {line.compare_to}, {line.backbone}, batch of {line.batch_size}"
        if ratio is None:
            yield f"{start}: not timed side by side, so nothing is said."
            continue
        said = (
            f"{start}: {ratio.median:.3f}x (quartiles of {plural(ratio.n, 'round')} {ratio.low:.3f}–{ratio.high:.3f})"
        )
        doubted = [
            row for row in (line.row, line.compare_to) if (line.backbone, line.batch_size, row) in timing_warnings
        ]
        if doubted:
            yield f"{said}; no claim, for {' and '.join(doubted)} {'is' if len(doubted) == 1 else 'are'} marked."
        elif ratio.low <= 1 <= ratio.high:
            yield f"{said}: the two are not told apart."
        else:
            side = "faster" if ratio.low > 1 else "slower"
            yield f"{said}: {side}, by the quartiles of one session, which is no test."


def _missing(lines: Sequence[Line]) -> Iterator[str]:
    """Rows that were not measured, and published ones that nothing here can run."""
    if left := sum(line.status == "not measured" for line in lines):
        yield f"{plural(left, 'row')} of the study {'is' if left == 1 else 'are'} not measured."
    if never := sum(line.status == "not available" for line in lines):
        yield f"{plural(never, 'published row')} cannot be run here; the notes below the table say why."


def _facts(found: Sequence[Found]) -> Iterator[tuple[str, str]]:
    trusted = [one for one in found if one.trusted]
    beside = [one for one in trusted if one.line.ratio]
    if found:
        yield "reduced rows to be trusted", f"{len(trusted)} of {len(found)}"
    if beside:
        yield "published speed-up between quartiles", f"{sum(one.agrees for one in beside)} of {len(beside)}"
        farthest = max((one.deviation for one in beside), key=abs)
        yield "farthest from a published speed-up", f"{farthest:+.1f} %"
    if trusted:
        yield "speed-ups", _span(trusted, lambda one: one.measured.unpruned.median)
        yield "realised / MACs", _realised(trusted)


def _span(found: Sequence[Found], value: Callable[[Found], float]) -> str:
    return _range([f"{number:.2f}x" for number in sorted(map(value, found))])


def _realised(found: Sequence[Found]) -> str:
    return _range([f"{share:.2f}" for share in sorted(one.measured.realised for one in found)])


def _range(shown: Sequence[str]) -> str:
    return shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1]}"
