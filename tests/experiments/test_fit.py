"""`iaat.fit` on modules and data sets of the user's own: the loop of the command line, and what it refuses."""

import re
import runpy
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import iaat
from helpers.processes import finish, start
from helpers.training import same
from iaat import UserError
from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe
from iaat.methods import METHODS
from iaat.models import with_normalization
from iaat.radius import RadiusMemory
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.train import train
from iaat.train.trainer import Trainer
from iaat.units import Radius

QUICK = {"radius": "16px", "lr": 0.05, "batch_size": 32, "quiet": True, "device": "cpu", "validation_steps": 1}


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 36, classes)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).flatten(1))


class Rows(Dataset):
    """Images of three classes, each with a bright row; `kind` is what an item's image is."""

    def __init__(self, n=90, seed=0, kind="float"):
        generator = torch.Generator().manual_seed(seed)
        self.y, self.kind = torch.arange(n) % 3, kind
        self.x = 0.5 * torch.rand(n, 1, 6, 6, generator=generator)
        self.x[torch.arange(n), 0, self.y] += 0.4

    def __len__(self):
        return len(self.y)

    def __getitem__(self, position):
        x, y = self.x[position], int(self.y[position])
        if self.kind == "image":
            return Image.fromarray((x[0].numpy() * 255).astype(np.uint8)), y
        return x, y


def fit(model=None, data=None, **settings):
    torch.manual_seed(0)
    return iaat.fit(model or Net(), Rows() if data is None else data, **{**QUICK, "epochs": 2, **settings})


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(**settings):
    with pytest.raises(UserError) as caught:
        fit(**settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run in a folder, and its module."""
    place, net = tmp_path_factory.mktemp("fit"), Net()
    return fit(net, out=place / "run", schedule="constant"), net, place


def test_without_out_nothing_is_written_and_the_module_has_the_weights_of_the_best_epoch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = Net()
    run = fit(net, epochs=3, radius="2px", lr=0.2)
    assert files(tmp_path) == []
    assert run.model.network is net
    assert not net.training
    x, y = Rows(seed=1).x, Rows(seed=1).y
    assert torch.equal(net(x), run.model(x))
    assert (run.model(x).argmax(1) == y).float().mean() > 0.9
    assert [record.epoch for record in run.history] == [1, 2, 3]
    assert len(run.radii) == 90
    assert (run.radii[run.train_index] * 255 != 2).any()
    rest = sorted(set(range(90)) - set(run.train_index.tolist()))
    torch.testing.assert_close(run.radii[rest] * 255, torch.full((len(rest),), 2.0))
    assert repr(run) == "Run(iaat, 3 epochs, 3 classes, nothing written)"
    assert (run.model.radius, run.model.classes) == (iaat.Radius("2px"), ("0", "1", "2"))


def test_it_is_the_loop_of_the_command_line(tmp_path, monkeypatch):
    """Equal to the bit with a recipe that names the same network and data as functions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "fitted_rows.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "from torch.utils.data import TensorDataset\n"
        "def net(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(36, classes))\n"
        "def data(split):\n"
        "    x = torch.rand(90, 1, 6, 6, generator=torch.Generator().manual_seed(len(split)))\n"
        "    return TensorDataset(x, torch.arange(90) % 3)\n"
    )
    words = ["--model.name", "fitted_rows:net", "--data.name", "fitted_rows:data", "--model.normalize", "none"]
    words += ["--method.radius", "16px", "--evaluate.radius", "16px", "--train.epochs", "2", "--train.lr", "0.05"]
    words += ["--train.batch_size", "32", "--train.validation_steps", "1", "--train.device", "cpu"]
    (tmp_path / "plain.yaml").write_text("method: {name: iaat}\n")
    recipe = load_recipe("plain.yaml", words)
    from fitted_rows import data, net

    started = []
    monkeypatch.setattr(Trainer, "fit", _noting(started, Trainer.fit))
    train(recipe, RunFolder(tmp_path / "command"), Reporter(quiet=True))
    module = net((1, 6, 6), 3)
    module.load_state_dict(started[0])
    iaat.fit(module, data("train"), **{**QUICK, "epochs": 2}, out=tmp_path / "python")
    mine, theirs = (load_checkpoint(tmp_path / name / "last.pt") for name in ("python", "command"))
    for part in ("model", "optimizer", "schedule", "method", "records"):
        assert same(mine[part], theirs[part])


