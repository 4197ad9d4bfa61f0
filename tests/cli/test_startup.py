"""What answers at once: help, lists and misspelt names import no PyTorch, whatever the speed of the machine."""

import pkgutil
import subprocess
import sys

import pytest

import iaat
import iaat.cli.commands
from iaat.cli.parser import COMMANDS

WITHOUT_TORCH = """
import sys
from iaat.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
assert "torch" not in sys.modules
sys.exit(code)
"""


def answer(*words):
    """Exit code, output and errors of a command in a process that has not imported torch afterwards."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True)
    assert "Error" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_names_all_commands(words):
    code, out, _ = answer(*words)
    assert code == 0
    assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command):
    code, out, _ = answer(command, "--help")
    assert code == 0
    assert f"usage: iaat {command}" in out


def test_version():
    assert answer("--version") == (0, f"iaat {iaat.__version__}\n", "")


def test_recipes_are_listed():
    code, out, _ = answer("recipes")
    assert code == 0
    assert "quickstart-pgd-at" in out


def test_a_misspelt_command_is_answered_by_the_nearest():
    code, out, err = answer("trian", "quickstart")
    assert (code, out) == (2, "")
    assert "did you mean 'train'" in err


@pytest.mark.parametrize(
    "words",
    [
        ["train", "quikstart"],
        ["check", "quikstart"],
        ["train", "quikstart", "--help"],
        ["compare", "folder-iaat", "quikstart"],
    ],
)
def test_a_misspelt_recipe_is_answered_by_the_nearest(words):
    code, out, err = answer(*words)
    assert (code, out) == (2, "")
    assert "did you mean 'quickstart'" in err


def test_every_command_but_recipes_has_a_module_of_its_own():
    modules = {module.name for module in pkgutil.iter_modules(iaat.cli.commands.__path__)}
    assert {*modules, "recipes"} == set(COMMANDS)


def test_import_of_the_package_imports_torch_when_a_name_is_used():
    code = (
        "import sys, iaat; assert 'torch' not in sys.modules; iaat.UserError, iaat.PIXEL, iaat.__version__;"
        "assert 'torch' not in sys.modules; iaat.pgd; assert 'torch' in sys.modules; iaat.data.with_index"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_commands_import_what_only_some_of_them_need_when_they_need_it():
    code = (
        "import sys; from iaat.cli.main import main; assert main(['check', 'cifar10-small-iaat']) == 0;"
        "print({'matplotlib', 'jinja2', 'pyautoattack', 'pyarrow', 'sklearn', 'scipy.stats', 'torch._dynamo'} "
        "& sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_all_names_of_the_package_are_there():
    assert all(getattr(iaat, name) is not None for name in iaat.__all__)
    assert set(iaat.__all__) <= set(dir(iaat))
    assert iaat.pgd is iaat.attacks.pgd
    with pytest.raises(AttributeError, match="no attribute 'pdg'"):
        _ = iaat.pdg
