"""Text from users, such as class and file names, made safe for terminals and tables; durations and numbers as text."""

import unicodedata
from collections.abc import Iterable, Sequence

# They join or part letters in several scripts, and people in one emoji; alone they show nothing and do nothing.
_JOINERS = "\u200c\u200d"
_MARKDOWN = "&<>[]`*\\$"


def printable(text: str, *, encoding: str = "utf-8") -> str:
    r"""Text as a terminal may get it.

    Line ends and tabs stay. What a terminal would obey instead of showing it is written as Python would, such as
    `\x1b`: escape sequences and other control characters, marks that turn the direction of writing, bytes of a file
    name that are no UTF-8; so is what the encoding cannot hold. Unusual spaces become plain ones.

    Args:
        text: Anything.
        encoding: Of the terminal.

    Returns:
        Text that can be encoded.
    """
    if not text.isprintable():
        text = "".join(map(_shown, text))
    return text.encode(encoding, "backslashreplace").decode(encoding)


def one_line(text: str, *, encoding: str = "utf-8") -> str:
    """As `printable`, in one line, for a cell of a table."""
    return printable(text, encoding=encoding).replace("\n", "\\n").replace("\t", " ")


def cut(text: str, most: int = 500) -> str:
    """As `one_line`, for a part of a message: runs of space are one, and long text goes without its middle."""
    line = one_line(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most // 2]} ... {line[-most // 2 :]}"


def first_line(error: BaseException, most: int = 200) -> str:
    """As `cut`, the first line of what an error says; the name of its class where it says nothing."""
    return cut(str(error).strip().partition("\n")[0], most) or type(error).__name__


def first_few(names: Sequence[object], most: int, *, how_many: bool = True) -> str:
    """The first names of several, for a message: `a, b and 3 more`, or `a, b, ...` without `how_many`."""
    listed, left = ", ".join(map(str, names[:most])), len(names) - most
    if left <= 0:
        return listed
    return f"{listed} and {left} more" if how_many else f"{listed}, ..."


def counted(count: int, one: str) -> str:
    """A number of things: `1 seed`, `3 seeds`."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def composed(name: str) -> str:
    """A name in the Unicode form (NFC) in which names are compared: systems write `é` as one letter or as two."""
    return unicodedata.normalize("NFC", name)


def markdown(text: str) -> str:
    """As `one_line`, for a cell of a table in Markdown, where it is no markup and no HTML.

    A `|` stays: whoever puts the table together marks it.
    """
    return "".join(f"&#{ord(letter)};" if letter in _MARKDOWN else letter for letter in one_line(text))


def _shown(character: str) -> str:
    if character.isprintable() or character in "\n\t" or character in _JOINERS:
        return character
    if character.isspace() and ord(character) > 0x7F and character not in "\x85\u2028\u2029":
        return " "
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name, as Python decodes it
        code -= 0xDC00
    return character.encode("ascii", "backslashreplace").decode() if code > 0xFF else f"\\x{code:02x}"


def markdown_table(rows: Iterable[Sequence[str]], *, right: bool = False) -> str:
    """A table in Markdown.

    Args:
        rows: Cells, of the heading first; a `|` in them is escaped.
        right: Whether all columns but the first are aligned to the right.
    """
    heading, *rest = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    ruler = ["---", *["---:" if right else "---"] * (len(heading) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, ruler, *rest))


_UNITS = (("days", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


def format_duration(seconds: float) -> str:
    """Format a duration in the largest unit of which there are at least two: `3.2 days`, `35 h`."""
    unit, length = next(((unit, length) for unit, length in _UNITS if seconds >= 2 * length), _UNITS[-1])
    return f"{format_number(seconds / length)} {unit}"


def format_number(number: float) -> str:
    """Format a number with three digits, or all before the point: `0.0123`, `12.3`, `1,234`."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