def test_a_model_that_cannot_be_found_is_named_before_data_are_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mistyped_net.py").write_text("def build(classes):\n    pass\n")
    assert main(["train", "quickstart", "--model.name", "mistyped_net:bild"]) == 2
    message = capsys.readouterr().err
    assert "has no function 'bild': name one that it defines (did you mean 'build'?)" in message
    assert "reading data" not in message


def _noting(started, fit):
    def noting(self, **more):
        started.append({key: value.clone() for key, value in self.state.model.state_dict().items()})
        fit(self, **more)

    return noting


def test_with_out_a_finished_call_is_read_and_one_with_more_epochs_goes_on(folder):
    run, _, place = folder
    assert {"best.pt", "last.pt", "metrics.jsonl", "radii", "recipe.yaml", "run.json"} <= set(files(place / "run"))
    before = load_checkpoint(place / "run" / "last.pt")
    again = fit(Net(), out=place / "run", schedule="constant")
    x = Rows(seed=1).x
    assert torch.equal(again.model(x), run.model(x))
    assert torch.equal(again.radii.values, run.radii.values)
    assert same(load_checkpoint(place / "run" / "last.pt")["model"], before["model"])
    longer = fit(Net(), out=place / "run", schedule="constant", epochs=3)
    assert [record.epoch for record in longer.history] == [1, 2, 3]
    assert longer.history[:2] == run.history
    fit(Net(), out=place / "run", overwrite=True, schedule="constant")


class Stopping(iaat.Tracker):
    def epoch(self, record):
        if record.epoch == 1:
            raise KeyboardInterrupt


def test_an_interrupted_call_ends_as_one_that_was_not(tmp_path):
    whole = fit(out=tmp_path / "whole", epochs=3)
    with pytest.raises(KeyboardInterrupt):
        fit(out=tmp_path / "run", epochs=3, callbacks=(each() for each in [Stopping]))  # any iterable
    fit(Net(), out=tmp_path / "run", epochs=3)  # of other weights, which the checkpoint replaces
    for which in ("best", "last"):
        mine, theirs = (load_checkpoint(tmp_path / name / f"{which}.pt") for name in ("run", "whole"))
        for part in ("model", "method", "optimizer", "records"):
            assert same(mine[part], theirs[part])
    assert len(whole.history) == 3


class StoppingLater(iaat.Tracker):
    def epoch(self, record):
        if record.epoch == 2:
            raise KeyboardInterrupt


def test_what_ends_a_call_without_out_has_the_finished_epochs(tmp_path):
    net, whole = Net(), fit(epochs=3, schedule="constant")
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(net, epochs=3, schedule="constant", callbacks=[StoppingLater()])
    run, x = caught.value.run, Rows(seed=1).x
    assert run.history == whole.history[:2]
    assert run.model.network is net
    assert torch.equal(net(x), run.model(x))
    assert "Epochs 1 to 2 are kept" in caught.value.__notes__[0]
    run.save(tmp_path / "run")
    again = fit(epochs=3, schedule="constant", out=tmp_path / "run")  # goes on
    assert again.history == whole.history
    assert torch.equal(again.model(x), whole.model(x))


