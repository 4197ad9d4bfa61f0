"""What long work shows on a terminal, off one, and when quiet."""

import io
import re

import pytest
from rich.console import Console

from iaat.console_table import plain_table
from iaat.progress import Reporter

MARKUP = "[bold]x[/nope] :smile: [1/2]"


def reporter(*, terminal=False, quiet=False, interval=0.0):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, highlight=False, color_system=None)
    return Reporter(quiet=quiet, console=console, interval=interval)


def printed(reporter):
    return reporter.console.file.getvalue()


def test_off_a_terminal_lines_count_what_is_done():
    plain = reporter()
    batches = [[1, 2, 3], [4, 5, 6], [7]]
    assert list(plain.track(batches, total=7, what="evaluate", size=len)) == batches
    counts = re.findall(r"^evaluate: (\d)/7, \d+/s, \d+ s left$", printed(plain), flags=re.MULTILINE)
    assert counts == ["3", "6"]


def test_lines_keep_their_interval():
    slow = reporter(interval=1e6)
    assert list(slow.track("abc", total=3, what="train")) == ["a", "b", "c"]
    assert printed(slow) == ""


def test_on_a_terminal_a_bar_shows_the_counts():
    terminal = reporter(terminal=True)
    assert list(terminal.track(iter(range(5)), total=5, what="evaluate")) == [0, 1, 2, 3, 4]
    assert "evaluate" in printed(terminal)
    assert "5/5" in printed(terminal)


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_prints_results_only(terminal):
    quiet = reporter(quiet=True, terminal=terminal)
    quiet.say("on the way")
    assert list(quiet.track(range(3), total=3, what="evaluate")) == [0, 1, 2]
    assert printed(quiet) == ""
    quiet.result("the result")
    assert printed(quiet) == "the result\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_text_is_printed_as_it_is(terminal):
    shown = reporter(terminal=terminal)
    shown.say(MARKUP)
    shown.result(MARKUP)
    assert printed(shown) == f"{MARKUP}\n" * 2
    list(shown.track(range(2), total=2, what="[bold]run[/nope]"))
    assert "[bold]run[/nope]" in printed(shown)


def test_names_in_a_table_are_printed_as_they_are(capsys):
    table = plain_table("runs")
    table.add_column("run")
    table.add_row(MARKUP)
    Reporter().result(table)
    assert MARKUP in capsys.readouterr().out


def test_long_lines_are_not_broken(capsys):
    path = "/a-folder" * 40
    Reporter().say(path)
    assert capsys.readouterr().out == f"{path}\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_an_error_in_the_work_passes_through(terminal):
    def broken():
        yield 1
        raise InterruptedError

    shown, seen = reporter(terminal=terminal), []
    with pytest.raises(InterruptedError):
        seen.extend(shown.track(broken(), total=2, what="train"))
