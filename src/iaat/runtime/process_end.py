"""How a process ends: with the one that started it, and without losing its exit code to others."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import NoReturn


def end_with_parent() -> None:
    """Have this process stop when its standard input ends, as it does with the process that holds its other end."""

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin: the interpreter would end with its lock held
            pass
        os.kill(os.getpid(), signal.SIGTERM)  # a signal to this thread would not interrupt what the main one waits for

    threading.Thread(target=wait, daemon=True).start()


def exit_process(code: int) -> NoReturn:
    """End this process with an exit code.

    After an error of one of several processes the connections between them are still open, and closing them while the
    others end can abort this process, which would lose its code. So it ends without closing them.
    """
    distributed = sys.modules.get("torch.distributed")  # not imported here: most commands end without PyTorch
    if code and distributed is not None and distributed.is_available() and distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