def test_a_nan_without_out_names_no_file_and_keeps_the_finished_epochs():
    class Failing(Net):
        calls = 0

        def forward(self, x):
            type(self).calls += self.training
            return super().forward(x) * (float("nan") if self.calls > 5 else 1.0)  # 3 training steps an epoch, 1 check

    net = Failing()
    with pytest.raises(UserError, match=r"epoch 2, step \d: the loss is nan.*Give nonfinite='skip'") as caught:
        fit(net, method="natural", epochs=3)
    assert not any(word in str(caught.value) for word in ("faults.jsonl", "--", "is kept"))
    assert [record.epoch for record in caught.value.run.history] == [1]
    torch.testing.assert_close(list(net.parameters()), list(caught.value.run.model.parameters()))


def test_a_forward_that_keeps_failing_ends_a_call_by_its_own_error():
    class Failing(Net):
        calls = 0

        def forward(self, x):
            type(self).calls += self.training
            if self.calls > 5:
                raise ZeroDivisionError("of mine")
            return super().forward(x)

    with pytest.raises(ZeroDivisionError, match="of mine") as caught:
        fit(Failing(), method="natural", epochs=3)
    assert caught.value.run is None
    assert "run of the finished epochs cannot be given" in caught.value.__notes__[-1]


def test_what_ends_a_call_before_its_first_epoch_has_no_run():
    with pytest.raises(UserError) as caught:
        fit(nonfinite="skip", data=TensorDataset(torch.full((9, 1, 6, 6), 2.0), torch.arange(9) % 3))
    assert caught.value.run is None


