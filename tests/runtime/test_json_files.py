"""JSON is read by one reader, which names the file, the line and what is wrong there."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired

import pytest
from typing_extensions import TypedDict

from iaat.errors import UserError
from iaat.runtime.files import append_json_line, write_json
from iaat.runtime.json_files import (
    Between,
    Count,
    DamagedFileError,
    Fraction,
    from_json,
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
    seconds: Annotated[float, Between(0)] = 0.0


GOOD = {
    **{"epoch": 3, "loss": None, "quantiles": {"5": 1, "95": 2.5}, "inner": {"low": 0.5, "names": ["a"]}},
    **{"parts": [{"low": 1.0}], "free": [None, {"x": True}], "unknown": "left out"},
}

WRONG = {
    b"": "it is not JSON",
    b"{": "it is not JSON",
    b"\xff\xfe": "it is not JSON .*can't decode",
    b"[" * 100_000: "it is not JSON .*recursion",
    b'{"epoch": ' + b"9" * 5000 + b"}": "a number of more than 300 digits",
    b"[]": r"it is \[\], which should be an object",
    b"7": "it is 7, which should be an object",
    b"null": "it is null, which should be an object",
    b"{}": "epoch is missing",
    b'{"epoch": 1.5}': "epoch is 1.5, which should be a valid integer",
    b'{"epoch": true}': "epoch is true, which should be a valid integer",
    b'{"epoch": 1, "loss": "x"}': 'loss is "x", which should be a valid number',
    b'{"epoch": 1, "loss": false}': "loss is false, which should be a valid number",
    b'{"epoch": 1, "quantiles": []}': r"quantiles is \[\], which should be an object",
    b'{"epoch": 1, "quantiles": {"5": null}}': "quantiles.5 is null, which should be a valid number",
    b'{"epoch": 1, "quantiles": {"\\u001b[31m": null}}': r"quantiles.\\x1b\[31m is null",
    b'{"epoch": 1, "inner": {"low": 1, "names": "a"}}': 'inner.names is "a", which should be a valid array',
    b'{"epoch": 1, "inner": {"names": []}}': "inner.low is missing",
    b'{"epoch": 1, "parts": [{"low": 1}, 2]}': "parts.1 is 2, which should be an object",
}


def test_values_of_the_right_type_come_back_without_keys_that_are_not_known(tmp_path):
    write_json(tmp_path / "a.json", GOOD)
    append_json_line(tmp_path / "a.jsonl", GOOD)
    known = {key: value for key, value in GOOD.items() if key != "unknown"}
    assert read_json(tmp_path / "a.json", Record) == known
    assert read_json_lines(tmp_path / "a.jsonl", Record).records == [known]


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


def test_a_last_line_without_an_end_is_distinguished(tmp_path):
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
    assert from_json({"epoch": 1, "loss": 10**299}, Record)["loss"] == 1e299


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
        ({"n": -1}, "n: -1 is not a finite number of at least 0"),
        ({"n": None}, "n is null, which should be a valid integer"),
        ({"parts": [{"name": "x"}]}, "parts.0.accuracy is missing"),
        ({"parts": [{"name": "x", "accuracy": 83.0}]}, "parts.0.accuracy: 83.0 is not a number from 0 to 1"),
        ({"parts": [{"name": "odd", "accuracy": 0}]}, "parts.0: no part is odd"),
        ({"parts": [{"name": "x", "accuracy": 0, "pair": [1]}]}, "parts.0.pair.1 is missing"),
        ({"parts": {}}, r"parts is {}, which should be a valid array"),
        ({"by_name": {"y": 7}}, "by_name.y is 7, which should be an object"),
        ({"kind": "c"}, "kind is \"c\", which should be 'a' or 'b'"),
        ({"radius": "wide"}, "radius: radius 'wide' cannot be read"),
        ({"radius": True}, "radius: radius True cannot be read"),
        ({"seconds": float("inf")}, "seconds: inf is not a finite number"),
        ({"seconds": float("nan")}, "seconds: nan is not"),
    ],
)
def test_what_a_dataclass_cannot_hold_is_named(change, reason):
    with pytest.raises(ValueError, match=reason):
        from_json(TYPED | change, Typed)


def test_an_older_form_is_upgraded_before_it_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"count": 3})
    assert read_json(tmp_path / "a.json", Typed, lambda old: {"n": old["count"]}) == Typed(n=3)


def test_a_whole_number_is_written_again_as_it_was():
    found = from_json({"n": 1, "seconds": 0}, Typed)
    assert repr(to_json(found)["seconds"]) == "0"
    assert repr(from_json({"n": 1, "seconds": 0.0}, Typed).seconds) == "0.0"
