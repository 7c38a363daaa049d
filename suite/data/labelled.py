"""Pictures with the numbers of their classes, wherever they lie: what training and evaluation read."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.data.pictures import Listed, conversions, each, read, refuse
from suite.data.whole import Whole
from suite.errors import UserError

if TYPE_CHECKING:
    import numpy as np

NAMED = 12  # classes that are shown


@dataclass
class Labelled:
    """Pictures of one split.

    Attributes:
        where: the folder or file that they lie in.
        classes: names, in the order of the model's outputs.
        order: what that order is.
        pictures: what `pictures.read` reads.
        labels: the number of each one's class, (n,).
        names: what tells each from the others, with its size in bytes where it is a file.
        listed: what is left out.
        notes: how many were read in another way than as plain ones, once `check` has looked.
        known: how many of them `check` did not read, because it had done so before.
    """

    where: Path
    classes: tuple[str, ...]
    order: str
    pictures: Sequence[Any]
    labels: np.ndarray[Any, Any]
    names: Callable[[], Sequence[tuple[str, int]]]
    listed: Listed = field(default_factory=Listed)
    notes: Counter[str] = field(default_factory=Counter)
    known: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the names, sizes and classes of all pictures, and of the order of the classes."""
        content = json.dumps([self.classes, self.labels.tolist(), list(self.names())])
        return hashlib.sha256(content.encode()).hexdigest()

    def check(self, advanced: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Decode every picture once, by all processors, but for files that were whole before and did not change.

        Raises:
            UserError: naming all that cannot be read rightly.
        """
        whole, problems = Whole(self.where, self.pictures), list[str]()
        new = [index for index, note in enumerate(whole.notes) if note is None]
        self.known = len(self) - len(new)
        advanced(self.known, len(self))
        looked = each(
            lambda index: _note(self.pictures[index]), new, lambda done, _: advanced(done + self.known, len(self))
        )
        try:
            for index, (note, problem) in zip(new, looked, strict=True):
                if problem:
                    problems.append(problem)
                else:
                    whole.notes[index] = note
        finally:
            whole.save()
        refuse(problems)
        self.notes = Counter(note for note in whole.notes if note)

    @property
    def said(self) -> list[str]:
        """What is read and what is left out, in sentences."""
        names = [f"{number} {name}" for number, name in enumerate(self.classes)]
        shown = [*names[: NAMED - 1], "...", names[-1]] if len(names) > NAMED else names
        without = len(self.classes) - len(set(self.labels.tolist()))
        classes = f"in {len(names)} classes, {self.order}: {', '.join(shown)}" if names else self.order
        lines = [
            f"{len(self)} images of {self.where} {classes}",
            f"{without} classes have no image" if names and without else "",
            self.listed.said,
            conversions(self.notes),
        ]
        return [line for line in lines if line]


def _note(picture: Any) -> tuple[str, str]:
    """How a picture is read, and what is wrong with it; each empty for nothing."""
    try:
        return read(picture, small=True)[1], ""
    except UserError as error:
        return "", str(error)


def read_and_known(parts: Sequence[Labelled]) -> str:
    """How many pictures `check` read, in a sentence."""
    known, total = sum(part.known for part in parts), sum(map(len, parts))
    return f"{total - known} images were read, {known} were known to be whole and did not change"
