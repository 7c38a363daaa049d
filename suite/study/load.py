"""Read a study's YAML file and say exactly what is wrong with it: file, line, path, what was found, what would work."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from suite.errors import UserError, suggest
from suite.strict import Place, dotted, problems
from suite.study import records
from suite.study.changes import parsed, suffix_of
from suite.study.kind import Kind, Loaded, kinds
from suite.study.yaml_lines import changed, line_of, read_yaml

FOLDER, RESULTS = Path("studies"), Path("results")
DEFAULT_KIND = "training"
STUDY, CHANGES = "study", "changes"  # in provenance.json: a study's file if not in `studies/`, and what was changed
SUFFIXES = (".yaml", ".yml")  # in capitals too
RESERVED = ("published",)  # folders of results/ that no study makes
LONGEST_NAME = 150  # bytes


def study_names() -> list[str]:
    """Names of the studies in `studies/`."""
    return sorted({path.stem for path in FOLDER.glob("*") if _is_study(path)})


def find_study(name: str) -> Path:
    """The file of a study that is named by its path, by its name in `studies/`, or by its results folder.

    Raises:
        UserError: if there is no such file, with the nearest names, or there are two.
    """
    return _found(name)[0]


def _found(name: str, by_results: bool = False) -> tuple[Path, Sequence[str]]:
    """A study's file and the changes of it; `by_results`: a results folder of that name comes before a file."""
    own, stated = _own_file(name), _stated(name)
    if stated and (by_results or own is None) and (path := _own_file(str(stated[0]))):
        return path, stated[1]
    if own is None:
        raise UserError(f"there is no study {name!r}: {_why_not(name)}")
    return own, ()


def _own_file(name: str) -> Path | None:
    """The file that is named by its path, or by its name in `studies/` (or in a folder there)."""
    if _is_study(Path(name)):
        return Path(name)
    if ".." in Path(name).parts or Path(name).is_absolute():
        return None
    known = (FOLDER / name).parent
    found = sorted(path for path in known.glob("*") if path.stem == Path(name).name and _is_study(path))
    if len(found) > 1:
        raise UserError(f"{' and '.join(map(str, found))} are both called {name!r}; rename one of them")
    return found[0] if found else None


