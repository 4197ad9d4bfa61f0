"""Run the command and have it send itself signals at a call that is known, whatever else the machine does meanwhile.

    python sending.py SIGNAL[,SIGNAL] MODULE:FUNCTION CALL WORD ...

The signals come when the function, as that module knows it, is called for the CALL-th time, counted from 1.
"""

import importlib
import os
import signal
import sys
from pathlib import Path

PROGRAM = Path(__file__)
STEP = "iaat.train.trainer:take_step"
"""Called once a training step."""


def sending(signals, place, call, words):
    """The words of a process that runs the command's `words`, behind `-m iaat.cli.main`, and sends itself signals."""
    names = ",".join(each.name for each in signals)
    return [sys.executable, str(PROGRAM), names, place, str(call), *map(str, words)]


def _run():
    names, place, call, *words = sys.argv[1:]
    module, function = place.split(":")
    home = importlib.import_module(module)
    inner, left = getattr(home, function), int(call)

    def counted(*arguments, **settings):
        nonlocal left
        left -= 1
        if left == 0:
            for name in names.split(","):
                os.kill(os.getpid(), signal.Signals[name])
        return inner(*arguments, **settings)

    setattr(home, function, counted)
    from iaat.cli.main import entry

    sys.argv[1:] = words
    entry()


if __name__ == "__main__":
    _run()
