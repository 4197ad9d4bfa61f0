"""Every format is read by the library that it is for, and has the logits of the run.

ONNX is in tests/docs/test_export_howto.py: its exporter takes seconds.
"""

import json
import re
import shutil
import sys
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import iaat
from helpers.training import QUIET, tiny
from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe
from iaat.errors import UserError
from iaat.export import export_model, export_run
from iaat.export.exportable import _without_folders
from iaat.export.writers import WRITERS
from iaat.models.model_config import ModelConfig
from iaat.models.model_file_kind import file_kind
from iaat.runs.checkpoint import load_checkpoint, restore_model
from iaat.runs.run_folder import RunFolder
from iaat.runtime.user_code import GIVEN
from iaat.train import train


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def logits_of_run(run, x, which="best"):
    """Logits of a checkpoint, by the code that training and evaluation use."""
    with torch.no_grad():
        return restore_model(run.recipe(), load_checkpoint(run.checkpoint(which)))(x)


def images():
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize("name", ["pt2", "torchscript"])
def test_programs_of_torch_have_the_logits_of_the_run_in_batches_of_any_size(run, name):
    exported, extra = export_model(run.path, name), {"iaat.json": ""}
    assert exported.images == "32 test images"
    assert exported.difference < 1e-6
    assert exported.note is None
    if name == "pt2":
        program = torch.export.load("digits.pt2", extra_files=extra).module()
    else:
        program = torch.jit.load("digits.ts", _extra_files=extra)
    for x in (images(), images()[:1]):
        torch.testing.assert_close(program(x), logits_of_run(run, x))
    record = json.loads(extra["iaat.json"])
    assert record["classes"] == [str(digit) for digit in range(10)]
    assert (record["radius"], record["norm"], record["shape"]) == ("64px", "linf", [1, 8, 8])


@pytest.mark.parametrize("which", ["best", "last"])
def test_safetensors_hold_the_bare_network_and_come_back_with_all_that_is_known(run, which):
    exported = export_model(run.checkpoint(which), "safetensors")
    assert exported.path.name == f"digits-{which}.safetensors"
    with safe_open(exported.path, "pt") as opened:
        record = json.loads(opened.metadata()["iaat"])
        names = set(opened.keys())
    state = load_checkpoint(run.checkpoint(which))
    averaged = state["averaged"]["model"]
    assert names == {name.removeprefix("network.") for name in averaged if name.startswith("network.")}
    assert record["mean"] == averaged["normalize.mean"].tolist()
    assert (record["checkpoint"], record["epoch"]) == (which, state["epoch"])
    back = iaat.load(exported.path)
    assert not back.training
    assert torch.equal(back(images()), logits_of_run(run, images(), which))
    original = iaat.load(run.path)
    for name in ("classes", "shape", "radius", "norm", "recipe"):
        assert getattr(back, name) == getattr(original, name)
    # What came from a run can be exported once more.
    again = export_model(exported.path, "torchscript", "again.ts")
    assert again.record == exported.record


def test_folders_of_the_machine_stay_on_it(run):
    recipe = replace(iaat.load(run.path).recipe, name="moved")
    recipe = replace(recipe, data=replace(recipe.data, root="/home/somebody/secret/pets"))
    folder = RunFolder(run.path.parent / "moved")
    shutil.copytree(run.path, folder.path)
    state = load_checkpoint(run.checkpoint("best"))
    torch.save({**state, "recipe": recipe.to_dict()}, folder.checkpoint("best"))
    exported = export_model(folder.path, "hf")
    written = "".join(file.read_text(errors="replace") for file in exported.path.iterdir())
    assert "somebody" not in written
    assert exported.record.recipe["data"]["root"] == "pets"


PATHS = (
    "data.root",
    "data.extra",
    "data.relabel",
    "data.cache",
    "model.weights",
    "method.start_from",
    "train.radii_folder",
)


