"""The commands, a module each. They import PyTorch and more, so `iaat.cli.main` imports them last."""

from __future__ import annotations

import argparse
from importlib import import_module

from iaat.runtime.device import keep_freed_memory
from iaat.runtime.progress import Reporter


def run_command(options: argparse.Namespace, overrides: list[str]) -> None:
    """Run the command that was parsed, with recipe keys and their values.

    `options` have `stop`, `arguments` as typed, and the list `runs`, which gets the folders of all runs it trains.

    Raises:
        UserError: a mistake in the input.
        Stopped: a stop was asked for.
    """
    keep_freed_memory()
    module = import_module(f"{__name__}.{options.command}")
    command = getattr(module, f"{options.command}_command")
    command(options, overrides, Reporter(quiet=getattr(options, "quiet", False)))