def test_in_memory_and_in_a_folder_it_is_the_same_run(tmp_path):
    memory = fit(ema=0.5, nonfinite="rollback")
    disk = fit(ema=0.5, nonfinite="rollback", out=tmp_path / "run")
    x = Rows(seed=1).x
    assert torch.equal(memory.model(x), disk.model(x))
    assert torch.equal(memory.radii.values, disk.radii.values)
    assert memory.history == disk.history
    assert memory.save(tmp_path / "saved") == tmp_path / "saved"
    for name in ("last.pt", "best.pt"):
        mine, theirs = (load_checkpoint(tmp_path / place / name) for place in ("saved", "run"))
        assert all(same(mine[part], theirs[part]) for part in ("model", "averaged", "optimizer", "method", "generator"))
    assert (tmp_path / "saved/metrics.jsonl").read_bytes() == (tmp_path / "run/metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="already"):
        memory.save(tmp_path / "again")


@pytest.mark.parametrize("kind", ["float", "image", "tensors", "loader"])
def test_every_kind_of_data_set(kind):
    rows = Rows(kind="image" if kind == "image" else "float")
    data = {"tensors": (rows.x, rows.y), "loader": torch.utils.data.DataLoader(rows, batch_size=7)}.get(kind, rows)
    run = fit(data=data, method="natural", epochs=1)
    assert run.radii is None
    assert run.evaluate(data, suite="pgd-1").n == 90


def test_validation_samples_may_be_given(tmp_path):
    run = fit(validation=Rows(30, seed=2))
    assert len(run.train_index) == len(run.radii) == 90
    again = fit(validation=Rows(30, seed=2), start_from=run, reach=0.01)
    torch.testing.assert_close(again.radii.values, run.radii.values, atol=0.2 / 255, rtol=0)


def test_radii_to_begin_with_are_those_of_this_data_and_norm():
    run = fit(epochs=1)
    memory, l2 = RadiusMemory(90, initial="4px"), RadiusMemory(90, initial=0.4, norm="l2")
    for given in (run, memory, memory.values, torch.full((90,), 0.01)):
        fit(start_from=given, epochs=1)
    other = Rows()
    other.y = (other.y + 1) % 3
    corrected = Rows()
    corrected.y[0] = (corrected.y[0] + 1) % 3
    fit(data=corrected, start_from=run, epochs=1)
    fewer = "these are 10 radii for the 90 training samples of this data: give one a sample"
    assert fewer in refused(start_from=RadiusMemory(10), epochs=1)
    assert fewer in refused(start_from=torch.zeros(10), epochs=1, validation=Rows(30, seed=2))
    assert "90 samples up to index 89, of which this data" in refused(start_from=run, data=Rows(60), epochs=1)
    assert "90 of 90 samples have another class" in refused(start_from=run, data=other, epochs=1)
    assert "start_from RadiusMemory: these are radii in 'l2', and" in refused(start_from=l2, epochs=1)
    in_l2 = {"radius": 0.5, "settings": {"norm": "l2"}, "epochs": 1}
    fit(start_from=l2, **in_l2)
    assert "these are radii in 'linf', and method.norm is l2" in refused(start_from=run, **in_l2)
    assert "has no radii" in refused(start_from=fit(method="natural", epochs=1), epochs=1)
    assert "Tensor has shape [90, 1]" in refused(start_from=torch.zeros(90, 1), epochs=1)


def test_validation_samples_with_other_classes_are_refused():
    data, valid = Rows(), Rows(30)
    data.classes, valid.classes = ["bird", "cat", "dog"], ["cat", "dog"]
    assert "validation: its `classes` ('cat', 'dog') are other classes" in refused(data=data, validation=valid)


def images(root, split, n=12):
    draw = np.random.default_rng(0)
    for number, name in enumerate(("cat", "dog", "owl")):
        place = root / split / name
        place.mkdir(parents=True)
        for image in range(n):
            pixels = draw.integers(80 * number, 80 * number + 80, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{image}.png")
    return root / split


def test_folders_of_images_with_and_without_a_test_set(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))
    train_folder, valid = images(tmp_path, "pictures"), images(tmp_path / "more", "valid", 4)
    run = fit(net, train_folder, validation=valid, size=8, epochs=1)
    assert (run.model.classes, run.model.shape) == (("cat", "dog", "owl"), (3, 8, 8))
    assert len(run.train_index) == 36
    assert run.evaluate(valid, suite="pgd-1").n == 12
    images(tmp_path / "both", "train"), images(tmp_path / "both", "test", 5), images(tmp_path / "both", "val", 4)
    run = fit("small-cnn", tmp_path / "both", validation="val", size=8, epochs=1, out=tmp_path / "run")
    assert run.evaluate(suite="pgd-1").n == 15
    assert main(["evaluate", str(tmp_path / "run"), "--suite", "pgd-1", "--quiet"]) == 0
    assert iaat.evaluate_model(iaat.load(tmp_path / "run"), tmp_path / "both" / "val", suite="pgd-1").n == 12


def test_loading_needs_the_module_again(folder):
    _, _, place = folder
    with pytest.raises(UserError, match=r"as an object, which no file has \(iaat\.fit: Net on Rows\).*model=MyNet\(\)"):
        iaat.load(place / "run")
    own = Net()
    loaded, x = iaat.load(place / "run", model=own), Rows(seed=1).x
    assert loaded.network is own
    assert torch.equal(loaded(x), iaat.load(place / "run", model=Net())(x))
    assert main(["evaluate", str(place / "run"), "--quiet"]) == 2  # the command has neither


def test_what_a_run_in_out_was_trained_otherwise_by_is_named(folder):
    _, _, place = folder
    settings = {"out": place / "run", "schedule": "constant"}
    assert "train.lr: 0.05 -> 0.1. Give the settings it was trained by" in refused(**settings, **{"lr": 0.1})
    assert "missing 1.weight, 1.bias; unexpected conv.weight" in refused(
        model=nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), **settings
    )
    assert "has 60 samples, the checkpoint was made with 90" in refused(data=Rows(60), **settings)
    assert "other values than when the run was started" in refused(data=Rows(seed=5), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochz": 3}, "iaat.fit has no setting 'epochz' (did you mean 'epochs'"),
        ({"settings": {"train.emma": 1}}, "no setting 'train.emma' (did you mean 'train.ema'"),
        ({"gamma": "1px"}, "gamma is a setting of method iaat_paper"),
        ({"name": "x"}, "name is a key of several sections"),
        ({"settings": {"lr": 1.0}}, "lr is given twice"),
        ({"epochs": 2, "settings": {"train.epochs": 5}}, "epochs=2, and train.epochs in settings"),
        ({"learning_rate": 1.0}, "train.lr is given twice"),
        ({"radius": "4px", "settings": {"method.radius": "2px"}}, "radius='4px', and method.radius in settings"),
        ({"radius": "4px", "settings": {"radius": "2px"}}, "radius='4px', and radius in settings"),
        ({"radius": "4px", "settings": {"method": {"radius": "2px"}}}, "radius='4px', and method.radius in settings"),
        ({"method": "iat"}, "method.name 'iat' is not known (did you mean 'iaat'"),
        ({"radius": 8}, "for 8 pixel levels write 8px"),
        ({"norm": "l2", "radius": "8px"}, "give a method.radius for l2"),
        ({"method": "mma"}, "radius='16px': that of method mma is not the radius of its attacks, but their bound"),
        ({"optimizer": "AdamW", "settings": {}, "lr": 0.001, "momentum": object()}, "momentum is a object"),
        ({"model": Net}, "model is the class Net: call it, Net()"),
        ({"model": 3}, "model is a int"),
        ({"data": "nowhere"}, "train_data 'nowhere' is neither a folder"),
        ({"data": "digit"}, "did you mean 'digits'"),
        ({"data": [1, 2]}, "train_data: item 0 is a int, not a pair"),
        ({"data": TensorDataset(torch.randn(9, 1, 6, 6) * 9, torch.arange(9) % 3)}, "outside [0, 1]"),
        ({"model": Net(5)}, "the model Net returns shape [2, 5] for 2 inputs of 3 classes"),
        ({"callbacks": [Stopping]}, "callbacks holds the class Stopping"),
        ({"callbacks": [print]}, "callbacks holds a builtin_function"),
        ({"settings": ["lr"]}, "settings = ['lr']: give a dict, such as settings={'train.lr': 0.1}"),
        ({"settings": {1: 2}}, "settings = {1: 2}: give a dict"),
        ({"settings": {"model.name": "resnet18"}}, "it was passed as an object: leave it out"),
        ({"start_from": "nowhere"}, "radii nowhere: no such file"),
        ({"validation": "val"}, "validation: str is not addressed by position"),
    ],
)
def test_mistakes_are_named(settings, message):
    assert message in refused(**settings)