def test_no_path_of_the_settings_names_a_folder():
    words = [f"--{key}=/home/somebody/secret/last" for key in PATHS]
    recipe = load_recipe("folder-iaat", [*words, "--train.radii=sharded"])
    written = json.dumps(_without_folders(recipe))
    assert "somebody" not in written
    assert written.count('"last"') == len(PATHS)
    fixed = load_recipe("quickstart-pgd-at", ["--method.radii=/home/somebody/last"])
    assert _without_folders(fixed)["method"]["radii"] == "last"


def test_networks_passed_as_objects_are_passed_again(run, tmp_path):
    def net():
        torch.manual_seed(4)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    recipe = replace(tiny("natural"), model=ModelConfig(name=GIVEN, module=net()))
    given = RunFolder(tmp_path / "given")
    train(recipe, given, QUIET)
    with pytest.raises(UserError, match=r"passed to iaat\.fit as an object"):
        export_model(given.path, "torchscript")
    own = net()
    exported = export_model(given.path, "safetensors", model=own)
    back = iaat.load(exported.path, model=net())
    assert torch.equal(back(images()), iaat.load(given.path, model=net())(images()))


def test_what_torchscript_does_not_know_is_traced(run, tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 10)

        def forward(self, x):
            parts = {"flat": (lambda y: y.flatten(1))(x)}
            return self.linear(*parts.values())

    recipe = replace(tiny("natural"), model=ModelConfig(name=GIVEN, module=Odd()))
    odd = RunFolder(tmp_path / "odd")
    train(recipe, odd, QUIET)
    exported = export_model(odd.path, "torchscript", model=Odd())
    assert "traced" in exported.note


def test_a_file_that_computes_something_else_never_appears(run, monkeypatch):
    for wrong, shown in ((1.0, "by up to 1,"), (float("nan"), "by up to nan")):
        writer = WRITERS["torchscript"]
        predicts = lambda file, exported, wrong=wrong: iter([lambda x: exported.model(x) + wrong])  # noqa: E731
        monkeypatch.setitem(export_run.WRITERS, "torchscript", replace(writer, read=predicts))
        with pytest.raises(UserError, match=f"torchscript digits.ts was removed: its logits differ .* {shown}"):
            export_model(run.path, "torchscript")
        monkeypatch.undo()


