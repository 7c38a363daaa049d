"""A table in LaTeX by pandas, with the rules of booktabs, no wider than the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from suite.report.layout import Block, Table

LONG = 40  # rows; more do not fit a page
LINES, CHARACTERS = 50, 110  # of a page below the head of a table, and of a line of notes
SPECIAL = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row it would open an optional argument
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "—": "---",
    "Δ": r"$\Delta$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "°": r"\textdegree{}",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
}
CODE, MINUS = re.compile(r"`([^`]*)`"), re.compile(r"(^| )-(?=\d)")


def latex(table: Table) -> str:
    """The short form, to be read with input: rules of booktabs, scaled down where it is wider than the page.

    More than 40 rows stand in tables of a page each, under one number. Notes that do not fit below a table follow it.
    """
    import jinja2  # noqa: F401  (without what they need, pandas' styles do not say that it is missing)

    several = len(table.blocks) > 1
    blocks = [
        replace(block, rows=block.rows[start : start + LONG])
        for block in table.blocks
        for start in range(0, len(block.rows), LONG)
    ]
    notes, pages = _notes(table), _pages(blocks)
    below = len(pages) == 1 and sum(1 + len(block.rows) for block in blocks) + len(notes) / CHARACTERS < LINES
    parts = [_float(table, page, several, number, notes if below else "") for number, page in enumerate(pages)]
    return "".join(["% \\usepackage{adjustbox,booktabs}\n", *parts, "" if below else f"{notes}\n"])


def escaped(text: str) -> str:
    """Text as LaTeX prints it; what stands between backticks in typewriter type."""
    plain = "".join(SPECIAL.get(character, character) for character in " ".join(text.split()))
    return CODE.sub(r"\\texttt{\1}", MINUS.sub(r"\1$-$", plain))


def _pages(blocks: Sequence[Block]) -> list[list[Block]]:
    """Blocks, page by page: as many as there is room for on each."""
    pages: list[list[Block]] = [[]]
    for block in blocks:
        if pages[-1] and sum(len(one.rows) for one in [*pages[-1], block]) > LONG:
            pages.append([])
        pages[-1].append(block)
    return pages


def _float(table: Table, blocks: Sequence[Block], several: bool, page: int, notes: str) -> str:
    label, continued = re.sub(r"[^A-Za-z0-9:-]", "-", table.name), " (continued)" if page else ""
    once = "\\addtocounter{table}{-1}" if page else ""
    caption = f"{once}\\caption{{{escaped(table.caption)}{continued}}}" + ("" if page else f"\\label{{tab:{label}}}")
    return (
        f"\\begin{{table}}\n\\centering\\footnotesize\\setlength{{\\tabcolsep}}{{3pt}}\n{caption}\n"
        "\\begin{adjustbox}{max width=\\linewidth}\n"
        f"{_tabular(table, blocks, several)}\\end{{adjustbox}}\n{notes}\\end{{table}}\n"
    )


def _tabular(table: Table, blocks: Sequence[Block], several: bool) -> str:
    """Rows by pandas; a row of its own marks where a block begins, which a rule and, of several, its name replace."""
    columns = table.shown("short")
    blank = [""] * (len(columns) - 1)
    rows = [
        cells
        for index, block in enumerate(blocks)
        for cells in ([f"@@{index}", *blank], *([escaped(row.text(one)) for one in columns] for row in block.rows))
    ]
    stacked = (r" \\ ".join(map(escaped, column.heading.split())) for column in columns)
    heads = [rf"\shortstack[{one.align[0]}]{{{words}}}" for one, words in zip(columns, stacked, strict=True)]
    letters = "@{}" + "".join(column.align[0] for column in columns) + "@{}"
    text = pd.DataFrame(rows, columns=heads).style.hide(axis="index").to_latex(hrules=True, column_format=letters)
    begins = {}
    for index, block in enumerate(blocks):
        name = rf"\multicolumn{{{len(columns)}}}{{@{{}}l}}{{\emph{{{escaped(block.name)}}}}} \\" + "\n"
        begins[str(index)] = ("\\midrule\n" if index else "") + (name if several else "")
    return re.sub(r"^@@(\d+) .*\n", lambda found: begins[found[1]], str(text), flags=re.MULTILINE)


def _notes(table: Table) -> str:
    """The notes of the short form, as wide as the page."""
    notes = "".join(f"{escaped(str(note))}\\par\n" for note in table.notes_of("short"))
    return f"\\par\\medskip\n\\begingroup\\raggedright\\footnotesize\n{notes}\\endgroup\n" if notes else ""
