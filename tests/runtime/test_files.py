"""A file is whole or as it was before, whatever happens while it is written."""

import errno
import json
import os
from typing import Any

import pytest

from iaat.errors import UserError
from iaat.runtime.files import append_json_line, replacing, user_path, write_json, write_text
from iaat.runtime.json_files import read_json_lines


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/run") == tmp_path / "run"
    assert [str(user_path(each)) for each in ("run~", "a/~", "~nobody-of-this-name/x")] == [
        *("run~", "a/~", "~nobody-of-this-name/x")
    ]


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    return path


def unchanged(path):
    return path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_a_file_appears_at_once_and_whole(old):
    with replacing(old) as temporary:
        temporary.write_text("new")
        assert old.read_text() == "old"
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


def test_folders_are_made_on_the_way(tmp_path):
    write_json(tmp_path / "a" / "b" / "c.json", {"x": [1, None]})
    assert json.loads((tmp_path / "a" / "b" / "c.json").read_text()) == {"x": [1, None]}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, UserError])
def test_an_exception_while_writing_leaves_the_old_file_alone(old, error):
    def write():
        with replacing(old) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert unchanged(old)


def test_a_full_disk_is_a_user_error_and_leaves_the_old_file(old, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"file\.txt: No space left.*free space"):
        write_text(old, "new")
    assert unchanged(old)


@pytest.mark.parametrize("place", ["file.txt/inside.txt", "file.txt/a/b.txt", "x" * 300])
def test_where_nothing_can_be_written_is_a_user_error(old, place):
    for write in (lambda path: write_text(path, "new"), lambda path: append_json_line(path, {})):
        with pytest.raises(UserError, match="cannot write"):
            write(old.parent / place)
    assert unchanged(old)


def test_json_lines_come_back_as_they_were_written(tmp_path):
    records = [{"epoch": 1, "loss": 0.1}, {"text": "two\nlines\u2028\x85 ünï", "deep": {"a": [None, True]}}, {}]
    assert read_json_lines(tmp_path / "log.jsonl", dict[str, Any]).records == []
    for record in records:
        append_json_line(tmp_path / "log.jsonl", record)
    assert read_json_lines(tmp_path / "log.jsonl", dict[str, Any]).records == records
