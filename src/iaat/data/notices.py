"""What readers left out of the data or altered: counted by kind, with an example, and said once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from iaat.runtime.text import cut


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing that a user would not expect of the data.

    Attributes:
        what: Continues "17 ..." in a message. Of `{image|images}` and `[is|are]` the first goes with one, the second
            with more; the noun behind "1 of 17" is in the plural.
        fix: What to do about it, or the key that changes it; likewise.
        serious: Whether results may suffer: it is a warning then, else a plain message.
    """

    what: str
    fix: str
    serious: bool = True

    def words(self, count: int, *, of: bool) -> tuple[str, str]:
        """What and fix for so many; `of` is whether a larger number follows the count."""

        def fitting(text: str) -> str:
            text = re.sub(r"\{(.*?)\|(.*?)\}", lambda found: found[1 if count == 1 and not of else 2], text)
            return re.sub(r"\[(.*?)\|(.*?)\]", lambda found: found[1 if count == 1 else 2], text)

        return fitting(self.what), fitting(self.fix)


KINDS = {
    "unread": Kind("{image|images} left out, whose type is not read", "convert [it|them] to PNG or JPEG"),
    "other": Kind(
        "other {file|files} left out",
        "nothing to do unless [it is an image: that needs|they are images: those need] a usual suffix",
        False,
    ),
    "hidden": Kind("hidden {file or folder|files and folders} left out", "rename those that are wanted", False),
    "system": Kind(
        "{thumbnail, system file or folder|thumbnails and system files or folders} left out",
        "nothing to do unless the name is a class",
        False,
    ),
    "loose": Kind(
        "{image|images} left out, which [lies|lie] beside the class folders",
        "move [it into the folder of its class|them into the folders of their classes]",
    ),
    "link": Kind(
        "{link|links} not followed, which [leads to a folder above it|lead to a folder above them], to another class "
        "or to a folder that is read already",
        "put the images themselves in [its|their] place if they are wanted",
    ),
    "followed": Kind(
        "{link to a folder|links to folders} followed", "remove [it|them] if the images there are not wanted", False
    ),
    "split": Kind(
        "{folder|folders} that nothing uses", "data.validation NAME selects the checkpoint by it, or remove it"
    ),
    "member": Kind(
        "{member|members} of tar files left out, which [is|are] neither an image nor a class of a sample", "", False
    ),
    "array": Kind("other {array|arrays} left out", "image and label are what is read", False),
    "values": Kind("{value|values} left out of each item, behind (x, y)", "items are read as (input, class id)", False),
    "transparent": Kind(
        "{image|images} with transparent pixels, composed on data.background", "set it to another colour"
    ),
    "depth": Kind("{image|images} reduced to 8 bits", "models see 256 levels; nothing to do", False),
    "levels": Kind(
        "{image|images} [uses|use] less than a quarter of [its|their] format's levels",
        "set data.max_value to the largest level there can be, such as 4095 for 12 bits in 16",
    ),
    "dark": Kind(
        "{image|images} of 8 bits [uses|use] less than an eighth of [its|their] levels",
        "set data.max_value to the largest level there can be, unless [it is|they are] dark",
    ),
    "grey": Kind("colour {image|images} read as grey", "data.channels 3 keeps colour", False),
    "frames": Kind(
        "{image|images} of several frames or pages, of which the first is read", "save the others as files", False
    ),
    "single": Kind("{class|classes} with one training sample, of which none is held out", "add samples", False),
    "unicode": Kind("class {name|names} matched although written in another Unicode form", "nothing to do", False),
    "damaged": Kind(
        "{sample|samples} cannot be read, and [is|are] skipped as far as data.skip_damaged allows",
        "repair or remove [it|them]",
    ),
    "trained": Kind(
        "test {sample|samples} [is|are] in the training set, too",
        "accuracy will be overstated; remove [it|them] from one of the sets",
    ),
    "held out": Kind(
        "validation {sample|samples} [is|are] in the training set, too",
        "the selection will be biased; remove [it|them] from one of the sets",
    ),
    "twins": Kind(
        "{sample|samples} [has|have] a twin of another class",
        "no model is correct on both; remove or relabel [it|them]",
    ),
}
"""Every kind there is."""

_DETAILS = 6
_DARK_FRACTION = 0.1
"""A few dark photographs are nothing to tell of."""


