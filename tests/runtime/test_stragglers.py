"""What `wait_for` makes of the ends of a collective, one by one."""

import pytest

from iaat.runtime.stragglers import wait_for


class Work:
    """A collective for which a wait with a timeout ends as in `turns`, the last of them for ever."""

    def __init__(self, *turns, completed):
        self.turns, self.completed, self.waits = list(turns), list(completed), 0

    def wait(self, timeout=None):
        self.waits += 1
        outcome = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        if outcome is not None:
            raise RuntimeError(outcome)

    def is_completed(self):
        return self.completed.pop(0)


def test_a_collective_that_takes_several_turns_is_waited_for():
    work = Work("Operation timed out!", "Operation timed out!", None, completed=[False, False])
    wait_for(work)
    assert work.waits == 3


def test_a_collective_that_is_done_just_after_a_turn_has_not_failed():
    wait_for(Work("Operation timed out!", None, completed=[True]))


def test_a_collective_that_fails_raises_its_own_error():
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        wait_for(Work("Operation timed out!", "Connection closed by peer", completed=[False, True]))
