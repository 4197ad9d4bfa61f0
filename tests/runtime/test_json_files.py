"""JSON is read by one reader, which names the file, the line and what is wrong there."""

from typing import Any, NotRequired, TypedDict

import pytest

from iaat.errors import UserError
from iaat.runtime.files import append_json_line, write_json
from iaat.runtime.json_files import DamagedFileError, parse_json, read_json, read_json_lines


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