@pytest.mark.parametrize(
    "settings", [{"train.epochs": 1, "train.device": "cpu"}, {"train": {"epochs": 1, "device": "cpu"}}, {"epochs": 1}]
)
def test_a_setting_takes_the_place_of_a_default(settings):
    run = iaat.fit(Net(), Rows(), quiet=True, settings={"evaluate.radius": "2px", **settings})
    assert (run.recipe.train.epochs, len(run.history)) == (1, 1)


@pytest.mark.parametrize("settings", [{"method.start_from": None}, {"method": {"start_from": None}}])
def test_radii_to_start_from_may_be_named_in_full(settings):
    """An object of radii, in place of None."""
    radii = RadiusMemory(90, initial=3 / 255)
    given = {key: {"start_from": radii} if value else radii for key, value in settings.items()}
    run = fit(epochs=1, settings={**given, "method.reach": 0.01})
    assert torch.allclose(run.radii.values, torch.full((90,), 3 / 255), atol=2 / 255)


@pytest.mark.parametrize("settings", [{"evaluate.radius": "2px"}, {"evaluate": {"radius": "2px"}}])
@pytest.mark.parametrize("method", ["iaat", "natural"])
def test_the_radius_of_the_evaluation_stays_beside_the_default_of_the_training(method, settings):
    torch.manual_seed(0)
    run = iaat.fit(Net(), Rows(), method=method, epochs=1, device="cpu", quiet=True, settings=settings)
    assert str(run.recipe.evaluate.radius) == "2px"
    assert str(getattr(run.recipe.method, "radius", "8px")) == "8px"


