"""Options reach the command, also past a launcher that reads them first."""

import argparse

import pytest
from torch.distributed.run import get_args_parser

from iaat.cli.parser import command_parser, parse_arguments
from iaat.config.short_options import _KNOWN


def options():
    """All options of all commands, but old names, which no help shows."""
    (commands,) = (each for each in command_parser()._actions if isinstance(each, argparse._SubParsersAction))
    actions = [action for parser in commands.choices.values() for action in parser._actions]
    own = [name for action in actions if action.help != argparse.SUPPRESS for name in action.option_strings]
    short = [f"--{name}" for name in _KNOWN]
    return sorted({*own, *short, "--version", "--seed", "--method", "--train.epochs", "--evaluate.n", "--no-such"})


@pytest.mark.parametrize("option", options())
def test_torchrun_passes_on_every_option(option):
    typed = ["evaluate", "RUN", option, "200"]
    assert get_args_parser().parse_args(["--standalone", "-m", "iaat", *typed]).training_script_args == typed
    theirs = [name for action in get_args_parser()._actions for name in action.option_strings]
    longer = [name for name in theirs if name.startswith(option) and name != option]
    assert not longer


def test_the_number_of_samples_goes_by_its_old_name_too():
    with pytest.warns(UserWarning, match="--n is --samples now"):
        by_old, _ = parse_arguments(["evaluate", "RUN", "--n", "200"])
    assert by_old.samples == parse_arguments(["evaluate", "RUN", "--samples", "200"])[0].samples == 200


@pytest.mark.parametrize("command", ["train", "compare", "evaluate", "radii", "report", "export"])
def test_a_tilde_that_no_shell_has_replaced_is_the_home_folder(command, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    options, _ = parse_arguments([command, "RUN", "--out=~/there"])
    assert options.out == tmp_path / "there"


def test_the_help_of_check_says_that_any_recipe_key_can_follow(capsys):
    with pytest.raises(SystemExit):
        command_parser().parse_args(["check", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "Any recipe key can follow" in shown
    assert "has moved" not in shown
