"""Finished work is remembered, and only for the same question."""

import json

import pytest

from iaat.evaluate.journal import Journal

IDENTITY = {"model": "abc", "evaluate": {"radius": "8px", "levels": (1, 2)}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evaluation" / "journal.jsonl"


class Counting:
    """A computation that says how often it was done."""

    def __init__(self, value):
        self.value, self.calls = value, 0

    def __call__(self):
        self.calls += 1
        return self.value


def test_a_unit_is_computed_once_and_survives_the_process(path):
    work = Counting({"broken": [True, False], "size": [0.1, float("nan")], "forward": 2})
    first = Journal(path, IDENTITY).unit("pgd-20#0", work)
    journal = Journal(path, IDENTITY)
    again = journal.unit("pgd-20#0", work)
    assert work.calls == 1
    assert "pgd-20#0" in journal
    assert json.dumps(first) == json.dumps(again)


def test_floats_come_back_to_the_last_bit(path):
    value = [0.1 + 0.2, 1 / 3, 8 / 255, 1e-300]
    Journal(path, IDENTITY).unit("size", lambda: value)
    assert Journal(path, IDENTITY).unit("size", Counting(None)) == value


@pytest.mark.parametrize("other", [{**IDENTITY, "model": "abd"}, {}, {**IDENTITY, "seed": 0}])
def test_another_question_starts_anew(path, other):
    Journal(path, IDENTITY).unit("clean#0", lambda: 1)
    assert "clean#0" not in Journal(path, other)
    assert "clean#0" not in Journal(path, IDENTITY)


@pytest.mark.parametrize("cut", range(1, 31))
def test_a_line_cut_short_costs_its_unit_alone(path, cut):
    journal = Journal(path, IDENTITY)
    journal.unit("clean#0", lambda: [1, 2, 3])
    journal.unit("pgd-20#0", lambda: [4, 5, 6])
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path, IDENTITY)
    assert journal.unit("clean#0", Counting(None)) == [1, 2, 3]
    work = Counting([4, 5, 6])
    journal.unit("pgd-20#0", work)
    assert work.calls == 1
    assert Journal(path, IDENTITY).unit("pgd-20#0", Counting(None)) == [4, 5, 6]


@pytest.mark.filterwarnings("ignore:.*journal.jsonl, line 1 is damaged:UserWarning")
@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"not json\n", b"[]\n", b'{"unit": "clean#0", "value": 7}\n'])
def test_a_damaged_file_is_started_anew(path, damage):
    path.parent.mkdir()
    path.write_bytes(damage)
    assert Journal(path, IDENTITY).unit("clean#0", lambda: 1) == 1
    assert Journal(path, IDENTITY).unit("clean#0", lambda: 2) == 1


def test_a_failing_unit_leaves_no_trace(path):
    journal = Journal(path, IDENTITY)
    with pytest.raises(ZeroDivisionError):
        journal.unit("clean#0", lambda: 1 / 0)
    assert "clean#0" not in journal
    assert "clean#0" not in Journal(path, IDENTITY)


def test_parts_share_the_file_and_keep_their_names_apart(path):
    journal = Journal(path, IDENTITY)
    part = journal.part("train")
    assert (journal.unit("clean#0", lambda: 1), part.unit("clean#0", lambda: 2)) == (1, 2)
    again = Journal(path, IDENTITY)
    assert "train/clean#0" in again
    assert again.part("train").unit("clean#0", Counting(None)) == 2
    assert again.part("train").part("deep").unit("x", lambda: 3) == 3
    assert "train/deep/x" in Journal(path, IDENTITY)


def test_without_a_file_values_last_as_long_as_the_journal():
    journal, work = Journal(None, {}), Counting(5)
    assert [journal.unit("a", work), journal.unit("a", work)] == [5, 5]
    assert work.calls == 1
