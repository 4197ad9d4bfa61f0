"""docs/howto/python.md works as written."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

import iaat
from iaat.config.python_settings import written_settings
from iaat.methods import METHODS

HOWTO = (Path(__file__).parents[2] / "docs/howto/python.md").read_text(encoding="utf-8")
FIRST, KEPT, LOADED = re.findall(r"```python\n(.*?)```", HOWTO, flags=re.DOTALL)


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(48, 3))


def data(n):
    return TensorDataset(torch.rand(n, 3, 4, 4), torch.arange(n) % 3)


def test_the_page_from_the_first_line_to_the_last(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for name in ("a.png", "b.png", "image.png"):
        Image.new("RGB", (4, 4), (200, 10, 10)).save(name)
    names = {"net": Net(), "Net": Net, "train_data": data(60), "test_data": data(15)}
    quick = 'epochs=1, quiet=True, device="cpu"'
    for code in (FIRST, KEPT, LOADED):
        exec(compile(code.replace("epochs=30", quick), "python.md", "exec"), names)
    shown = capsys.readouterr().out
    assert re.findall(r"^[012]$", shown, flags=re.MULTILINE)  # of image.png
    assert "RadiusMemory(60 in linf" in shown
    assert re.findall(r"^[ab]\.png [012] 0\.\d+$", shown, flags=re.MULTILINE)
    names["run"].report("page.html", images=6, details=1)
    iaat.fit(names["net"], names["train_data"], start_from=names["run"], epochs=1, quiet=True, device="cpu")


def test_settings_shown_are_settings():
    shown = re.findall(r"`([a-z_]+=[^`]*)`", HOWTO)
    texts = [text for text in shown if "..." not in text and not text.endswith("=") and "iaat." not in text]
    given = [eval(f"dict({text})") for text in texts]
    own = {"validation", "callbacks", "out", "settings", "method", "start_from", "train_data", "schedule"}
    keys = [{key: value for key, value in each.items() if key not in own} for each in given]
    assert sum(map(len, keys)) > 15
    for each in keys:
        written_settings(each, "iaat", "test")
    assert [each["method"] in METHODS for each in given if "method" in each] == [True]


@pytest.mark.parametrize("name", ["fit", "load", "evaluate_model", "predict", "TensorBoard", "Run"])
def test_the_names_of_the_page_are_public(name):
    assert name in iaat.__all__