def test_an_evaluation_has_the_settings_of_the_run_where_none_are_given():
    own = {"evaluate.n": 7, "evaluate.suite": "pgd-3", "evaluate.seed": 5, "evaluate.batch_size": 4}
    run, test = fit(epochs=1, settings=own), Rows(30, seed=1)
    results = run.evaluate(test)
    assert (results.n, results.attacks, results.evaluate.seed, results.evaluate.batch_size) == (7, ("pgd-3",), 5, 4)
    given = run.evaluate(test, suite="pgd-1", n=9, seed=0, batch_size=3)
    assert (given.n, given.attacks, given.evaluate.seed, given.evaluate.batch_size) == (9, ("pgd-1",), 0, 3)
    with pytest.raises(UserError, match=r"norm='l2': the radius of the run is 16px in linf; give radius="):
        run.evaluate(test, norm="l2")
    assert run.evaluate(test, norm="l2", radius=0.5).evaluate.norm == "l2"
    # A step of the other norm would lead nowhere, and every sample would be robust.
    run.recipe = replace(run.recipe, evaluate=replace(run.recipe.evaluate, step_size=Radius("2px")))
    assert run.evaluate(test, norm="l2", radius=0.5).evaluate.step_size is None
    assert run.evaluate(test, radius="4px").evaluate.step_size == Radius("2px")


@pytest.mark.parametrize("more", [{}, {"mean": [0.4], "std": [0.3]}])
def test_a_module_with_its_own_normalisation_gets_the_weights_and_is_evaluated(tmp_path, more):
    net = with_normalization(Net(), [0.5], [0.25])
    run = fit(net, out=tmp_path / "run", **more)
    x = torch.rand(5, 1, 6, 6)
    expected = run.model(x)
    if not more:
        torch.testing.assert_close(net(x), expected)
    loaded = iaat.load(tmp_path / "run", model=with_normalization(Net(), [0.5], [0.25]))
    torch.testing.assert_close(loaded(x), expected)
    again = fit(with_normalization(Net(), [0.5], [0.25]), out=tmp_path / "run", **more)
    torch.testing.assert_close(again.model(x), expected)


def test_tensorboard_needs_a_folder():
    with pytest.raises(UserError, match="give out="):
        fit(callbacks=[iaat.TensorBoard()])


def test_without_test_data_the_validation_samples_are_evaluated_and_that_is_said():
    run = fit(epochs=1)
    with pytest.warns(UserWarning, match=r"the 9 validation samples.*run\.evaluate\(test_data\)"):
        results = run.evaluate(suite="pgd-1")
    assert (results.n, [finding.name for finding in results.findings]) == (9, ["not-robust", "validation-samples"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = run.evaluate(Rows(30, seed=1), suite="pgd-1+radii", radius="8px")
    assert (results.n, results.checkpoint, results.evaluate.radius) == (30, "best", iaat.Radius("8px"))
    assert len(results.radii) == 4
    assert "validation-samples" not in {finding.name for finding in results.findings}


def test_commands_say_how_a_run_with_objects_is_read_in_python(folder, capsys):
    _, _, place = folder
    run, page = str(place / "run"), str(place / "page.html")
    assert main(["report", run, "-o", page, "--quiet"]) == 2
    message = capsys.readouterr().err
    assert (
        f"run = iaat.fit(..., out={run!r}), which reads the finished run, and then run.report('report.html')" in message
    )
    assert f"iaat report {run} --no-images" in message
    assert main(["report", run, "--no-images", "-o", page, "--quiet"]) == 0
    for command in ("evaluate", "radii"):
        assert main([command, run]) == 2
        assert "then run.evaluate(), run.report('report.html') or run.radii" in capsys.readouterr().err
    again = fit(Net(), out=place / "run", schedule="constant")
    assert again.report(place / "again.html", images=4, details=0).exists()


def test_a_report_of_a_network_alone_that_was_an_object_says_so(tmp_path, capsys):
    images(tmp_path / "both", "train"), images(tmp_path / "both", "test", 5)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))
    fit(net, tmp_path / "both", size=8, epochs=1, out=tmp_path / "run")
    assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "page.html"), "--quiet"]) == 2
    assert "the model was passed to iaat.fit as an object" in capsys.readouterr().err


