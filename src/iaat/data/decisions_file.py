"""Read tables of decisions on labels, such as the page of `iaat report` saves."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iaat.errors import UserError, did_you_mean, shown

DECISIONS = ("keep", "relabel", "unsure")
"""What a row may say. Only `relabel` changes a label; an empty decision is a row that nobody has looked at."""
REQUIRED = ("label", "new_label", "decision")
_EXPECTED = (
    f"expected are columns {', '.join(REQUIRED)} and index or path, as the page of `iaat report` saves them in"
    " relabel.csv"
)
_MOST_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Decision:
    """One row of a table of decisions.

    Attributes:
        place: Names file and row in messages.
        index: Position in the training data as written; "" where there is none.
        path: File of the sample; "" where there is none.
        label: Its class as written.
        new_label: The class that it gets, as written; "" where there is none.
        decision: One of `DECISIONS`, or "".
    """

    place: str
    index: str
    path: str
    label: str
    new_label: str
    decision: str


def read_decisions(file: Path) -> list[Decision]:
    """Read a table of decisions: a CSV file with a header, in UTF-8, with commas, semicolons or tabs.

    Columns other than `index`, `path`, `label`, `new_label` and `decision` may be there, as in the table of
    `iaat report --suspects`, and are ignored; blank rows are, too.

    Args:
        file: The file.

    Raises:
        UserError: It cannot be read or is no such table; the message has file, row and value.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "relabel.csv"
        >>> _ = file.write_text("index,label,new_label,decision\\n17,cat,dog,relabel\\n")
        >>> read_decisions(file)[0].new_label
        'dog'
    """
    where = f"data.relabel={file}"
    rows = _rows(_text(file, where), where)
    header = [name.strip().lower() for _, row in rows[:1] for name in row]
    if not header:
        raise UserError(f"{where}: the file is empty: {_EXPECTED}")
    if missing := [name for name in REQUIRED if name not in header]:
        raise UserError(
            f"{where}: row 1 has no column {missing[0]}, but {shown(','.join(header))}: {_EXPECTED}"
            f"{did_you_mean(missing[0], header)}"
        )
    if not {"index", "path"} & set(header):
        raise UserError(f"{where}: row 1 has neither a column index nor path: {_EXPECTED}")
    if twice := [name for name, count in Counter(header).items() if count > 1 and name]:
        raise UserError(f"{where}: row 1 has the column {twice[0]} twice: remove one")
    return [
        _decision(dict(zip(header, row, strict=False)), f"{where}: row {number}", row, header)
        for number, row in rows[1:]
    ]


def _text(file: Path, where: str) -> str:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise UserError(f"{where}: larger than {_MOST_BYTES >> 20} MiB: this is no table of decisions")
        content = file.read_bytes()
    except OSError as error:
        if not file.exists():
            raise UserError(f"{where}: there is no such file (seen from {Path.cwd()})") from error
        raise UserError(f"{where}: cannot be read ({error.strerror or error}): give a file that can be read") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{where}: row {row} is not in UTF-8 (byte {content[error.start]:#04x}): save it as CSV in UTF-8"
        ) from error


def _rows(text: str, where: str) -> list[tuple[int, list[str]]]:
    """Rows with their numbers from 1, as spreadsheets count; blank ones are left out."""
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = list(enumerate(reader, start=1))
    except csv.Error as error:
        raise UserError(f"{where}: line {reader.line_num} is no CSV ({error}): {_EXPECTED}") from error
    if broken := [number for number, row in rows if any("\0" in value for value in row)]:
        raise UserError(f"{where}: row {broken[0]} holds zero bytes: save it as CSV in UTF-8")
    return [(number, row) for number, row in rows if any(value.strip() for value in row)]


def _decision(values: Mapping[str, str], place: str, row: Sequence[str], header: Sequence[str]) -> Decision:
    if len(row) != len(header):
        raise UserError(
            f"{place} has {len(row)} values for {len(header)} columns ({shown(','.join(row))}): quote values that"
            " hold one"
        )
    decision = values["decision"].strip().lower()
    if decision not in ("", *DECISIONS):
        raise UserError(
            f"{place}: decision is {shown(values['decision'])}: write {', '.join(DECISIONS[:-1])} or {DECISIONS[-1]}"
            f"{did_you_mean(decision, DECISIONS)}"
        )
    return Decision(
        *(place, values.get("index", "").strip(), values.get("path", ""), values["label"], values["new_label"]),
        decision=decision,
    )