def _is_study(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _stated(name: str) -> tuple[object, Sequence[str]] | None:
    """The file that a results folder states to be made from, as `_file_of` has it, and its changes; None if none."""
    folder = RESULTS / name
    path = records.stated(folder, STUDY) if folder.parent == RESULTS else None
    changes = records.stated(folder, CHANGES) if path else None
    return (path, tuple(map(str, changes if isinstance(changes, list) else ()))) if path else None


def _why_not(name: str) -> str:
    if Path(name).exists() and name.strip("./"):
        return f"{name} is {'a folder' if Path(name).is_dir() else 'a file whose name does not end in .yaml or .yml'}"
    if not study_names():
        return f"no such file, and no {FOLDER}/ in {Path.cwd()}"
    return f"no such file, and none in {FOLDER}/; {suggest(name, study_names())}"


def remember(loaded: Loaded) -> None:
    """State in `provenance.json` what a folder's results are made from: the study's file, and its changes."""
    folder, said = RESULTS / loaded.name, {STUDY: _file_of(loaded.path), CHANGES: list(loaded.changes)}
    if any(records.stated(folder, key) != value for key, value in said.items()):
        records.state(folder, said)


def check_origin(loaded: Loaded) -> None:
    """Refuse a study whose results folder was made from another file, or by another command, or cannot be one.

    Raises:
        UserError: naming both files.
    """
    folder = RESULTS / loaded.name
    if taken := next((path for path in (RESULTS, folder) if os.path.lexists(path) and not path.is_dir()), None):
        raise UserError(f"{taken} is no folder, and results of {loaded.path} go to one of this name; move it away")
    _check_made_from(folder, loaded.path)
    other = next((kind for kind in kinds().values() if kind != loaded.kind and (folder / kind.record).is_file()), None)
    if other and not (folder / loaded.kind.record).is_file():
        raise UserError(
            f"{folder} has the record of {other.command.format(folder.name)}, which is of kind {other.name}, and "
            f"{loaded.path} is of kind {loaded.kind.name}; rename the study's file, or move the folder away"
        )


def _check_made_from(folder: Path, path: Path) -> None:
    origin = _origin(folder)
    if not origin and (stated := _stated(folder.name)) and not _is_known(path):
        file = Path(str(stated[0]))
        gone = file if file.suffix.lower() in SUFFIXES else FOLDER / f"{file}{SUFFIXES[0]}"
        raise UserError(
            f"{folder} was made from {gone}, which is not there any more, and would be overwritten by what is made "
            f"from {path}: they have one name; rename the file, or move the folder away"
        )
    if origin and origin.resolve() != path.resolve():
        raise UserError(
            f"{folder} was made from {origin}, and would be overwritten by what is made from {path}: they have one "
            "name; rename one of the files, or move the folder away"
        )


def _origin(folder: Path) -> Path | None:
    """The file that a results folder was made from; None if that is not there any more, or the folder has no record."""
    stated = _stated(folder.name)
    if not stated and not any((folder / kind.record).is_file() for kind in kinds().values()):
        return None
    return _own_file(str(stated[0])) if stated else _own_file(folder.name)


def argument_of(loaded: Loaded) -> str:
    """What the command line calls a study, once its changes are stated in its results."""
    return loaded.name if loaded.changes or _is_known(loaded.path) else str(loaded.path)


def words_of(loaded: Loaded) -> str:
    """What the command line calls a study where it has no results: its file and its changes."""
    return shlex.join([_file_of(loaded.path), *(word for change in loaded.changes for word in ("--set", change))])


def _file_of(path: Path) -> str:
    """How results name a file: without its folder if that is `studies/`, else from here if it lies below."""
    if _is_known(path):
        return path.stem
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _is_known(path: Path) -> bool:
    """Whether a file lies in `studies/`, however its path is written."""
    return path.resolve().parent == FOLDER.resolve()


def results_of(name: str) -> Path:
    """The results folder of a study, which is named by its path or its name; its file may be gone.

    Raises:
        UserError: if there is neither such a folder nor such a study, with the nearest names, or it is of another file.
    """
    folder = RESULTS / title_of(name)
    if not folder.is_dir():
        find_study(name)
    if _is_study(Path(name)):
        _check_made_from(folder, Path(name))
    return folder


def title_of(name: str) -> str:
    """The name of a study, or of its results folder, that is named by its path or its name.

    Raises:
        UserError: if no folder can have it.
    """
    path = Path(name)
    return _plain(path.stem if path.suffix.lower() in SUFFIXES else path.name, name)


def _plain(title: str, name: str | Path) -> str:
    """The name of a results folder, which lies in `results/` and nowhere else, and that every command can address."""
    if sys.getfilesystemencoding() != "utf-8" and any("\ud800" <= one <= "\udfff" for one in title):
        raise UserError(
            f"{str(name)!r} cannot be read in this locale, whose characters are {sys.getfilesystemencoding()}; set "
            "LANG=C.UTF-8, or PYTHONUTF8=1"
        )
    why = {
        "is no name of a folder in results/ that a study may have": title in ("", ".", "..", *RESERVED) or "/" in title,
        "has characters that cannot be shown": not title.isprintable(),
        "begins or ends with white space": title != title.strip(),
        "begins with -, as options do": title.startswith("-"),
        f"has more than {LONGEST_NAME} bytes": len(os.fsencode(title)) > LONGEST_NAME,
        "ends in .yaml or .yml twice": Path(title).suffix.lower() in SUFFIXES,
    }
    for reason, holds in why.items():
        if holds:
            raise UserError(f"{str(name)!r} cannot be a study: its name, {title!r}, {reason}; rename its file")
    return title


def find(name: str) -> Loaded | None:
    """The study that a results folder was made from, by the folder's name or the study's; None if its file is gone."""
    try:
        path, changes = _found(name, by_results=True)
    except UserError:
        return None
    return _loaded(path, changes)


def load(name: str, changes: Sequence[str] = ()) -> Loaded:
    """Read and check a study.

    Args:
        name: its path, its name in `studies/`, or that of a results folder, which has changes of its own.
        changes: such as `finetune.epochs=2`; they are made before the study is checked and name the results folder.

    Raises:
        UserError: naming every problem found.
    """
    path, stated = _found(name)
    return _loaded(path, (*stated, *changes))


def _loaded(path: Path, changes: Sequence[str]) -> Loaded:
    changes, title, made = tuple(changes), _plain(path.stem, path), parsed(changes)
    root, content = _read(path)
    found: list[tuple[Place, str]] = []
    for place, value in made.items():
        try:
            content = changed(content, place, value)
        except IndexError as error:
            found.append((place, str(error)))
    said, known = content.get("kind", DEFAULT_KIND), {name: kind for name, kind in kinds().items() if kind.schema}
    kind = known.get(str(said))
    if kind is None:
        message = f"unknown kind of study {said!r}; {suggest(str(said), known)}"
        raise _refused(path, root, changes, [*found, (("kind",), message)])
    study = _checked(kind, content, path, found)
    if found or study is None:
        raise _refused(path, root, changes, found)
    return Loaded(path, title + suffix_of(changes), study, kind, changes)


def refusal(loaded: Loaded, place: Place, message: object) -> UserError:
    """What is wrong at a place of a study that was read before."""
    return _refused(loaded.path, _read(loaded.path)[0], loaded.changes, [(place, str(message))])


def _read(path: Path) -> tuple[yaml.Node, dict[str, Any]]:
    root, content = read_yaml(path)
    if root is None or not isinstance(content, dict):
        raise UserError(f"{path}: a study is a mapping of keys; see studies/quickstart.yaml for one")
    return root, content


def _checked(kind: Kind, content: dict[str, Any], path: Path, found: list[tuple[Place, str]]) -> Any:
    """The study; problems are added to those found before."""
    assert kind.schema is not None
    try:
        study = kind.schema.model_validate(content, context={"folder": path.parent})
    except ValidationError as error:
        found += problems(error)
        return None
    found += kind.problems(study)
    return study


def _refused(path: Path, root: yaml.Node, changes: Sequence[str], found: Sequence[tuple[Place, str]]) -> UserError:
    """One line for each problem: the change that it lies in, or file and line, and all changes, which may cause it."""
    said = {place: f"--set {change}" for place, change in zip(parsed(changes), changes, strict=True)}
    lines, with_all = [], f" with {' '.join(said.values())}" if said else ""
    for place, message in found:
        change = next((text for part, text in said.items() if place[: len(part)] == part), None)
        where = change or f"{path}:{line_of(root, place)}{with_all}"
        lines.append(f"{where}: {dotted(place) or 'study'}: {message}")
    return UserError("\n".join(lines))