def test_a_report_after_an_evaluation_of_other_samples_shows_none_of_them(tmp_path):
    run = fit(epochs=1, out=tmp_path / "run")
    run.evaluate(Rows(30, seed=1), suite="pgd-1")
    page = run.report(tmp_path / "page.html", images=9, details=0).read_text(encoding="utf-8")
    assert "no attacked test images: they were passed to" in page
    assert "PGD-1" in page


def test_a_report_of_a_run_in_memory(tmp_path):
    page = fit(epochs=2).report(tmp_path / "page.html", images=9, details=1)
    assert "iaat" in page.read_text(encoding="utf-8")
    assert files(tmp_path) == ["page.html"]


def test_processes_of_a_launcher_train_together_from_the_weights_of_the_first(capsys):
    """Each has the run; one process alone comes to the same but for the order of sums."""
    script = Path(__file__).parents[1] / "helpers" / "fit_process.py"
    codes, outputs = finish(start(2, script))
    assert codes == [0, 0], outputs
    runpy.run_path(str(script))
    outputs.append(capsys.readouterr().out)
    results = [line for text in outputs for line in text.splitlines() if line.startswith("2 epochs:")]
    first, second, alone = ([float(number) for number in re.findall(r"-?\d+\.\d+", line)] for line in results)
    assert first == second
    assert first == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_with_another_optimiser_clipping_warm_up_and_class_weights(method):
    own = {"c": 1.0} if method == "cat" else {}
    steps = {} if method in ("natural", "nfgsm") else {"steps": 1}
    net = Net()
    before = [weight.detach().clone() for weight in net.parameters()]
    settings = {"optimizer": "AdamW", "lr": 0.01, "clip_grad": 0.5, "schedule": "cosine", "warmup_epochs": 0.5}
    run = fit(net, method=method, radius="8px", epochs=1, class_weights="balanced", **settings, **steps, **own)
    assert not any(torch.equal(weight, old) for weight, old in zip(net.parameters(), before, strict=True))
    assert run.history[0].loss < float("inf")
    assert (run.radii is not None) == (method in ("cat", "mma", "iaat", "iaat_paper", "iaat_trades"))


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        images(tmp_path / "images", split)
    run = iaat.fit("small-cnn", "~/images", epochs=1, out="~/run", device="cpu", quiet=True)
    assert run.path == tmp_path / "run"
    run.report("~/page.html", details=0)
    iaat.load("~/run")
    iaat.evaluate_model(run.model, "~/images/test", suite="pgd-5", folder="~/results")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["images", "page.html", "results", "run"]


def test_numbers_of_numpy_are_settings():
    run = fit(epochs=np.int64(1), lr=np.float32(0.125))
    assert (run.recipe.train.epochs, run.recipe.train.lr) == (1, 0.125)


def test_what_is_no_list_of_trackers_and_no_radii_is_named():
    for given in ({"callbacks": object()}, {"callbacks": 3}):
        with pytest.raises(UserError, match=r"callbacks is a .*: give a list of trackers"):
            fit(**given)
    with pytest.raises(UserError, match=r"start_from is a list: give a run, its radii, a tensor \[N\]"):
        fit(start_from=[0.1] * 60)
