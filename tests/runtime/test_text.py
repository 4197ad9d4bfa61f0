"""Parts of messages: the first line of an error, the first of many names, a number of things."""

import pytest

from iaat.runtime.text import counted, first_few, first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no\nCUDA"), "no"),
        (ValueError("\n  behind a line \n\nmore"), "behind a line"),
        (NotImplementedError(), "NotImplementedError"),
        (ValueError("a \x1b[1mb"), r"a \x1b[1mb"),
    ],
)
def test_an_error_is_the_first_line_of_its_message_or_its_class(error, line):
    assert first_line(error) == line


def test_a_long_line_goes_without_its_middle():
    assert first_line(ValueError("a" * 30 + "b" * 30), 20) == f"{'a' * 10} ... {'b' * 10}"


@pytest.mark.parametrize(
    ("names", "with_number", "without"),
    [
        ([], "", ""),
        (["a", "b"], "a, b", "a, b"),
        (["a", "b", "c"], "a, b and 1 more", "a, b, ..."),
        (range(5), "0, 1 and 3 more", "0, 1, ..."),
    ],
)
def test_of_many_names_the_first_are_there_and_that_there_are_more(names, with_number, without):
    assert first_few(names, 2) == with_number
    assert first_few(names, 2, how_many=False) == without


def test_one_is_singular():
    assert [counted(count, "seed") for count in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
