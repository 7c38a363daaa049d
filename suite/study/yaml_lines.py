"""Places in a YAML file: keys and indices from the top, and the lines where they are."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

Place = tuple[str | int, ...]


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


def dotted(place: Place) -> str:
    """A place as a reader writes it."""
    return ".".join(str(step) for step in place) or "study"
