"""What long work shows on a terminal, off one, and when quiet."""

import io
import itertools
import re
from contextlib import suppress

import pytest
from rich.console import Console
from rich.text import Text

from iaat.runtime.console_table import PlainTable
from iaat.runtime.progress import Reporter

MARKUP = "[bold]x[/nope] :smile: [1/2]"


def reporter(*, terminal=False, quiet=False, interval=0.0, width=100):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, highlight=False, color_system=None)
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


class Clock:
    """A clock that stands still but for `tick`."""

    now = 1000.0

    def __call__(self):
        return self.now

    def tick(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr("time.monotonic", found)
    return found


def lines_of(plain):
    """Name, counts and time left of each plain line."""
    lines = [line for line in printed(plain).splitlines() if "left" in line]
    return [
        (line.partition(": ")[0], line.partition(": ")[2].split(",")[0], line.rpartition(", ")[2]) for line in lines
    ]


def test_time_left_is_that_of_all_epochs_of_all_runs(clock):
    plain = reporter()
    for run in (1, 2):
        with plain.part("run", run, 2):
            for epoch in (1, 2, 3):
                with plain.part("epoch", epoch, 3):
                    for _ in plain.track(range(4), total=4, whole=True):
                        clock.tick(60)
            list(plain.track(range(2), total=2, what="pgd-20"))
    found = lines_of(plain)
    assert found[0] == ("run 1/2, epoch 1/3", "1/4", "23 min left")
    assert found[4] == ("run 1/2, epoch 2/3", "2/4", "18 min left")
    assert found[-1][0] == "run 2/2, pgd-20"
    assert ("run 2/2, epoch 3/3", "3/4", "60 s left") in found


def test_a_resumed_run_counts_what_it_does_itself(clock):
    plain = reporter()
    with plain.part("epoch", 9, 10, (0.85, 0.9)):
        for _ in plain.track(range(2), total=2, whole=True):
            clock.tick(60)
    assert lines_of(plain)[0] == ("epoch 9/10", "1/2", "5 min left")


def test_parts_that_cost_more_are_a_larger_part(clock):
    plain = reporter()
    with plain.part("run", 1, 2, (0.0, 0.1)):
        for _ in plain.track(range(2), total=2, whole=True):
            clock.tick(30)
    assert lines_of(plain)[0][-1] == "9.5 min left"


def test_steps_within_an_item_move_the_bar_and_the_lines(clock):
    plain = reporter()
    for _ in plain.track(range(2), total=2, what="square"):
        count = plain.counter("query", 4)
        for _ in range(3):
            clock.tick(1)
            count()
    assert [line for line in printed(plain).splitlines() if "query" in line][:2] == [
        "square: 0/2, query 1/4, 7 s left",
        "square: 0/2, query 2/4, 6 s left",
    ]


def test_lines_become_rarer(clock):
    plain, times = reporter(interval=30.0), []
    for _ in plain.track(range(5000), total=5000, what="long"):
        clock.tick(10)
        times.append(len(printed(plain).splitlines()))
    pauses = [b - a for a, b in itertools.pairwise(place for place, n in enumerate(times) if n > times[place - 1])]
    assert pauses[0] == 3
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_a_bar_is_never_cut(width):
    terminal = reporter(terminal=True, width=width)
    with terminal.part("run", 3, 6), terminal.part("epoch", 5, 12):
        list(terminal.track(range(4000), total=4000, whole=True))
    assert "4000/4000" in printed(terminal)
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed(terminal)


def test_a_bar_within_a_bar_is_the_same_bar():
    terminal = reporter(terminal=True)
    for _ in terminal.track(range(2), total=2, what="outer"):
        assert list(terminal.track(range(3), total=3, what="inner")) == [0, 1, 2]
    assert "outer" in printed(terminal)


def test_a_counter_without_work_or_when_quiet_counts_nothing():
    reporter().counter("query", 4)()
    quiet = reporter(quiet=True)
    for _ in quiet.track(range(2), total=2, what="square"):
        quiet.counter("query", 4)()
    assert printed(quiet) == ""


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
    table = PlainTable("runs")
    table.add_column("run")
    table.add_row(MARKUP)
    Reporter().result(table)
    assert MARKUP in capsys.readouterr().out


def test_long_lines_are_not_broken(capsys):
    path = "/a-folder" * 40
    Reporter().say(path)
    assert capsys.readouterr().out == f"{path}\n"


def test_prose_is_broken_between_words_on_a_terminal_alone():
    prose, width = "robust in the worst case " * 20, 60
    for terminal in (False, True):
        shown = reporter(terminal=terminal, width=width)
        shown.result(Text(prose))
        lines = printed(shown).splitlines()
        assert " ".join(" ".join(lines).split()) == prose.strip()
        assert (len(lines) == 1) is not terminal
        assert not terminal or max(map(len, lines)) <= width
        assert {word for line in lines for word in line.split()} == set(prose.split())


@pytest.mark.parametrize("terminal", [False, True])
def test_an_error_in_the_work_passes_through(terminal):
    def broken():
        yield 1
        raise InterruptedError

    shown, seen = reporter(terminal=terminal), []
    with pytest.raises(InterruptedError):
        seen.extend(shown.track(broken(), total=2, what="train"))


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_to_be_said_once_is(terminal):
    shown, quiet = reporter(terminal=terminal, width=40), reporter(quiet=True)
    for each in (shown, shown, quiet):
        each.say_once("a note that has some forty columns, and more")
    assert " ".join(printed(shown).split()) == "a note that has some forty columns, and more"
    assert len(printed(shown).splitlines()) == (2 if terminal else 1)
    assert shown.has_said("a note that has some forty columns, and more")
    assert printed(quiet) == ""
    assert not quiet.has_said("a note that has some forty columns, and more")


def test_notices_are_shown_once_inside_of_the_context_alone():
    reporter = Reporter(quiet=True)
    with suppress(KeyError), reporter.notices_once():
        assert reporter.shown_notices == set()
        raise KeyError
    assert reporter.shown_notices is None
