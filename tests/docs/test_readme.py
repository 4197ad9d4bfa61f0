"""What the README shows works as written."""

import re
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

from iaat import UserError
from iaat.cli.parser import command_parser
from iaat.config.load_recipe import load_recipe
from iaat.config.recipe_files import shipped_recipes

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_train_and_move_the_radii():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    torch.manual_seed(0)
    y = torch.arange(300) % 3
    x = 0.5 * torch.rand(300, 1, 6, 6)
    x[torch.arange(300), 0, y] += 0.4  # the row of pixels that tells the class
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    names = {
        "dataset": TensorDataset(x, y),
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.5),
    }
    for _ in range(8):
        exec(compile(code, "README.md", "exec"), names)
    assert (model(x).argmax(1) == y).float().mean() > 0.9
    radii = names["radii"].values * 255
    assert len(radii) == 300
    grown = (radii - 0.2).abs() < 1e-4  # each was visited once in the last pass, at 0
    assert bool((grown | (radii == 0)).all())
    assert grown.float().mean() > 0.9


def test_recipes_named_in_the_readme_ship():
    named = set(re.findall(r"iaat (?:train|compare) ((?:[a-z0-9]+-)*[a-z0-9-]+)", README))
    named |= set(re.findall(r"\b(?:cifar10|folder|quickstart)-[a-z0-9-]*[a-z0-9]", README)) - {"cifar10-small-extremes"}
    assert {"folder-iaat", "cifar10-small-pgd-at"} <= named
    for name in named:
        if name in shipped_recipes():
            load_recipe(name)
        else:
            raise UserError(f"README names {name}, which does not ship")


def test_commands_in_the_readme_exist():
    help_text = command_parser().format_help()
    for command in set(re.findall(r"`iaat ([a-z]+)", README)):
        assert command in help_text
