"""What YAML says and what people mean: refused by line, or read as it was meant, at once."""

import math
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_studies import STUDY
from tiny_study import here

from suite.errors import UserError
from suite.study.changes import parsed
from suite.study.load import load
from suite.study.yaml_values import Unreadable, value_of


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in an empty folder."""
    monkeypatch.chdir(tmp_path)


def study(old: str = "", new: str = "") -> Any:
    """The study with one change of its text."""
    assert old in STUDY
    Path("trial.yaml").write_text(STUDY.replace(old, new, 1), encoding="utf-8")
    return load("trial.yaml").study


REFUSED = {  # by what is written: what it is not, in a sentence
    "010": "010 is 8 in YAML, which reads a leading 0 as base 8; write 10, or, for a text, '010' in quotes",
    "-010": "-010 is -8 in YAML, which reads a leading 0 as base 8; write -10, or, for a text, '-010' in quotes",
    "-0_17": "-0_17 is -15 in YAML, which reads a leading 0 as base 8; write -17",
    "-1:30": "-1:30 is -90 in YAML, which reads : as base 60; write -90",
    "1_0": "1_0 is 10 in YAML, where _ only parts thousands; write 10, or, for a text, '1_0' in quotes",
    "1__000": "1__000 is 1000 in YAML, where _ only parts thousands",
    "-100_": "-100_ is -100 in YAML, where _ only parts thousands; write -100",
    "1000_000": "1000_000 is 1000000 in YAML, where _ only parts thousands",
    "0b_1": "0b_1 is 0b1 in YAML, where _ only parts thousands; write 0b1",
    "0x1_0": "0x1_0 is 0x10 in YAML",
    "1.0_0": "1.0_0 is 1.00 in YAML",
    "1_0e1": "1_0e1 is 10e1 in YAML",
    "1:30": "1:30 is 90 in YAML, which reads : as base 60; write 90, or, for a text, '1:30' in quotes",
    "1:30:20.5": "1:30:20.5 is 5420.5 in YAML",
    "0b_": "0b_ is no number",
    "1" * 5000: "has 5000 digits; a whole number here has at most 18",
    "0x" + "f" * 5000: "has 5002 digits",
    "2026-13-45": "2026-13-45 is read as a date by YAML; write it in quotes",
    "2026-11-29": "2026-11-29 is read as a date by YAML; write it in quotes",
    "2026-11-29 10:00:00": "2026-11-29 10:00:00 is read as a date",
    "!!int abc": "'abc' is no int",
    "!!int ''": "'' is no int",
    "!!float abc": "'abc' is no float",
    "!!bool abc": "'abc' is no bool",
    "!!null abc": "'abc' is no null",
    "!!timestamp abc": "'abc' is no date",
    "!!binary /w==": "the tag !!binary has no meaning here",
    "!!set {a}": "the tag !!set has no meaning here",
    "!!python/object/apply:os.getcwd []": "the tag !!python/object/apply:os.getcwd has no meaning here",
    "!mine x": "the tag !mine has no meaning here",
    "=": "= stands for nothing in YAML",
    '"a\\0b"': "it has the character U+0000",
    '"\\ud800"': "it has the character U+D800",
    '"\\e[31m"': "it has the character U+001B",
    "&a [*a]": "a YAML alias contains itself",
    "[" * 60 + "]" * 60: "it nests more than 50 levels deep",
    "{a: 1, a: 2}": "the key stands twice; the second is in line 1",
    "{[a]: 1}": "a key must be a text, found a list or a mapping",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_yaml_reads_otherwise_is_refused_with_its_line(text: str) -> None:
    """In a file, by line and place, in a key too; in a change and an option by their words."""
    with pytest.raises(UserError) as refused:
        study("question: Does it work?", f"question:\n  - {text}")
    line, place, said = str(refused.value).split(": ", 2)
    assert line == "trial.yaml:2"
    assert place.startswith("question.0")
    assert said.startswith(REFUSED[text].replace("line 1", "line 2")) or REFUSED[text] in said
    assert "\n" not in said
    study()
    with pytest.raises(UserError) as refused:
        load("trial.yaml", [f"question={text}"])
    said = str(refused.value).removeprefix(f"--set question={text}: ")
    assert "not readable" not in said, "it is read, and refused"
    assert said in REFUSED[text] or REFUSED[text] in said
    with pytest.raises(Unreadable, match=f"^{re.escape(said)}$"):
        value_of(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E3", 1000.0),
        ("-.5e-1", -0.05),
        ("10e1", 100.0),
        ("-1_000_000.5", -1000000.5),
        ("1_000e1", 10000.0),
        ("1.0e3", 1000.0),
        ("1_000", 1000),
        ("0.12345678901234567890", 0.12345678901234568),
        ('"a\\tb\\r"', "a\tb\r"),
        ("0x10", 16),
        ("0b11", 3),
        ("007", 7),
        ("!!float 1", 1.0),
        ("!!str 010", "010"),
        ("'2026-11-29'", "2026-11-29"),
        ("yes", True),
        ("off", False),
        ("~", None),
        (".inf", math.inf),
        ("{a: &x {b: 1, c: 2}, d: {<<: *x, c: 3}}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("{<<: [{a: 1, b: 1}, {b: 2, c: 2}], c: 3}", {"a": 1, "b": 1, "c": 3}),
        ("1:a", "1:a"),
        ("v1e3", "v1e3"),
    ],
)
def test_what_has_one_meaning_is_read(text: str, value: object) -> None:
    """Numbers as people write them; a key beside `<<` replaces the merged one."""
    found = value_of(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  - removed:",
            "  - name: no\n    removed:",
            "11: schedules.0.name: .*found False; a text such as no or on is",
        ),
        (
            "  - removed:",
            "  - name: 16\n    removed:",
            "11: schedules.0.name: must be text; write it in quotes, found 16",
        ),
        (
            "[4, 4, 0, 0]",
            "0-999999999999",
            "11: schedules.0.removed: .* are 1000000000000 numbers; a range has at most",
        ),
        ("[4, 4, 0, 0]", "[1:30, 4, 0, 0]", "11: schedules.0.removed.0: 1:30 is 90 in YAML"),
        ("img_size: 16", "img_size: '16'", "6: backbone.options.img_size: a number is needed, found the text '16'"),
        (
            "img_size: 16",
            "img_size: [16, '16']",
            "6: backbone.options.img_size: a number is needed, found the text '16'",
        ),
        ("img_size: 16", "img_size: 08", "6: backbone.options.img_size: a number is needed, found the text '08'"),
        ("img_size: 16", "img_size: []", r"6: backbone.options.img_size: a number or two, .* found \[\]"),
        ("img_size: 16", "img_size: 0", "6: backbone.options.img_size: at least 1, found 0"),
        ("img_size: 16", "img_size: 16, in_chans: 0", "6: backbone.options.in_chans: at least 1, found 0"),
        ("depth: 4", "depth: -4", "6: backbone.options.depth: at least 1, found -4"),
        ("img_size: 16", "img_size: yes", "6: backbone.options.img_size: a whole number is needed, found True"),
        ("img_size: 16", "img_size: 1.5", "6: backbone.options.img_size: a whole number is needed, found 1.5"),
        (
            "img_size: 16",
            "img_size: 16, in_chans: 1",
            "6: backbone.options.in_chans: the backbone takes 1 channels, and",
        ),
        ("img_size: 16", "img_size: 16, in_chans: ~", "6: backbone.options.in_chans: the backbone takes None channels"),
        ("img_size: 16", "img_size: 16, in_chans: '3'", "6: backbone.options.in_chans: a number is needed, found the"),
        *(
            (
                "img_size: 16",
                f"img_size: 16, qkv_bias: {text}",
                "6: backbone.options.qkv_bias: timm takes every text for t",
            )
            for text in ("n", "Y", "'no'", '"False"', "' off '")
        ),
        (
            "  - removed: [4, 4, 0, 0]",
            "  - {keep_rate: 0.7, blocks: (1, 2,3)}",
            '11: schedules.0.blocks: in braces a text with commas needs quotes; write blocks: "[(]1,2,3[)]"',
        ),
        ("seeds: [0, 1]", "seeds: 0-4", r"16: seeds: a list is needed, such as \[0, 1, 2\], found '0-4'"),
        ("seeds: [0, 1]", "seeds:", r"16: seeds: a list is needed, such as \[0, 1, 2\], found None"),
        ("depth: 4", "depth: [4]", r"6: backbone.options.depth: a number is needed, found the list \[4\]"),
        ("depth: 4", "depth: 1000000000", "6: backbone.options.depth: at most 1000, found 1000000000"),
        (
            "depth: 4",
            "depth: 4, drop_rate: '0.1'",
            "6: backbone.options.drop_rate: a number is needed, found the text '0.1'",
        ),
        ("depth: 4", "depth: 4, drop_rate: .nan", "6: backbone.options.drop_rate: must be a finite number"),
        ("seeds: [0, 1]", "seeds: 5", r"16: seeds: a list is needed, such as \[0, 1, 2\], found 5"),
        ("seeds: [0, 1]", "seeds: '5'", r"16: seeds: a list is needed, such as \[5\], found '5'"),
        ("task: classification", "task: [classification]", r"2: task: must be text, found \['classification'\]"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(old: str, new: str, message: str) -> None:
    """With what is needed instead, before a library says it in words of its own."""
    with pytest.raises(UserError, match=rf"^trial.yaml:{message}") as refused:
        study(old, new)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("seed", ["-1", "9007199254740992", "1.0", "1e3", "'0'", "yes", "few", "08", "~"])
def test_a_seed_that_the_table_cannot_take_is_refused(seed: str) -> None:
    """At once, not after hours; what the record can have is taken."""
    with pytest.raises(UserError, match=r"^trial.yaml:16: seeds"):
        study("seeds: [0, 1]", f"seeds: [{seed}]")
    assert study("seeds: [0, 1]", "seeds: [9007199254740991, 0x10, 1_000]").seeds == (2**53 - 1, 16, 1000)


def test_a_merged_key_is_found_where_it_is_written() -> None:
    """The line is that of the merged mapping; written twice in one mapping it is refused."""
    shared = STUDY.replace("recipe: {epochs: 1, ", "recipe: &r {epochs: few, ")
    Path("trial.yaml").write_text(shared.replace("finetune: {epochs: 1", "finetune: {<<: *r"))
    with pytest.raises(UserError, match=r"trial.yaml:8: finetune.epochs: must be a whole number, found 'few'"):
        load("trial.yaml")
    Path("trial.yaml").write_text(
        STUDY.replace("recipe: {", "recipe: &r {").replace("finetune: {epochs: 1", "finetune: {<<: *r, epochs: few")
    )
    with pytest.raises(UserError, match=r"trial.yaml:9: finetune.epochs: must be a whole number, found 'few'"):
        load("trial.yaml")
    with pytest.raises(
        UserError, match=r"^trial.yaml:9: finetune.<<: the key stands twice; .*; merge several in a list"
    ):
        study("finetune: {epochs: 1", "finetune: {<<: {epochs: 1}, <<: {images: 32}")


@pytest.mark.parametrize("change", ["a..b=1", "=1", ".=1", "a", "a." * 60 + "a=1"])
def test_a_change_without_a_place_or_a_value_is_refused(change: str) -> None:
    """No key is empty, and no study nests so deeply."""
    with pytest.raises(UserError, match="a change names a key and a value, such as finetune"):
        parsed([change])
    assert parsed([f"seeds.{'1' * 5000}=1"]) == {("seeds", "1" * 5000): 1}, "no number that Python reads"


@pytest.mark.parametrize("content", [b"question: caf\xe9", "question: x".encode("utf-16")])
def test_a_file_of_another_encoding_is_refused(content: bytes) -> None:
    """A study is UTF-8."""
    Path("trial.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"trial.yaml: not readable as YAML: 'utf-8' codec can't decode"):
        load("trial.yaml")


LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij"))
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in pairwise("abcdefghij")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LAUGHS}question: *j", "1: study: its aliases stand for more than 100000 values"),
        (f"{MERGES}question: *j", "1: study: its aliases stand for more than 100000 values"),
        ("question: " + "[" * 3000, " not readable as YAML: it nests more than 50 levels deep"),
        ("question: " + "{a: " * 3000, " not readable as YAML: it nests more than 50 levels deep"),
        ("question: x\n" + "#" * 2**18, None),
    ],
)
def test_files_that_would_never_end_are_refused_at_once(text: str, message: str | None) -> None:
    """In one line with code 2; what an alias stands for is looked at once."""
    Path("trial.yaml").write_text(STUDY.replace("question: Does it work?", text))
    before = time.process_time()
    done = here(Path(), "validate", "trial.yaml")
    assert time.process_time() - before < 20
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: trial.yaml:{message}" if message else "error: trial.yaml has 262")


@pytest.mark.parametrize(
    "option",
    [
        *("img_size='16'", "img_size=1:30", "depth=!!int x", "depth=&a [*a]", "img_size=[]"),
        *("init_values=abc", "weight_init=abc", "drop_path_rate=0.1"),
    ],
)
def test_options_of_the_command_line_are_read_alike(option: str) -> None:
    """`suite flops` and a study refuse the same."""
    done = here(Path(), "flops", "vit_tiny_patch16_224", "--option", option)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not done.stderr.endswith(": \n"), "there is a reason"
    assert "multiple values" not in done.stderr
