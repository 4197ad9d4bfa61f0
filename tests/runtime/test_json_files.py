"""JSON is read by one reader, which names the file, the line and what is wrong there."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from iaat.errors import UserError
from iaat.runtime.files import append_json_line, write_json
from iaat.runtime.json_files import (
    Count,
    DamagedFileError,
    Fraction,
    between,
    from_json,
    parse_json,
    read_json,
    read_json_lines,
    to_json,
)
from iaat.units import Radius


class Inner(TypedDict):
    low: float
    names: NotRequired[list[str]]


class Record(TypedDict):
    epoch: int
    loss: NotRequired[float | None]
    quantiles: NotRequired[dict[str, float]]
    inner: NotRequired[Inner]
    parts: NotRequired[list[Inner]]
    free: NotRequired[Any]


@dataclass(frozen=True)
class Part:
    name: str
    accuracy: Fraction
    pair: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.name == "odd":
            raise UserError("no part is odd")


@dataclass(frozen=True, kw_only=True)
class Typed:
    n: Count
    parts: tuple[Part, ...] = ()
    by_name: dict[str, Part | None] = field(default_factory=dict)
    kind: Literal["a", "b"] | None = None
    radius: Radius | None = None
    seconds: Annotated[float, between(0)] = 0.0


GOOD = {
    **{"epoch": 3, "loss": None, "quantiles": {"5": 1, "95": 2.5}, "inner": {"low": 0.5, "names": ["a"]}},
    **{"parts": [{"low": 1.0}], "free": [None, {"x": True}], "unknown": "kept"},
}

WRONG = {
    b"": "it is not JSON",
    b"{": "it is not JSON",
    b"\xff\xfe": "it is not UTF-8",
    b"[" * 100_000: "nested too deeply",
    b'{"epoch": ' + b"9" * 5000 + b"}": "a number of 5000 digits",
    b'{"epoch": ' + b"9" * 200 + b"}": r"epoch is 9+\.\.\.9+, not a whole number",
    b"[]": r"it is \[\], not a record",
    b"7": "it is 7, not a record",
    b"null": "it is None, not a record",
    b"{}": "epoch is missing",
    b'{"epoch": 1.5}': "epoch is 1.5, not a whole number",
    b'{"epoch": true}': "epoch is True, not a whole number",
    b'{"epoch": 1, "loss": "x"}': "loss is 'x', not a number",
    b'{"epoch": 1, "loss": false}': "loss is False, not a number",
    b'{"epoch": 1, "quantiles": []}': r"quantiles is \[\], not a record",
    b'{"epoch": 1, "quantiles": {"5": null}}': "quantiles.5 is None, not a number",
    b'{"epoch": 1, "quantiles": {"\\u001b[31m": null}}': r"quantiles.\\x1b\[31m is None",
    b'{"epoch": 1, "inner": {"low": 1, "names": "a"}}': "inner.names is 'a', not a list",
    b'{"epoch": 1, "inner": {"names": []}}': "inner.low is missing",
    b'{"epoch": 1, "parts": [{"low": 1}, 2]}': "parts.1 is 2, not a record",
}


def test_values_of_the_right_type_come_back_with_keys_that_are_not_known(tmp_path):
    write_json(tmp_path / "a.json", GOOD)
    append_json_line(tmp_path / "a.jsonl", GOOD)
    assert read_json(tmp_path / "a.json", Record) == GOOD
    assert read_json_lines(tmp_path / "a.jsonl", Record).records == [GOOD]


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30].decode(errors="replace"))
def test_what_is_wrong_is_said_with_file_and_line_and_the_other_lines_are_read(tmp_path, text):
    whole, lines = tmp_path / "a.json", tmp_path / "a.jsonl"
    whole.write_bytes(text)
    with pytest.raises(DamagedFileError, match=rf"a\.json is damaged: .*{WRONG[text]}") as caught:
        read_json(whole, Record)
    lines.write_bytes(b'{"epoch": 1}\n' + text + b'\n{"epoch": 2}\n')
    found = read_json_lines(lines, Record)
    assert found.records == [{"epoch": 1}, {"epoch": 2}]
    assert found.damage == [str(caught.value).replace("a.json is", "a.jsonl, line 2 is")]
    assert len(found.damage[0]) < 500 + len(str(tmp_path))


def test_a_last_line_without_an_end_is_told_apart(tmp_path):
    log = tmp_path / "a.jsonl"
    log.write_bytes(b'{"epoch": 1}\n{"epo')
    found = read_json_lines(log, Record)
    assert (found.records, found.damage, found.cut) == ([{"epoch": 1}], [], f"{log}, line 2 is cut off")


def test_a_record_that_its_reader_finds_damaged_is_left_out(tmp_path):
    log = tmp_path / "a.jsonl"
    log.write_bytes(b'{"epoch": 1}\n{"epoch": 2}\n')
    found = read_json_lines(log, Record, lambda record: "even" if record["epoch"] % 2 == 0 else None)
    assert (found.records, found.damage) == ([{"epoch": 1}], [f"{log}, line 2 is damaged: even"])


def test_many_damaged_lines_are_one_warning_with_their_number(tmp_path):
    log = tmp_path / "a.jsonl"
    log.write_bytes(b"x\n" * 7)
    with pytest.warns(UserWarning, match=r"a\.jsonl, line 1 is damaged: .* \(and 6 more lines\); left out") as caught:
        read_json_lines(log, Record).warn("left out")
    assert len(caught) == 1


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: None], ids=["folder", "missing"])
def test_what_is_no_file_is_a_user_error(tmp_path, make):
    make(tmp_path / "a.json")
    with pytest.raises(UserError, match=r"a\.json is (no file|missing)"):
        read_json(tmp_path / "a.json", Record)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match=r"a\.jsonl is no file"):
        read_json_lines(tmp_path / "a.jsonl", Record)


def test_numbers_as_large_as_a_float_are_numbers():
    assert parse_json(b'{"epoch": 1, "loss": 1' + b"0" * 299 + b"}", Record)["loss"] == 10**299


TYPED = {
    "n": 3,
    "parts": [{"name": "x", "accuracy": 0.5, "pair": [1, 2]}],
    "by_name": {"y": {"name": "y", "accuracy": 1}, "z": None},
    "kind": "b",
    "radius": "8/255",
    "unknown": "left out",
}


def test_a_dataclass_comes_back_with_all_that_is_in_it():
    found = from_json(TYPED, Typed)
    part = Part("x", 0.5, (1, 2))
    assert found == Typed(n=3, parts=(part,), by_name={"y": Part("y", 1), "z": None}, kind="b", radius=Radius("8px"))
    assert from_json(to_json(found) | {"radius": "8px"}, Typed) == found
    assert "kind" not in to_json(Typed(n=1))
    assert to_json(found)["by_name"]["z"] is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"n": -1}, "n is -1, not a finite number of at least 0"),
        ({"n": None}, "n is None, not a whole number"),
        ({"parts": [{"name": "x"}]}, "parts.0.accuracy is missing"),
        ({"parts": [{"name": "x", "accuracy": 83.0}]}, "parts.0.accuracy is 83.0, not a number from 0 to 1"),
        ({"parts": [{"name": "odd", "accuracy": 0}]}, "parts.0: no part is odd"),
        ({"parts": [{"name": "x", "accuracy": 0, "pair": [1]}]}, "parts.0.pair has 1 entries, not 2"),
        ({"parts": {}}, r"parts is {}, not a list"),
        ({"by_name": {"y": 7}}, "by_name.y is 7, not a record"),
        ({"kind": "c"}, "kind is 'c', not one of a, b"),
        ({"radius": "wide"}, "radius: radius 'wide' cannot be read"),
        ({"radius": 7}, "radius is 7, not a length such as 8px"),
        ({"seconds": float("inf")}, "seconds is inf, not a finite number"),
        ({"seconds": float("nan")}, "seconds is nan"),
    ],
)
def test_what_a_dataclass_cannot_hold_is_named(change, reason):
    with pytest.raises(ValueError, match=reason):
        from_json(TYPED | change, Typed)


def test_an_older_form_is_upgraded_before_it_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"count": 3})
    assert read_json(tmp_path / "a.json", Typed, lambda old: {"n": old["count"]}) == Typed(n=3)
