"""Notices of what readers left out of the data or altered: counted by kind, with an example, logged once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from iaat.errors import shown
from iaat.runtime.json_files import Count, from_json
from iaat.runtime.text import cut


@dataclass(frozen=True, slots=True)
class NoticeKind:
    """Kind of notice: something a user would not expect of the data.

    Attributes:
        what: Continues "17 ..." in a message. Of `{image|images}` and `[is|are]` the first goes with one, the second
            with more; the noun behind "1 of 17" is in the plural.
        fix: What to do about it, or the key that changes it; likewise.
        serious: Whether results may suffer: it is a warning then, else a plain message.
    """

    what: str
    fix: str
    serious: bool = True

    def text(self, count: int, *, of: bool) -> tuple[str, str]:
        """Message and fix for a count; `of`: whether the total follows the count."""

        def fitting(text: str) -> str:
            text = re.sub(r"\{(.*?)\|(.*?)\}", lambda found: found[1 if count == 1 and not of else 2], text)
            return re.sub(r"\[(.*?)\|(.*?)\]", lambda found: found[1 if count == 1 else 2], text)

        return fitting(self.what), fitting(self.fix)


NOTICE_KINDS = {
    "unread": NoticeKind("{image|images} left out, of a type that is not read", "convert [it|them] to PNG or JPEG"),
    "other": NoticeKind(
        "other {file|files} left out",
        "nothing to do unless [it is an image: that needs|they are images: those need] a usual suffix",
        False,
    ),
    "hidden": NoticeKind("hidden {file or folder|files and folders} left out", "rename those that are wanted", False),
    "system": NoticeKind(
        "{thumbnail, system file or folder|thumbnails and system files or folders} left out",
        "nothing to do unless the name is a class",
        False,
    ),
    "loose": NoticeKind(
        "{image|images} left out, which [lies|lie] beside the class folders",
        "move [it into the folder of its class|them into the folders of their classes]",
    ),
    "link": NoticeKind(
        "{link|links} not followed, which [leads to a folder above it|lead to a folder above them], to another class "
        "or to a folder that is read already",
        "put the images themselves in [its|their] place if they are wanted",
    ),
    "followed": NoticeKind(
        "{link to a folder|links to folders} followed", "remove [it|them] if the images there are not wanted", False
    ),
    "split": NoticeKind(
        "{folder|folders} that nothing uses", "data.validation NAME selects the checkpoint by it, or remove it"
    ),
    "member": NoticeKind(
        "{member|members} of tar files left out, which [is|are] neither an image nor a class of a sample", "", False
    ),
    "array": NoticeKind("other {array|arrays} left out", "image and label are what is read", False),
    "values": NoticeKind(
        "{value|values} left out of each item, behind (x, y)", "items are read as (input, class id)", False
    ),
    "transparent": NoticeKind(
        "{image|images} with transparent pixels, composed on data.background", "set it to another colour"
    ),
    "depth": NoticeKind("{image|images} reduced to 8 bits", "models see 256 levels; nothing to do", False),
    "levels": NoticeKind(
        "{image|images} [uses|use] less than a quarter of [its|their] format's levels",
        "set data.max_value to the largest level there can be, such as 4095 for 12 bits in 16",
    ),
    "dark": NoticeKind(
        "{image|images} of 8 bits [uses|use] less than an eighth of [its|their] levels",
        "set data.max_value to the largest level there can be, unless [it is|they are] dark",
    ),
    "grey": NoticeKind("colour {image|images} read as grey", "data.channels 3 keeps colour", False),
    "frames": NoticeKind(
        "{image|images} of several frames or pages, of which the first is read", "save the others as files", False
    ),
    "relabelled": NoticeKind("{row|rows} [changes|change] a label", "the labels of the others stay as they are", False),
    "single": NoticeKind(
        "{class|classes} with one training sample, and so without a validation sample", "add samples", False
    ),
    "unicode": NoticeKind(
        "class {name|names} matched although written in another Unicode form", "nothing to do", False
    ),
    "damaged": NoticeKind(
        "{sample|samples} cannot be read, and [is|are] skipped as far as data.skip_damaged allows",
        "repair or remove [it|them]",
    ),
    "trained": NoticeKind(
        "test {sample|samples} [is|are] in the training set, too",
        "accuracy will be overstated; remove [it|them] from one of the sets",
    ),
    "held out": NoticeKind(
        "validation {sample|samples} [is|are] in the training set, too",
        "the selection will be biased; remove [it|them], or what equals [it|them] in training",
    ),
    "twins": NoticeKind(
        "{sample|samples} [has|have] a twin of another class",
        "no model is correct on both; remove or relabel [it|them]",
    ),
}
"""All kinds of notices."""

_DETAILS = 6
_DARK_FRACTION = 0.1
"""Below this fraction dark images are not logged: a few dark photographs are normal."""


@dataclass(slots=True)
class Notice:
    """Count of one kind in one place.

    Attributes:
        where: Names the place, such as "training images of DIR".
        kind: One of `NOTICE_KINDS`.
        count: How often.
        example: The first one.
        details: Count by suffix, where that says more.
        of: Number of samples that were read, where not all files were.
    """

    where: str
    kind: str
    count: Count = 0
    example: str = ""
    details: dict[str, Count] = field(default_factory=dict)
    of: Count | None = None

    @property
    def serious(self) -> bool:
        """Whether results may suffer."""
        return NOTICE_KINDS[self.kind].serious

    def line(self) -> str:
        """Notice as one sentence."""
        what, advice = NOTICE_KINDS[self.kind].text(self.count, of=self.of is not None)
        among = "" if self.of is None else f" of {self.of:,}"
        most = sorted(self.details.items(), key=lambda item: (-item[1], item[0]))[:_DETAILS]
        more = ", ..." if len(self.details) > _DETAILS else ""
        details = f" ({', '.join(f'{name} {count:,}' for name, count in most)}{more})" if most else ""
        example = f", such as {cut(self.example)}" if self.example else ""
        fix = f": {advice}" if advice else ""
        return f"{self.where}: {self.count:,}{among} {what}{details}{example}{fix}"


class Notices:
    """Notices of one data set, or of a part of it."""

    def __init__(self, notices: Iterable[Notice] = ()) -> None:
        self._notices: dict[tuple[str, str], Notice] = {}
        for notice in notices:
            self._notices[notice.where, notice.kind] = notice

    @classmethod
    def from_records(cls, records: Any) -> Notices:  # noqa: ANN401
        """Notices from the plain values of `to_records`.

        Raises:
            ValueError: They are something else.
        """
        notices = from_json(records, list[Notice])
        if unknown := [notice.kind for notice in notices if notice.kind not in NOTICE_KINDS]:
            raise ValueError(f"{shown(unknown[0])} is no kind of notice")
        return cls(notices)

    def add(
        self, where: str, kind: str, example: str = "", *, count: int = 1, detail: str = "", of: int | None = None
    ) -> None:
        """Count something of one kind.

        Args:
            where: Names the place.
            kind: One of `NOTICE_KINDS`.
            example: Names the thing; the first is kept.
            count: How often.
            detail: Suffix or the like to count it under, too.
            of: Number of samples that were read.
        """
        assert kind in NOTICE_KINDS
        if not count:
            return
        notice = self._notices.setdefault((where, kind), Notice(where, kind, example=example))
        notice.count += count
        notice.of = of
        if detail:
            notice.details[detail] = notice.details.get(detail, 0) + count

    def __iter__(self) -> Iterator[Notice]:
        """Iterate over the notices, in the order in which their kinds came."""
        return iter(self._notices.values())

    def __len__(self) -> int:
        """Number of notices."""
        return len(self._notices)

    def __or__(self, other: Notices) -> Notices:
        """Union; of the same place and kind the notice of `other` counts."""
        return Notices([*self._notices.values(), *other._notices.values()])

    def to_records(self) -> list[dict[str, Any]]:
        """Notices as plain values."""
        records = [asdict(notice) for notice in self]
        return [{key: value for key, value in each.items() if value is not None and value != {}} for each in records]

    def log(
        self, write: Callable[[str], object], *, known: Notices | None = None, logged: set[str] | None = None
    ) -> None:
        """Log each notice that is not among the `known` ones: serious ones as warnings, the others by `write`.

        Args:
            write: Takes a line.
            known: Notices that were logged before.
            logged: Lines that were logged before, of other runs on the same data; new ones are added.
        """
        logged = set() if logged is None else logged
        before = {} if known is None else {key: notice.count for key, notice in known._notices.items()}
        for notice in self:
            if notice.kind == "dark" and notice.count < _DARK_FRACTION * (notice.of or 1):
                continue
            line = notice.line()
            if before.get((notice.where, notice.kind)) == notice.count or line in logged:
                continue
            logged.add(line)
            if notice.serious:
                warnings.warn(line, UserWarning, stacklevel=2)
            else:
                write(line)
