"""Terminals and pipes that cannot show a character get another one, from every command."""

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pytest
from hand_made import cells, written
from tiny_study import STUDY, SUITE, _as_before, write

from suite.cli.app import main
from suite.terminal import warn

ENCODINGS = ("ascii", "latin-1", "cp1252", "utf-8")
COMMANDS: dict[str, Sequence[str]] = {
    "a table": ("table", "trial"),
    "an error": ("validate", "方法–.yaml"),
    "a usage error": ("validate", "--–"),
    "JSON": ("table", "trial", "--json"),
    "figures": ("figures", "trial", "--only", "pareto"),
    "a trace": ("trace", "trial:good:seeds"),
    "a comparison": ("compare", "trial:good", "trial:random"),
    "help": ("--help",),
    "a surrogate": ("validate", "\udcff"),
}


def shown(encoding: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and what a strict terminal of an encoding shows of a command, errors too."""
    stream, code = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict"), 0
    with (
        _as_before(),
        mock.patch.object(sys, "stdout", stream),
        mock.patch.object(sys, "stderr", stream),
        mock.patch.object(sys, "argv", ["suite", *arguments]),
        mock.patch.dict(os.environ, environment),
    ):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        stream.flush()
    return code, stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("what", COMMANDS)
def test_no_character_ends_a_command(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the encoding, it ends as with UTF-8; dashes are dashes and marks stay apart."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "results", [*cells("random", 70, 71, 72), *cells("good", 60, 81, 82)], {"runs": []})
    (tmp_path / "results/trial/table.csv").write_text("")
    found = {encoding: shown(encoding, *COMMANDS[what]) for encoding in ENCODINGS}
    assert len({code for code, _ in found.values()}) == 1
    assert "Traceback" not in "".join(text for _, text in found.values())
    if what == "a table":
        assert "good +" in found["ascii"][1]
        assert "good †" in found["cp1252"][1]
        assert "68.5-73.5" in found["ascii"][1]
        assert "68.5–73.5" in found["cp1252"][1]
    if what == "an error":
        assert "'??-.yaml'" in found["ascii"][1]


def test_a_run_with_names_that_a_terminal_cannot_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress, lines and table are drawn; records have the names as they are."""
    monkeypatch.chdir(tmp_path)
    rows = ["none", "random", {"method": "tome", "name": "方法:cat:–é"}]
    recipes = {name: STUDY[name] | {"epochs": 1} for name in ("finetune",)}
    write(tmp_path, methods=rows, seeds=[0], speed=None, **recipes)
    code, text = shown("ascii", "run", "trial.yaml", "--in-process", FORCE_COLOR="1", COLUMNS="100")
    assert code == 0
    assert "??:cat:-e (accuracy, seed 0)" in text
    assert "方法:cat:–é" in (tmp_path / "results/trial/table.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_python_may_ask_for_strict_ascii(tmp_path: Path) -> None:
    """In a process of its own, as schedulers and containers start it."""
    written(tmp_path / "results", [*cells("random", 70, 71, 72), *cells("good", 60, 81, 82)], {"runs": []})
    strict = os.environ | {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"}
    done = subprocess.run(
        [*SUITE, "table", "trial"], cwd=tmp_path, env=strict, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "68.5-73.5" in done.stdout


@pytest.mark.slow
def test_closed_streams_are_none(tmp_path: Path) -> None:
    """As by `>&- 2>&-`: what is written is lost, and no file that is opened later gets it."""
    write(tmp_path, methods=["none"], seeds=[0], speed=None)
    command = [sys.executable, "-m", "suite", "run", "trial.yaml", "--in-process"]
    shell = ["sh", "-c", '"$@" >&- 2>&-', "sh", *command]
    done = subprocess.run(shell, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0
    assert (tmp_path / "results/trial/table.md").is_file()


@pytest.mark.parametrize("output", ["a reader that has gone", pytest.param("/dev/full", marks=pytest.mark.slow)])
def test_a_run_goes_on_without_its_output(tmp_path: Path, output: str) -> None:
    """As behind `| head`, or with a log on a full disk: all cells are finished, and one line says what is lost."""
    write(tmp_path, methods=["none", "random"], seeds=[0], speed=None)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if output == "/dev/full":
        end = os.open(output, os.O_WRONLY)
    else:
        reader, end = os.pipe()
        os.close(reader)
    command = [sys.executable, "-m", "suite", "run", "trial.yaml", "--in-process"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stdout=end, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(end)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("nothing more can be written to the output") == 1
    assert len(list((tmp_path / ".suite/cells").iterdir())) == 3
    assert (tmp_path / "results/trial/table.md").is_file()


def test_a_warning_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing in it is a style or a picture."""
    warn("[red]a:b:ok:[/red]")
    assert capsys.readouterr().err == "warning: [red]a:b:ok:[/red]\n"


def test_a_warning_has_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """As an error has none."""
    warn("no answer from http://user:SECRET@host")
    assert capsys.readouterr().err == "warning: no answer from http://host\n"
