"""How much a report shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iaat.analysis.array_checks import suffix_of
from iaat.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Extent of a report.

    Attributes:
        images: Thumbnails in the gallery.
        details: Images of them that have details, at up to 402 forwards and 380 backwards each: suspects first.
        details_of: Positions in the training data of images that have details and are in the gallery, too.
        pictures: Whether to read the data and run the models at all.
        suspects: A `.csv` or `.parquet` file for the table of all suspects; None: not written.
        page: The page that is made by `iaat report`, for the commands on it; None: it is made by `FittedRun.report`.
    """

    images: int = 2000
    details: int = 40
    details_of: tuple[int, ...] = ()
    pictures: bool = True
    suspects: Path | None = None
    page: Path | None = None


def check_scope(scope: Scope, page: Path, figures: Path | None) -> None:
    """Check the options of a report before it is begun.

    Raises:
        UserError: naming the option.
    """
    for name, count in (("--images", scope.images), ("--details", scope.details)):
        if count < 0:
            raise UserError(f"{name} {count}: a number, 0 or more")
    for number in scope.details_of:
        if number < 0:
            raise UserError(f"--details-of {number}: images are numbered from 0")
    if scope.details_of and not scope.pictures:
        raise UserError("--details-of needs the data, which --no-images leaves out")
    if page.is_dir():
        raise UserError(f"--out {page} is a folder: give the name of a file, such as {page / 'report.html'}")
    if figures is not None and figures.is_file():
        raise UserError(f"--figures {figures} is a file: give a folder")
    if scope.suspects is not None:
        suffix_of(scope.suspects, ("csv", "parquet"))
        if not scope.pictures:
            raise UserError("--suspects needs the models' predictions, which --no-images leaves out")
