"""A table in LaTeX, with the rules of the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from suite.report.layout import Column, Table

LONG = 40  # rows; more do not fit a page
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
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
}
CODE = re.compile(r"`([^`]*)`")


def latex(table: Table) -> str:
    """The short form, because pages are narrow, to be read with input; more than 40 rows break over pages."""
    columns = table.shown("short")
    many = sum(len(block.rows) for block in table.blocks) > LONG
    packages = "booktabs and longtable" if many else "booktabs"
    around = _breaking if many else _floating
    return "\n".join([f"% \\usepackage for this table: {packages}", *around(table, columns), ""])


def escaped(text: str) -> str:
    """Text as LaTeX prints it; what stands between backticks in typewriter type."""
    plain = "".join(SPECIAL.get(character, character) for character in " ".join(text.split()))
    plain = re.sub(r"(^| )-(?=\d)", r"\1$-$", plain)
    return CODE.sub(r"\\texttt{\1}", plain)


def _floating(table: Table, columns: list[Column]) -> list[str]:
    return [
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        f"\\caption{{{escaped(table.caption)}}}",
        f"\\label{{tab:{_label(table)}}}",
        rf"\begin{{tabular}}{{{_letters(columns)}}}",
        r"\toprule",
        _heads(columns),
        *_rows(table, columns),
        r"\bottomrule",
        r"\end{tabular}",
        *_notes(table),
        r"\end{table}",
    ]


def _breaking(table: Table, columns: list[Column]) -> list[str]:
    return [
        rf"\begin{{longtable}}{{{_letters(columns)}}}",
        f"\\caption{{{escaped(table.caption)}}}\\label{{tab:{_label(table)}}}\\\\",
        r"\toprule",
        _heads(columns),
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *list(_rows(table, columns))[1:],
        r"\end{longtable}",
        *_notes(table),
    ]


def _rows(table: Table, columns: list[Column]) -> Iterator[str]:
    """Blocks, a rule above each; where there are several, their names too."""
    for block in table.blocks:
        yield r"\midrule"
        if len(table.blocks) > 1:
            yield rf"\multicolumn{{{len(columns)}}}{{@{{}}l}}{{\emph{{{escaped(block.name)}}}}} \\"
        for row in block.rows:
            yield " & ".join(escaped(row.text(column)) for column in columns) + r" \\"


def _notes(table: Table) -> Iterator[str]:
    if table.notes:
        yield r"\par\medskip"
        yield r"\noindent\begin{minipage}{\linewidth}\footnotesize"
        yield from (f"{escaped(str(note))}\\par" for note in table.notes)
        yield r"\end{minipage}"


def _letters(columns: list[Column]) -> str:
    return "@{}" + "".join(column.align[0] for column in columns) + "@{}"


def _heads(columns: list[Column]) -> str:
    """The headings, their words above one another."""
    stacked = (r" \\ ".join(map(escaped, column.heading.split())) for column in columns)
    return (
        " & ".join(
            rf"\shortstack[{column.align[0]}]{{{words}}}" for column, words in zip(columns, stacked, strict=True)
        )
        + r" \\"
    )


def _label(table: Table) -> str:
    return re.sub(r"[^A-Za-z0-9:-]", "-", table.name)
