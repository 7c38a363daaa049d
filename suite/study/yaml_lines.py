"""Places in a YAML file: keys and indices from the top, the lines where they are, and changes of what stands there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from suite.errors import UserError
from suite.strict import Place


def read_yaml(path: Path) -> tuple[yaml.Node | None, Any]:
    """The nodes of a YAML file as they are written, with their lines, and what it says; None for both if it is empty.

    Raises:
        UserError: if it is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)  # which merges nodes of its own
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error


def doubled_keys(node: yaml.Node | None, place: Place) -> Iterator[tuple[Place, str]]:
    """Keys that stand twice in one mapping, with the line of the second."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield (*place, key.value), f"the key stands twice; the second is in line {key.start_mark.line + 1}"
            seen.add(key.value)
            yield from doubled_keys(value, (*place, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from doubled_keys(value, (*place, index))


def line_of(node: yaml.Node | None, place: Place) -> int:
    """Line, from 1, of the deepest part of `place` that the file has."""
    line = 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def changed(content: Any, place: Place, value: Any) -> Any:
    """A copy of what a file says with another value at a place; keys that are not there are added.

    Parts of a file that stand for each other (YAML's aliases) are copied, so that one place changes alone.

    Raises:
        IndexError: for an entry that a list does not have.
    """
    if not place:
        return value
    step, rest = place[0], place[1:]
    if isinstance(content, list):
        if not isinstance(step, int) or step >= len(content):
            raise IndexError(f"a list of {len(content)} has no entry {step!r}; entries are counted from 0")
        return [changed(part, rest, value) if index == step else part for index, part in enumerate(content)]
    known = content if isinstance(content, dict) else {}
    return known | {str(step): changed(known.get(str(step)), rest, value)}
