"""The commit of the code is known, or it is said that it is not, and why: nothing is left empty."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hand_made import cells, written
from rich.console import Console

from suite.report.make import make_table
from suite.report.page.origin import read_origin
from suite.report.trace import trace
from suite.study import provenance
from suite.study.kind import kind_of
from suite.study.provenance import UNKNOWN, code_of


def git(folder: Path, *arguments: str) -> None:
    """As somebody, whatever is configured here."""
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A clone of the code, with a change that is not committed."""
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / "code.py").write_text("")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "x")
    (folder / "code.py").write_text("changed")
    monkeypatch.setattr(provenance, "CODE", folder.resolve())
    provenance.provenance.cache_clear()
    yield folder
    provenance.provenance.cache_clear()


def facts() -> tuple[Any, Any]:
    """Commit and changes, as they are recorded."""
    said = provenance.provenance()
    return said["commit"], said["uncommitted_changes"]


def test_a_clone_has_a_commit_and_its_changes(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results are none, names may have any bytes, and nothing is said."""
    git(clone, "config", "core.quotePath", "false")
    (clone / os.fsdecode(b"\xff")).write_text("")
    (clone / "results").mkdir()
    (clone / "results/table.csv").write_text("")
    commit, changes = facts()
    assert len(commit) == 40
    assert changes == [" M code.py", "?? \ufffd"]
    assert capsys.readouterr().err == ""


def test_the_command_has_no_secret_and_no_folder_of_this_machine(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an absolute path the last part is kept."""
    words = ["/srv/bin/__main__.py", "run", "/srv/anna/trial.yaml", "--set", "x=http://u:SECRET@host"]
    monkeypatch.setattr(sys, "argv", words)
    assert provenance.provenance()["command"] == "suite run trial.yaml --set x=http://host"


def test_a_hook_of_another_repository_is_not_asked(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git tells its hooks where they are by variables, which git would believe more than the folder of the code."""
    own = facts()
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    git(other, "commit", "-qm", "other", "--allow-empty")
    for variable, place in (("GIT_DIR", ".git"), ("GIT_WORK_TREE", "."), ("GIT_INDEX_FILE", ".git/index")):
        monkeypatch.setenv(variable, str(other / place))
    provenance.provenance.cache_clear()
    assert facts() == own


def _of_somebody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to try it


def _without_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))


def _downloaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".git").rename(folder / "elsewhere")


def _in_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "inner").mkdir()
    monkeypatch.setattr(provenance, "CODE", folder.resolve() / "inner")


def _without_head(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".git/HEAD").write_text("x")


def _without_objects(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (folder / ".git/objects").rglob("*"):
        if path.is_file():
            path.unlink()


def _with_a_broken_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".git/index").write_bytes(b"x" * 100)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_of_somebody_else, "git says detected dubious ownership in repository at '"),
        (_without_git, "git cannot be run (No such file or directory)"),
        (_downloaded, "git says not a git repository"),
        (_in_another, "lies in the repository of something else, "),
        (_without_head, "git says not a git repository"),
        (_without_objects, "git says "),
        (_with_a_broken_index, "git says "),
    ],
)
def test_where_git_refuses_the_commit_is_unknown(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoil: Any, reason: str
) -> None:
    """One warning has git's reason, however often it is asked."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(clone.parent))
    spoil(clone, monkeypatch)
    assert facts() == facts() == (UNKNOWN, UNKNOWN)
    said = capsys.readouterr().err
    assert said.startswith("warning: the commit of the code is not known, and provenance will say so: ")
    assert reason in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("commit", "changes"), [(UNKNOWN, UNKNOWN), ("", [])], ids=["now", "older records"])
def test_readers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str, changes: Any) -> None:
    """In the trace, on the page and below the table; runs that know their commit are as ever."""
    monkeypatch.chdir(tmp_path)
    machine = {"processor": "p", "cores": 1, "memory_gib": 1.0, "system": "s", "python": "3", "versions": {}}
    run = machine | {"command": "suite run trial", "started": "2026-01-01T00:00:00+00:00"}
    runs = [
        run | {"commit": commit, "uncommitted_changes": changes, "cells": ["good-0"]},
        run | {"commit": "abc", "uncommitted_changes": [" M x"], "cells": ["good-1"]},
    ]
    folder = written(tmp_path / "results", cells("good", 80, 81), {"runs": runs})
    said = io.StringIO()
    make_table(folder, Console(width=300, file=said))
    assert "The commit of the code is unknown in 1 of 2 runs" in said.getvalue()
    traced = trace("trial:good:acc. %").runs
    assert [(one["commit"], one["uncommitted_changes"]) for one in traced] == [(UNKNOWN, UNKNOWN), ("abc", [" M x"])]
    origin = read_origin(folder, kind_of(folder))
    assert origin is not None
    assert [(one["commit"], one["uncommitted_changes"]) for one in origin["runs"]] == [(UNKNOWN, UNKNOWN), ("abc", 1)]
    assert origin["commits"] == ["abc"], "what can be checked out"
    assert json.loads((folder / "provenance.json").read_text())["runs"] == runs


def test_a_run_that_knows_its_commit_knows_its_changes() -> None:
    """Without any there is nothing to tell."""
    assert code_of({"commit": "abc", "uncommitted_changes": []}) == {"commit": "abc", "uncommitted_changes": []}
    assert code_of({}) == {}
