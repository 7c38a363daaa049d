"""The front door: `nox -s NAME` does one thing a person wants to do.

quickstart   install, run the demo study, show its table, draw its figures, write its page
reproduce    run the demo study anew and compare it with the committed record, row by row
reproduction run its twin under five instruction sets, and compare every two of these records: hours
tests        install, run the tests that `.ci/run` runs: at most ten minutes on two cores
tests-slow   install, run all the others: every method on every backbone, browsers, LaTeX, a built wheel
fuzz         install, try unlikely inputs for as many minutes as are named, by default ten
parity       install, check every method against the contract on every backbone, show the matrix
table        make one table: nox -s table -- NAME runs studies/NAME.yaml
export       install, run every deployed method in torch.compile, torch.export and ONNX Runtime, show the matrix
gpu          time the models of Cropr's Table 1, EVA-02 and ADE20k on a GPU, with the Python that runs nox
gpu-training train two small cells on a GPU in float16, kill one, go on, and keep a record: minutes
tables       rebuild every committed table, figure and page from its record
lint, types  what `.ci/run` checks besides the tests
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["quickstart"]

VENV = Path(".venv")
BIN = VENV / "bin"
PLAYED: dict[str, dict[str, str]] = {  # other processors, by the instruction sets of one library at a time
    "native": {},
    "portable": {},
    "torch-default": {"ATEN_CPU_CAPABILITY": "default"},
    "mkl-compatible": {"MKL_CBWR": "COMPATIBLE"},
    "onednn-sse41": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
}
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
IN_TWO_PROCESSES = ["-n", "2"]
OF_WHOLE_FILES = ["--dist", "loadfile"]  # which share what they need


@nox.session(python=False)
def install(session: nox.Session) -> None:
    """Make .venv with exactly the tested versions; a second call with the same files does nothing."""
    files = [Path("pyproject.toml"), Path("constraints.txt")]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    stamp = VENV / "installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    session.run(sys.executable, "-m", "venv", str(VENV))
    extras = ".[study,segmentation,export,dev]"
    session.run(str(BIN / "pip"), "install", "--quiet", "-c", "constraints.txt", "-e", extras)
    stamp.write_text(wanted)


@nox.session(python=False, requires=["install"])
def quickstart(session: nox.Session) -> None:
    """Run the demo study: five seeds of ten rows on real images, to a table and a page."""
    session.run(str(BIN / "suite"), "run", "quickstart", *session.posargs)
    session.run(str(BIN / "suite"), "figures", "quickstart")
    session.run(str(BIN / "suite"), "report", "quickstart")


@nox.session(python=False, requires=["install"])
def reproduce(session: nox.Session) -> None:
    """Run the demo study anew, apart from what is there, and compare its record with the committed one.

    Fails if a row differs. An interrupted session goes on where it stopped.
    """
    suite, place = str((BIN / "suite").resolve()), Path(".suite", "reproduce")
    shutil.copytree("studies", place / "studies", dirs_exist_ok=True)
    origin, record = (home / "results" / "quickstart" / "provenance.json" for home in (Path(), place))
    if not record.is_file():  # how long cells took is what the first line estimates from
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"seconds": json.loads(origin.read_text(encoding="utf-8"))["seconds"]}))
    with session.chdir(place):
        session.run(suite, "run", "quickstart", *session.posargs)
    shutil.rmtree(place / ".suite")  # the next session begins anew; the record stays
    session.run(suite, "compare", "quickstart", str(place / "results" / "quickstart"))


@nox.session(python=False, requires=["install"])
def reproduction(session: nox.Session) -> None:
    """Play other processors by instruction sets: five records of one study, in results/reproduction/, and a figure.

    An interrupted session goes on where it stopped; names limit it to these of the five.
    """
    suite, home = str((BIN / "suite").resolve()), Path("results", "reproduction")
    study = Path("studies", "reproduction.yaml")
    for name, environment in PLAYED.items():
        if session.posargs and name not in session.posargs:
            continue
        place = Path(".suite", "reproduction", name)
        (place / "studies").mkdir(parents=True, exist_ok=True)
        text = study.read_text() + ("numerics: portable\n" if name == "portable" else "")
        (place / study).write_text(text)
        with session.chdir(place):
            session.run(suite, "run", "reproduction", env=environment)
        shutil.rmtree(home / name, ignore_errors=True)
        made = shutil.ignore_patterns("table.*", "*.png")
        shutil.copytree(place / "results" / "reproduction", home / name, ignore=made)
    records = [str(home / name) for name in PLAYED if (home / name / "cells.csv").is_file()]
    if len(records) > 1:
        files = ["--figure", str(home / "agreement.png"), "--html", str(home / "agreement.html")]
        session.run(suite, "compare", *records, *files)


@nox.session(python=False, requires=["install"])
def tests(session: nox.Session) -> None:
    """Run the tests in two processes of one thread each; further arguments go to pytest."""
    session.run(str(BIN / "pytest"), *IN_TWO_PROCESSES, *OF_WHOLE_FILES, *session.posargs, env=ONE_THREAD)


@nox.session(name="tests-slow", python=False, requires=["install"])
def tests_slow(session: nox.Session) -> None:
    """Run the tests that `tests` leaves out; further arguments go to pytest."""
    session.run(str(BIN / "pytest"), *IN_TWO_PROCESSES, "-m", "slow", *session.posargs, env=ONE_THREAD)


@nox.session(python=False, requires=["install"])
def fuzz(session: nox.Session) -> None:
    """Try new inputs for so many minutes; one that gives a traceback is printed, kept and tried first the next time."""
    minutes = session.posargs or ["10"]
    session.run(str(BIN / "python"), "tests/fuzz.py", *minutes, env=ONE_THREAD)


@nox.session(python=False, requires=["install"])
def parity(session: nox.Session) -> None:
    """Check the contract of every method, or of the names and files given; prints the matrix and every reason."""
    session.run(str(BIN / "suite"), "check-method", *session.posargs)


@nox.session(python=False, requires=["install"])
def table(session: nox.Session) -> None:
    """Run what is not done of studies/NAME.yaml and make its table."""
    if not session.posargs:
        session.error("name a study: nox -s table -- costs")
    session.run(str(BIN / "suite"), "run", *session.posargs)


@nox.session(python=False, requires=["install"])
def export(session: nox.Session) -> None:
    """Compile and export deployed models, and compare outputs and speed with eager torch; to results/export/."""
    session.run(str(BIN / "suite"), "export", *session.posargs)


@nox.session(python=False)
def gpu(session: nox.Session) -> None:
    """Time on the GPU of this machine, in this process; needs what `pip install .` brings, not Ray or MLflow.

    The record joins results/imagenet-vitl-speed/; another study may be named.
    """
    study = session.posargs or ["imagenet-vitl-speed"]
    session.run(sys.executable, "-m", "suite", "run", *study, "--in-process", env={"PYTHONPATH": "."}, external=True)


@nox.session(name="gpu-training", python=False)
def gpu_training(session: nox.Session) -> None:
    """Train on the GPU of this machine, with what `pip install .` brings, to results/gpu-training.json.

    Two rows of studies/imagenet-vitl.yaml at reduced width; `-- --device cpu --into FILE` tries it without a GPU.
    """
    session.run(sys.executable, "tests/gpu_training.py", *session.posargs, env={"PYTHONPATH": "."}, external=True)


@nox.session(python=False, requires=["install"])
def tables(session: nox.Session) -> None:
    """Rebuild tables, in README and docs too, figures, ledger and pages of all committed results, from records."""
    suite = str(BIN / "suite")
    pages = [Path("README.md"), *Path("docs").glob("*.md")]
    made = sorted(path.parent.name for path in Path("results").glob("*/table.csv"))
    for name in made:
        into = [str(page) for page in pages if f"<!-- table: {name} -->" in page.read_text()]
        session.run(suite, "table", name, *(["--into", into[0]] if into else []))
    for name in made:
        if any(Path("results", name).glob("*.png")):
            session.run(suite, "figures", name)
    session.run(suite, "ledger", "--update")
    for name in made:
        session.run(suite, "report", name)


@nox.session(python=False, requires=["install"])
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.run(str(BIN / "ruff"), "check")
    session.run(str(BIN / "ruff"), "format", "--check")


@nox.session(python=False, requires=["install"])
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.run(str(BIN / "mypy"))