def refused(capsys, *words):
    """The message of a command that must be refused."""
    assert main(["export", *map(str, words)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    return captured.err


def test_the_command_says_what_was_written_and_how_it_is_used(run, capsys, tmp_path):
    assert main(["export", str(run.path), "--format", "torchscript", "-o", "new/net.pt"]) == 0
    printed = capsys.readouterr().out
    assert "new/net.pt: torchscript of quickstart best" in printed
    assert "on 32 test images" in printed
    assert "grey images, float32 [N, 1, 8, 8] in [0, 1]; classes: 0, 1, 2" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith("in Python: "))
    logits = eval(line.removeprefix("in Python: "), {"torch": torch, "x": images()})
    torch.testing.assert_close(logits, logits_of_run(run, images()))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["net.pt"]


def test_what_is_there_is_replaced_only_if_that_is_said(run, capsys, tmp_path):
    (tmp_path / "digits.ts").write_text("precious")
    assert "digits.ts exists already: add --overwrite" in refused(capsys, run.path, "--format", "torchscript")
    assert (tmp_path / "digits.ts").read_text() == "precious"
    assert main(["export", str(run.path), "--format", "torchscript", "--overwrite"]) == 0
    assert file_kind(tmp_path / "digits.ts") == "torchscript"
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/README.md").write_text("precious")
    assert "hub/README.md exists already" in refused(capsys, run.path, "--format", "hf", "-o", "hub")
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["README.md"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "onxx"], "invalid choice: 'onxx'"),
        (["--format", "pt2", "-o", "net.onnx"], "net.onnx: .onnx is of format onnx, not pt2"),
        (["--format", "pt2", "-o", "net"], "name it net.pt2"),
        (["--format", "torchscript", "-o", "."], ". is a folder, and format torchscript writes a file"),
        (["--model.width", "8"], "--model.width cannot be set here"),
        (["--format", "torchscript", "--data", "nowhere"], "data nowhere is no folder"),
    ],
)
def test_slips_are_named(run, capsys, tmp_path, words, message):
    assert message in refused(capsys, run.path, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_the_command_that_installs_it(run, capsys, monkeypatch):
    monkeypatch.setattr("iaat.runtime.extras.find_spec", lambda name: None if name == "onnxruntime" else 1)
    message = refused(capsys, run.path)
    assert "format onnx needs onnxruntime, which is not installed: pip install onnxruntime (or pip install" in message


def test_a_package_that_is_too_old_is_named(run, capsys, monkeypatch):
    def of_another_version(*_args, **_more):
        raise ModuleNotFoundError("No module named 'onnxscript.new'", name="onnxscript.new")

    monkeypatch.setattr("iaat.runtime.extras.find_spec", lambda _: 1)
    monkeypatch.setattr(torch.onnx, "export", of_another_version)
    assert "pip install --upgrade onnxscript" in refused(capsys, run.path)


def test_a_run_without_a_checkpoint_and_a_folder_without_a_run(run, capsys, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    assert "is not a run folder" in refused(capsys, begun, "--format", "pt2")
    shutil.copy(run.recipe_file, begun)
    assert "has no checkpoint yet" in refused(capsys, begun, "--format", "pt2")


CODE = """
from torch import nn


def linear(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


class Moody(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        return self.linear(x.flatten(1)) * (1 if x.sum() > 0 else 2)


def moody(shape, classes):
    return Moody(classes)
"""


@pytest.fixture
def of_users_code(tmp_path, monkeypatch):
    """Train the network of a function in a module of the user's, and forget that its name was typed."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("iaat.runtime.user_code._TRUSTED", set())
    (tmp_path / "exported_nets.py").write_text(CODE)

    def trained(function):
        words = ["--model.name", f"exported_nets:{function}"]
        recipe = tiny("natural", *words)
        own = RunFolder(tmp_path / function)
        train(replace(recipe, model=replace(recipe.model, width=None)), own, QUIET)
        iaat.runtime.user_code._TRUSTED.clear()
        return own.path

    yield trained
    sys.modules.pop("exported_nets", None)


def test_code_of_the_user_runs_only_if_it_is_trusted(of_users_code, capsys):
    own = of_users_code("linear")
    assert "add --trust exported_nets" in refused(capsys, own, "--format", "safetensors")
    assert main(["export", str(own), "--format", "safetensors", "--trust", "exported_nets"]) == 0
    iaat.runtime.user_code._TRUSTED.clear()
    with pytest.raises(UserError, match="--trust exported_nets"):
        iaat.load("linear.safetensors")
    assert torch.equal(iaat.load("linear.safetensors", trust=True)(images()), iaat.load(own)(images()))


@pytest.mark.parametrize("format_name", ["safetensors", "hf"])
def test_the_printed_call_loads_a_network_of_the_user(of_users_code, capsys, format_name):
    own = of_users_code("linear")
    assert main(["export", str(own), "--format", format_name, "--trust", "exported_nets"]) == 0
    call, note = [line for line in capsys.readouterr().out.splitlines() if "trust=True" in line]
    assert note.startswith("trust=True imports exported_nets; in its place model=NET takes the module itself")
    iaat.runtime.user_code._TRUSTED.clear()
    logits = eval(call.removeprefix("in Python: "), {"iaat": iaat, "x": images()})
    assert torch.equal(logits, iaat.load(own)(images()))


def test_the_card_shows_calls_that_work_for_a_network_of_the_user(of_users_code):
    own = of_users_code("linear")
    folder = export_model(own, "hf", "hub", trust=True).path
    iaat.runtime.user_code._TRUSTED.clear()
    card = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    names = {"x": images()}
    exec(code.replace("FOLDER", str(folder)), names)
    assert torch.equal(names["probabilities"], iaat.load(own)(images()).softmax(dim=1))
    assert "trust=True imports exported" in card
    assert "`iaat train recipe.yaml --trust exported_nets --out RUN`" in card
    assert "`iaat evaluate RUN --suite standard --trust exported_nets`" in card


def test_the_card_of_a_network_that_was_an_object_asks_for_it(tmp_path, capsys):
    x, y = torch.rand(40, 1, 8, 8), torch.arange(40) % 2
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    iaat.fit(net, (x, y), method="natural", epochs=1, batch_size=20, out="run", device="cpu", quiet=True)
    folder = export_model("run", "hf", "hub", model=net).path
    card = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    names = {"x": x, "NET": deepcopy(net)}
    exec(code.replace("FOLDER", str(folder)), names)
    torch.testing.assert_close(names["probabilities"], net(x).softmax(dim=1))
    assert "NET is the module itself" in card
    assert "iaat train" not in card


def test_a_module_that_is_passed_takes_exported_weights_without_the_code_they_name(of_users_code):
    own = of_users_code("linear")
    file = export_model(own, "safetensors", "linear.safetensors", trust=True).path
    expected = iaat.load(own)(images())
    iaat.runtime.user_code._TRUSTED.clear()
    sys.modules.pop("exported_nets")

    def net(classes=10, *more):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes), *more)

    for target in (file, own):
        back = iaat.load(target, model=net())
        assert torch.equal(back(images()), expected)
        assert back.recipe.model.name == GIVEN
        fix = r"; build it as exported_nets:linear is for inputs of shape \[1, 8, 8\] and 10 classes"
        for other, difference in (
            (net(7), r"its 1.weight has shape \[7, 64\], and in the file it is of shape \[10, 64\]"),
            (net(10, nn.Linear(10, 10)), r"its 2.weight has shape \[10, 10\], and in the file there is none"),
            (nn.Flatten(), r"the file has (network\.)?1\.\w+, which it lacks"),
        ):
            with pytest.raises(UserError, match=difference + fix):
                iaat.load(target, model=other)
    assert "exported_nets" not in sys.modules


def test_a_forward_that_depends_on_values_is_named(of_users_code, capsys):
    message = refused(capsys, of_users_code("moody"), "--format", "pt2", "--trust", "exported_nets")
    assert "PyTorch cannot write this model as an exported program" in message
    assert "--format safetensors" in message


def test_without_the_data_random_images_take_its_place(run, tmp_path, capsys, monkeypatch):
    def gone(config):
        raise UserError("data/cifar10 is no folder")

    monkeypatch.setattr("iaat.export.check_images.read_splits", gone)
    exported = export_model(run.path, "torchscript")
    assert exported.images == "32 random images, because the run's data is not at hand (data/cifar10 is no folder)"
    assert "data/cifar10 is no folder" in refused(capsys, run.path, "--format", "pt2", "--data", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: {**record, "version": 2}, "was written by a newer iaat"),
        (lambda record: {**record, "classes": 3}, "its record: classes is 3, which should be"),
        (lambda record: {**record, "shape": [1, 9, 9999999]}, "the shape of one input"),
        (lambda record: {**record, "std": [1.0, 2.0]}, "cannot standardise inputs"),
        (lambda record: {**record, "mean": [0.0, 0.0], "std": [1.0, 2.0]}, "does not fit model small-cnn"),
        (lambda record: {**record, "recipe": {**record["recipe"], "model": {"widht": 3}}}, "widht"),
        (lambda record: {key: value for key, value in record.items() if key != "norm"}, "norm is missing"),
    ],
)
def test_damaged_records_are_named(run, tmp_path, change, message):
    file = export_model(run.path, "safetensors").path
    with safe_open(file, "pt") as opened:
        record = json.loads(opened.metadata()["iaat"])
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
    save_file(weights, file, {"iaat": json.dumps(change(record))})
    with pytest.raises(UserError, match=message):
        iaat.load(file)
