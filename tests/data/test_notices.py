"""What was left out of the data or altered is said in plain sentences, once."""

import json
import re

import pytest

from iaat.data.notices import NOTICE_KINDS, Notices
from iaat.data.sample_log import SampleLog, SampleRecord, alteration_bits


def line(kind, count, **more):
    notices = Notices()
    notices.add("images", kind, count=count, **more)
    (notice,) = notices
    return notice.line()


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        (
            "other",
            "1 other file left out: nothing to do unless it is",
            "2 other files left out: nothing to do unless they",
        ),
        ("unread", "1 image left out, of a", "2 images left out, of a"),
        ("loose", "1 image left out, which lies beside", "2 images left out, which lie beside"),
        ("link", "1 link not followed, which leads to a folder above it", "2 links not followed, which lead to"),
        ("single", "1 class with one training sample", "2 classes with one"),
        ("damaged", "1 sample cannot be read, and is skipped", "2 samples cannot be read, and are skipped"),
    ],
)
def test_notices_are_in_the_singular_where_one_thing_was_met(kind, one, two):
    assert line(kind, 1).startswith(f"images: {one}")
    assert line(kind, 2).startswith(f"images: {two}")


@pytest.mark.parametrize("kind", NOTICE_KINDS)
@pytest.mark.parametrize("of", [None, 2000])
def test_every_kind_has_a_singular_and_no_notice_shows_its_forms(kind, of):
    one, two = (line(kind, count, of=of) for count in (1, 2))
    assert not re.search(r"[{}\[\]|]", one + two)
    assert of or one != two.replace(": 2 ", ": 1 ")


def test_one_of_several_keeps_its_noun_in_the_plural():
    assert line("trained", 1, of=10).startswith("images: 1 of 10 test samples is in the training set")


def test_a_notice_of_transparent_pixels_names_the_colour_behind_them():
    sample_log = SampleLog(3, where="images", background="#808080")
    sample_log.add([SampleRecord(0), SampleRecord(1, alteration_bits(["transparent"])), SampleRecord(2)])
    (notice,) = sample_log.notices()
    assert "1 of 3 images with transparent pixels, composed on data.background (#808080 1)" in notice.line()


def test_runs_on_the_same_data_say_a_notice_once():
    notices, said, logged = Notices(), [], set()
    notices.add("images", "other", "a.md")
    notices.log(said.append, logged=logged)
    notices.log(said.append, logged=logged)
    notices.add("images", "other", "b.md")
    notices.log(said.append, logged=logged)
    assert [text.split(" left")[0] for text in said] == ["images: 1 other file", "images: 2 other files"]


def test_notices_are_plain_values_and_come_back():
    notices = Notices()
    notices.add("images", "other", "a.md", detail=".md")
    notices.add("images", "dark", count=2, of=5)
    records = notices.to_records()
    assert records == [
        {"where": "images", "kind": "other", "count": 1, "example": "a.md", "details": {".md": 1}},
        {"where": "images", "kind": "dark", "count": 2, "example": "", "of": 5},
    ]
    assert Notices.from_records(json.loads(json.dumps(records))).to_records() == records


@pytest.mark.parametrize(
    "change", [{"kind": "none"}, {"where": 1}, {"count": -1}, {"count": True}, {"details": {".md": -1}}, {"of": 1.5}]
)
def test_records_that_are_no_notices_are_refused(change):
    with pytest.raises(ValueError):  # noqa: PT011
        Notices.from_records([{"where": "images", "kind": "other", "count": 1, "example": "", **change}])
    with pytest.raises(ValueError):  # noqa: PT011
        Notices.from_records(7)
