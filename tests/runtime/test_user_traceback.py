"""An error inside the user's own code shows the user's lines, and ends with the code of a mistake."""

import sys

import pytest

import iaat.runtime.user_code
from iaat.cli.main import main
from iaat.runtime.user_traceback import register, users_traceback

CODE = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

from iaat.methods import Natural


def helper(value):
    return 1 / value


def network(shape, classes):
    return nn.Linear(helper(0), classes)


def data(split):
    return torch.zeros(3) @ torch.zeros(4)


class Items(torch.utils.data.Dataset):
    targets = [0, 1] * 20

    def __len__(self):
        return 40

    def __getitem__(self, position):
        if position == 7:
            raise KeyError(f"no picture {position}")
        return torch.zeros(1, 8, 8), position % 2


def items(split):
    return Items()


class Slip(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        return self.linear(x.flatten(1)) * helper(0)


class Mine(Natural):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.broken = {}["nothing"]


class Late(Natural):
    def prepare(self, *arguments, **more):
        raise RuntimeError("late")
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(iaat.runtime.user_code, "_TRUSTED", set())
    (tmp_path / "their_code.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "their_slip.py").write_text("import torch\n\ndef network(:\n    pass\n", encoding="utf-8")
    (tmp_path / "their_import.py").write_text("import torch\nimport no_such_library\n", encoding="utf-8")
    yield
    for name in ("their_code", "their_slip", "their_import"):
        sys.modules.pop(name, None)


FAST = ["--data.limit", "40", "--train.epochs", "1", "--train.validation_steps", "1", "--evaluate.n", "5", "--quiet"]
NETWORK = ["--model.width", "null", "--model.name"]
CASES = {
    "model": ([*NETWORK, "their_code:network"], "ZeroDivisionError: division by zero", "return 1 / value", "in helper"),
    "data": (["--data.name", "their_code:data"], "RuntimeError: ", "return torch.zeros(3) @ torch.zeros(4)", "in data"),
    "method": (["--method", "their_code:Mine"], "KeyError: 'nothing'", 'self.broken = {}["nothing"]', "in __init__"),
    "step": (["--method", "their_code:Late"], "RuntimeError: late", 'raise RuntimeError("late")', "in prepare"),
    "syntax": ([*NETWORK, "their_slip:network"], "SyntaxError: invalid syntax", "def network(:", "line 3"),
    "import": ([*NETWORK, "their_import:network"], "ModuleNotFoundError: ", "import no_such_library", "line 2"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_users_lines_are_shown_and_no_others(capsys, case):
    words, error, code, place = CASES[case]
    assert main(["train", "quickstart-natural", "--out", "run", *words, *FAST]) == 2
    said = capsys.readouterr().err
    assert f"error: your code failed: {error}" in said
    assert "their_" in said
    assert code in said
    assert place in said
    assert "/iaat/" not in said
    assert "site-packages" not in said
    assert "Traceback" not in said


def test_an_error_in_a_forward_names_the_line(capsys):
    assert main(["train", "quickstart-natural", "--out", "run", *NETWORK, "their_code:Slip", *FAST]) == 2
    said = capsys.readouterr().err
    assert "cannot take inputs" in said
    assert "their_code.py, line 10: return 1 / value)" in said


def test_an_error_in_an_item_names_item_and_line_in_reader_processes_as_well(capsys):
    for words in ([], ["--data.stream", "true", "--data.workers", "1", "--train.batch_size", "8"]):
        command = ["train", "quickstart-natural", "--data.name", "their_code:items", "--out", "run", *words, *FAST]
        assert main(command) == 2
        said = capsys.readouterr().err
        assert "KeyError: 'no picture 7'" in said
        assert "item 7 of data.name=their_code:items" in said
        assert "their_code.py, line" in said
        assert "Traceback" not in said
        assert "/iaat/" not in said


def test_a_mistake_of_ours_is_not_put_down_to_the_user(monkeypatch):
    def broken(*_arguments, **_more):
        raise RuntimeError("ours")

    with pytest.raises(ValueError, match="of nobody") as caught:
        raise ValueError("of nobody")
    assert "test_user_traceback" in users_traceback(caught.value)  # seen from here this file is the user's
    monkeypatch.setattr("iaat.runtime.user_traceback._is_users", lambda _file: False)
    monkeypatch.setattr("iaat.cli.main.parse_arguments", broken)
    with pytest.raises(RuntimeError, match="ours"):
        main(["check", "quickstart"])


def test_iaats_own_modules_stay_its_own_when_they_are_named():
    register(iaat.runtime.user_code)
    try:
        users_traceback(None)
    except AttributeError as error:
        lines = users_traceback(error)
    assert "/user_traceback.py" not in lines
    assert __file__ in lines
