"""Python of README, docs/start.md and docs/howto/own-loop.md runs, and does what is said of it."""

import re
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Subset, TensorDataset

from iaat.models import ModelConfig, build_model

ROOT = Path(__file__).parents[2]


def run_snippet(document, names, **shorter):
    """Run the only Python of a document, with what takes long replaced."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    for argument, value in shorter.items():
        code, count = re.subn(rf"\b{argument}=[^,)]+", f"{argument}={value}", code)
        assert count
    exec(compile(code, document, "exec"), names)


@pytest.fixture
def names():
    """Data of three classes that a linear model learns, and what the loops expect beside it."""
    torch.manual_seed(0)
    y = torch.arange(300) % 3
    x = 0.5 * torch.rand(300, 1, 6, 6)
    x[torch.arange(300), 0, y] += 0.4  # the row of pixels that tells the class
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return {"dataset": TensorDataset(x, y), "model": model, "optimizer": optimizer}


def test_the_loop_trains_and_moves_the_radii(names):
    names["epochs"] = 8
    run_snippet("docs/howto/own-loop.md", names)
    x, y = names["dataset"].tensors
    assert (names["model"](x).argmax(1) == y).float().mean() > 0.9
    radii = names["radii"].values * 255
    assert len(radii) == 300
    moves = radii / (19 / 8)  # each was visited once an epoch
    assert bool(((moves - moves.round()).abs() < 1e-4).all())
    assert moves.max() == pytest.approx(8)
    assert moves.mean() > 4


def test_the_readme_trains_evaluates_loads_and_predicts(names, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (6, 6), 90).save("image.png")
    names |= {"net": names["model"], "train_data": names["dataset"], "test_data": Subset(names["dataset"], range(30))}
    run_snippet("README.md", names, epochs='1, device="cpu", quiet=True', suite='"pgd"')
    assert names["results"].n == 30
    assert len(names["run"].radii.values) == 300
    assert Path("RUN/best.pt").is_file()
    assert "label='" in capsys.readouterr().out


def test_the_start_trains_and_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_snippet("docs/start.md", {}, epochs='1, limit=200, device="cpu", quiet=True', width="2")
    assert capsys.readouterr().out.endswith("'9') 64px\n")


def test_the_network_of_a_users_file_is_built_for_the_classes_and_by_the_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_net", raising=False)
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/howto/recipes.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (tmp_path / "my_net.py").write_text(f"from torch import nn\n{code}")
    config = ModelConfig(name="my_net:Net", options={"width": 32}, normalize="none")
    network = build_model(config, shape=(3, 8, 8), classes=7)
    sys.modules.pop("my_net")
    assert [network[0].out_channels, network[-1].out_features] == [32, 7]