@dataclass(slots=True)
class Notice:
    """How often something of one kind was met in one place.

    Attributes:
        where: Names the place, such as "training images of DIR".
        kind: One of `KINDS`.
        count: How often.
        example: The first one.
        details: The same by suffix, where that tells more.
        of: How many samples were looked at, where not all files were.
    """

    where: str
    kind: str
    count: int = 0
    example: str = ""
    details: dict[str, int] = field(default_factory=dict)
    of: int | None = None

    @property
    def serious(self) -> bool:
        """Whether results may suffer."""
        return KINDS[self.kind].serious

    def line(self) -> str:
        """The notice in one sentence."""
        what, advice = KINDS[self.kind].words(self.count, of=self.of is not None)
        among = "" if self.of is None else f" of {self.of:,}"
        most = sorted(self.details.items(), key=lambda item: (-item[1], item[0]))[:_DETAILS]
        more = ", ..." if len(self.details) > _DETAILS else ""
        details = f" ({', '.join(f'{name} {count:,}' for name, count in most)}{more})" if most else ""
        example = f", such as {cut(self.example)}" if self.example else ""
        fix = f": {advice}" if advice else ""
        return f"{self.where}: {self.count:,}{among} {what}{details}{example}{fix}"

    def record(self) -> dict[str, Any]:
        """The notice as plain values."""
        return {
            **{key: getattr(self, key) for key in ("where", "kind", "count", "example")},
            **({"details": self.details} if self.details else {}),
            **({"of": self.of} if self.of is not None else {}),
        }


class Notices:
    """All that was left out or altered, of one data set or of a part of it."""

    def __init__(self, notices: Iterable[Notice] = ()) -> None:
        self._notices: dict[tuple[str, str], Notice] = {}
        for notice in notices:
            self._notices[notice.where, notice.kind] = notice

    @classmethod
    def of(cls, records: Any) -> Notices:  # noqa: ANN401
        """The notices that `records` has made plain values of.

        Raises:
            ValueError: They are something else.
        """
        notices = cls()
        try:
            for record in records:
                notice = Notice(**record)
                texts = (notice.where, notice.kind, notice.example, *notice.details)
                numbers = (notice.count, *notice.details.values(), 0 if notice.of is None else notice.of)
                if notice.kind not in KINDS or not all(isinstance(text, str) for text in texts):
                    raise ValueError(f"{record} is no notice")
                if not all(type(number) is int and number >= 0 for number in numbers):
                    raise ValueError(f"{record} is no notice")
                notices._notices[notice.where, notice.kind] = notice
        except (TypeError, AttributeError) as error:
            raise ValueError(f"no notices: {error}") from error
        return notices

    def add(
        self, where: str, kind: str, example: str = "", *, count: int = 1, detail: str = "", of: int | None = None
    ) -> None:
        """Count something of one kind.

        Args:
            where: Names the place.
            kind: One of `KINDS`.
            example: Names the thing; the first is kept.
            count: How often it was met.
            detail: Suffix or the like to count it under, too.
            of: How many samples were looked at.
        """
        assert kind in KINDS
        if not count:
            return
        notice = self._notices.setdefault((where, kind), Notice(where, kind, example=example))
        notice.count += count
        notice.of = of
        if detail:
            notice.details[detail] = notice.details.get(detail, 0) + count

    def __iter__(self) -> Iterator[Notice]:
        """The notices, in the order in which their kinds came."""
        return iter(self._notices.values())

    def __len__(self) -> int:
        """Number of notices."""
        return len(self._notices)

    def __or__(self, other: Notices) -> Notices:
        """Those of both; of the same place and kind the other's."""
        return Notices([*self._notices.values(), *other._notices.values()])

    def records(self) -> list[dict[str, Any]]:
        """All of them as plain values."""
        return [notice.record() for notice in self._notices.values()]

    def worth_telling(self) -> list[Notice]:
        """Those that are said: a few dark images are not."""
        return [
            notice
            for notice in self._notices.values()
            if notice.kind != "dark" or notice.count >= _DARK_FRACTION * (notice.of or 1)
        ]

    def tell(self, say: Callable[[str], object], *, known: Notices | None = None, told: set[str] | None = None) -> None:
        """Say each notice that is not among those `known`: serious ones as warnings, the others by `say`.

        Args:
            say: Takes a line.
            known: Notices that were said.
            told: Lines that were said, of other runs on the same data; those said now join them.
        """
        told = set() if told is None else told
        before = {} if known is None else {key: notice.count for key, notice in known._notices.items()}
        for notice in self.worth_telling():
            if before.get((notice.where, notice.kind)) == notice.count:
                continue
            if (line := notice.line()) in told:
                continue
            told.add(line)
            if notice.serious:
                warnings.warn(line, UserWarning, stacklevel=2)
            else:
                say(line)
