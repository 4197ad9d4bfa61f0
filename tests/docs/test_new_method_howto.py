"""docs/howto/new-method.md works as written: methods in a module of the user's own, trained by the real commands."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from iaat import with_index
from iaat.cli.main import main
from iaat.errors import UserError
from iaat.methods import METHODS, find_method
from iaat.methods.guard import GuardCheck
from iaat.runs.run_folder import RunFolder
from iaat.types import Batch

HOWTO = (Path(__file__).parents[2] / "docs/howto/new-method.md").read_text(encoding="utf-8")
DOUBLING, HALVES, OWN_LOOP, ASK_GUARD = re.findall(r"```python\n(.*?)```", HOWTO, flags=re.DOTALL)
COMMANDS = [line for block in re.findall(r"```\n(iaat .*?)```", HOWTO, flags=re.DOTALL) for line in block.splitlines()]
SMALL = ["--data.limit", "300", "--evaluate.n", "30"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with the file of the page in it."""
    (tmp_path / "my_methods.py").write_text(DOUBLING + "\n\n" + HALVES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_methods", None)


def run_commands(word):
    """Run the page's commands that name `word`."""
    chosen = [shlex.split(line)[1:] for line in COMMANDS if word.lower() in line.lower()]
    for command in chosen:
        assert main([*command, *(SMALL if command[0] == "train" else [])]) == 0
    return len(chosen)


def test_a_method_with_radii_of_its_own(folder, capsys):
    assert run_commands("doubling") == 2
    run = RunFolder(folder / "runs/doubling")
    assert run.recipe().method.first == 8 / 255
    first, last = (run.radii_after(epoch)[1] * 255 for epoch in (1, 4))
    assert set(first.round(3).tolist()) == {4, 16}  # 8px halved or doubled
    assert last.max() == pytest.approx(64)
    assert "radii after epoch 4" in capsys.readouterr().out
    assert (run.metrics()[0].forwards, run.metrics()[0].backwards) == (6, 6)


def test_a_method_with_a_loss_of_its_own(folder, capsys):
    assert run_commands("halves") == 2
    run = RunFolder(folder / "runs/halves")
    assert run.recipe().method.clean_weight == 0.3
    records = run.metrics()
    assert records[0].metrics["clean_loss"] > records[-1].metrics["clean_loss"] > 0
    assert (records[0].forwards, records[0].backwards) == (7, 7)
    assert "7F 7B" in capsys.readouterr().out  # what `iaat check` says


def test_its_settings_are_recipe_keys_with_help_and_checks(folder, capsys):
    assert main(["train", "quickstart", "--method", "my_methods:Doubling", "--help", "all"]) == 0
    assert "Radius every sample begins with." in " ".join(capsys.readouterr().out.split())
    assert main(["check", "quickstart", "--method", "my_methods:Doubling", "--method.frist", "8px"]) == 2
    assert "did you mean '--method.first'" in capsys.readouterr().err


def test_the_loop_of_ones_own_trains_and_counts_epochs(monkeypatch):
    torch.manual_seed(0)
    seen = []
    step = METHODS["trades"].step
    monkeypatch.setattr(
        METHODS["trades"],
        "step",
        lambda self, model, batch, context: seen.append(context.epoch) or step(self, model, batch, context),
    )
    dataset = TensorDataset(torch.rand(64, 1, 4, 4), torch.arange(64) % 2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    names = {
        "dataset": dataset,
        "loader": DataLoader(with_index(dataset), batch_size=16),
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }
    before = [weight.detach().clone() for weight in model.parameters()]
    exec(compile(OWN_LOOP, "new-method.md", "exec"), names)
    assert not any(torch.equal(weight, own) for weight, own in zip(model.parameters(), before, strict=True))
    assert names["output"].loss.isfinite()
    assert sorted(set(seen)) == list(range(30))  # a warm-up ends


def test_the_guard_is_asked_in_a_loop_of_ones_own(capsys):
    """A model that one step does not reach and PGD does: training backs off to PGD."""
    method = METHODS["nfgsm"](METHODS["nfgsm"].Config(), size=8, device="cpu")
    found = GuardCheck(single=1.0, strong=0.0, both=0.0, samples=128)
    batch = torch.rand(128, 1, 4, 4), torch.arange(128) % 2, torch.arange(128)
    names = {"method": method, "model": nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), "Batch": Batch}
    names |= dict(zip(("x_held_out", "y_held_out", "index_held_out"), batch, strict=True))
    names |= {"generator": torch.Generator().manual_seed(0), "step": 49}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iaat.methods.guard._compare", lambda *_: found)
        exec(compile(ASK_GUARD, "new-method.md", "exec"), names)
        assert not method.guard.backed_off  # not due
        exec(compile(ASK_GUARD, "new-method.md", "exec"), names | {"step": 50})
    assert method.guard.backed_off
    assert "training with PGD until it has gone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("Mine = 3", r"holds no function but a value under the name"),
        ("def Mine(): pass", r"is a function, not a class"),
        ("class Mine: pass", r"class Mine has no Config, .*prepare.*derive it from iaat\.methods\.BaseMethod"),
        (
            "from iaat.methods import BaseMethod\nclass Mine(BaseMethod):\n    Config = dict\n    cost = None",
            r"its Config is no dataclass",
        ),
        ("class Other: pass", r"has no function 'Mine'"),
    ],
)
def test_what_is_no_method_is_refused_with_what_it_lacks(folder, code, message):
    (folder / "odd_methods.py").write_text(code, encoding="utf-8")
    try:
        with pytest.raises(UserError, match=message):
            find_method("odd_methods:Mine")
    finally:
        sys.modules.pop("odd_methods", None)


def test_a_name_that_is_not_known_gets_the_nearest_and_the_way_to_ones_own():
    with pytest.raises(UserError, match=r"'pgdat' is not known \(did you mean 'pgd_at'.*my_package\.my_file:MyMethod"):
        find_method("pgdat")
    assert find_method("pgd_at") is METHODS["pgd_at"]
