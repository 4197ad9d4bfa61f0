"""A run killed at any moment, also while it writes a checkpoint, ends bit for bit as the one that was never touched."""

import os
import random
import threading

import pytest

from helpers.killing import command, digest, killed, position, start

KILLS = int(os.environ.get("KILLS", "50"))
WINDOW = 3.2
# Two runs side by side, each killed so often that both together make 50: one of IAAT with a moving average of the
# weights and weight perturbation, one of single steps with a guard that looks at every other step.
RUNS = {
    "iaat": ("quickstart", "--train.ema", "0.9", "--train.awp", "0.005", "--data.crop", "1"),
    "guarded": ("quickstart", "--method.inner", "nfgsm", "--method.guard_every", "2", "--data.stream", "true"),
}


def finish(words):
    process = start(words)
    _, text = process.communicate()
    assert process.returncode == 0, text


def torture(name, folder, outcome):
    """Train once undisturbed, then again and again under kills; the digests of all, and what was seen."""
    try:
        draw = random.Random(name)
        finish(command(folder / "whole", *RUNS[name]))
        expected, kills, while_writing, ends = digest(folder / "whole"), 0, 0, 0
        number, places = 0, set()
        while kills < KILLS // len(RUNS):
            number += 1
            run = folder / f"broken{ends}"
            words = command(run, *RUNS[name])
            code, text, was_writing = killed(words, run, draw, while_writing=number % 3 == 0, window=WINDOW)
            assert code in (0, -9), text
            places.add(position(run))
            kills, while_writing = kills + (code == -9), while_writing + was_writing
            if code == 0:
                outcome[name, f"end {ends}"] = digest(run) == expected
                ends += 1
        finish(command(folder / f"broken{ends}", *RUNS[name]))
        outcome[name, f"end {ends}"] = digest(folder / f"broken{ends}") == expected
        outcome[name, "kills"], outcome[name, "while writing"] = kills, while_writing
        outcome[name, "places"] = len(places)
    except BaseException as error:  # a thread would lose it
        outcome[name, "error"] = error
        raise


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    found = {}
    threads = [threading.Thread(target=torture, args=(name, tmp_path_factory.mktemp(name), found)) for name in RUNS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(found)
    return found


def test_every_run_ends_as_the_undisturbed_one(outcome):
    assert not [error for (_, what), error in outcome.items() if what == "error"]
    assert sum(kills for (_, what), kills in outcome.items() if what == "kills") == KILLS
    ends = [same for (_, what), same in outcome.items() if what.startswith("end")]
    assert len(ends) >= len(RUNS)
    assert all(ends)


def test_the_kills_came_in_different_places(outcome):
    assert sum(count for (_, what), count in outcome.items() if what == "places") >= KILLS // 5


def test_some_kills_came_while_a_checkpoint_was_written(outcome):
    assert sum(count for (_, what), count in outcome.items() if what == "while writing") >= max(1, KILLS // 10)
