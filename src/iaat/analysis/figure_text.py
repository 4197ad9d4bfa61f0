"""Text that comes from users: class names, run names. Cleaned and cut to the room there is."""

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def clean(text: str) -> str:
    """Return `text` on one line, with every unprintable character as a space."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of one line of `text` in inches, at a font size in points."""
    font = FontProperties(family=rcParams["font.family"], size=size, weight=weight)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def fit(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Return `text`, cleaned, and cut with an ellipsis where it is wider than `width` inches.

    Args:
        text: Anything.
        width: The room there is, in inches.
        size: The font size in points.
        weight: The font weight.
    """
    text = clean(text)
    if text_width(text, size, weight) <= width:
        return text
    shortest, longest = 0, len(text)
    while shortest < longest:
        middle = (shortest + longest + 1) // 2
        if text_width(text[:middle].rstrip() + ELLIPSIS, size, weight) <= width:
            shortest = middle
        else:
            longest = middle - 1
    return text[:shortest].rstrip() + ELLIPSIS


def put_title(figure: Figure, title: str | None) -> None:
    """Write `title`, if there is one, above the panels of `figure`, at the left, on one line."""
    if title:
        size = float(FontProperties(size=rcParams["figure.titlesize"]).get_size_in_points())
        text = fit(title, figure.get_figwidth() - 0.3, size, rcParams["figure.titleweight"])
        figure.suptitle(text, x=0.01, ha="left")
