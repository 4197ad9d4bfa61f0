"""`iaat evaluate` on models of others, and on runs, through the command line."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from helpers.planted import cnn, digits, trained
from helpers.sending import sending
from iaat import UserError
from iaat.cli.main import main
from iaat.corruptions import STANDARD
from iaat.evaluate.evaluate_given import evaluate_model

SMALL = ["--samples", "30", "--evaluate.steps", "2", "--evaluate.radius", "30px", "--suite", "pgd+screening"]
DATA = ["--data.name", "digits", "--trust", "net.pt"]


@pytest.fixture(scope="module")
def network():
    (x, y), _ = digits()
    torch.manual_seed(0)
    return trained(cnn(), x, y, radius=30 / 255, epochs=3)


FACTORIES = """
import torch
from torch import nn
from helpers.planted import cnn

def trained():
    model = cnn()
    model.load_state_dict(torch.load("net.pth", weights_only=True))
    return model.train()

def normalised():
    model = cnn(10)
    model.load_state_dict(torch.load("normalised.pth", weights_only=True))
    return model

def bytes_in():
    class Bytes(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = trained()
        def forward(self, x):
            return self.network(x / 255)
    return Bytes()

def other():
    torch.manual_seed(5)
    return cnn()

def softmax():
    return nn.Sequential(trained(), nn.Softmax(dim=1))

def seven(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))

def empty_handed():
    return None
"""


@pytest.fixture
def place(network, tmp_path, monkeypatch):
    """A working directory with a factory's module and files of models."""
    monkeypatch.chdir(tmp_path)
    name = f"factories_{abs(hash(tmp_path)):x}"
    (tmp_path / f"{name}.py").write_text(FACTORIES)
    torch.save(network.state_dict(), "net.pth")
    torch.jit.script(network).save("net.pt")
    return name


def refused(capsys, *words):
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def results(folder="evaluations"):
    (file,) = Path(folder).rglob("results.json")
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def expected(network):
    """The same samples by the same attacks from Python."""
    _, (x, y) = digits()
    return evaluate_model(network, x, y, classes=10, suite="pgd-2+screening", radius="30px", n=30).accuracy


@pytest.mark.parametrize("kind", ["factory", "script", "weights and factory"])
def test_the_same_network_gets_the_same_numbers_whatever_it_comes_as(kind, place, expected, capsys):
    target = {
        "factory": [f"{place}:trained"],
        "script": ["net.pt"],
        "weights and factory": ["helpers.planted:cnn", "--model.weights", "net.pth"],
    }[kind]
    assert main(["evaluate", *target, *DATA, *SMALL]) == 0
    printed = capsys.readouterr().out
    found = results()
    for name in ("clean", "pgd-2", "screening", "worst"):
        assert found["accuracy"][name] == expected[name]
    assert printed.index("not checked for masking") > printed.index("clean")
    assert f"{100 * expected['screening']:.2f}" in printed
    (records,) = (pd.read_parquet(path) for path in Path().rglob("records.parquet"))
    assert len(records) == 30


def test_a_model_is_evaluated_on_the_data_that_is_named(place, capsys):
    assert "--data.name" in refused(capsys, "evaluate", "net.pt", *SMALL)
    assert "not trained here" in refused(capsys, "evaluate", "net.pt", *DATA, "--train.epochs", "3")


@pytest.mark.parametrize(
    ("factory", "parts"),
    [
        ("seven", ["7", "10"]),
        ("empty_handed", ["NoneType", "torch.nn.Module"]),
        ("bytes_in", ["0..255", "--model"]),
        ("trainedd", ["trainedd", "did you mean 'trained'"]),
    ],
)
def test_models_that_do_not_fit_are_refused_with_the_fix(factory, parts, place, capsys):
    message = refused(capsys, "evaluate", f"{place}:{factory}", *DATA, *SMALL)
    assert all(part in message for part in parts)


def test_a_model_of_standardised_inputs_is_recognised_and_the_fix_works(place, capsys):
    (x, y), _ = digits()
    mean, std = 0.9, 0.05
    torch.manual_seed(0)
    network = trained(cnn(), (x - mean) / std, y, epochs=3)
    torch.save(network.state_dict(), "normalised.pth")
    fix = ["--model.mean", f"[{mean}]", "--model.std", f"[{std}]"]
    assert main(["evaluate", f"{place}:normalised", *DATA, *SMALL, *fix]) == 0
    normalized = results()["accuracy"]["clean"]
    with torch.no_grad():
        _, (x_test, y_test) = digits()
        raw = float((network(x_test).argmax(1) == y_test).double().mean())
    assert normalized > raw + 0.2


def test_softmax_outputs_are_the_verdict(place, capsys):
    assert main(["evaluate", f"{place}:softmax", *DATA, *SMALL]) == 0
    first = next(line for line in capsys.readouterr().out.splitlines() if "do not trust" in line)
    assert "softmax-outputs" in first


@pytest.mark.parametrize("name", ["no-such-model", "resnet81", "missing.pt"])
def test_what_is_neither_run_nor_model_is_named(name, place, capsys):
    assert name in refused(capsys, "evaluate", name, *DATA, *SMALL)


def test_unknown_suites_and_numbers_are_refused(place, capsys):
    assert "did you mean 'standard'" in refused(capsys, "evaluate", "net.pt", *DATA, "--suite", "standart")
    assert "evaluate.n" in refused(capsys, "evaluate", "net.pt", *DATA, "--samples", "0")


def test_suspicious_adds_the_masking_checks(place, capsys, monkeypatch):
    monkeypatch.setattr("iaat.evaluate.masking.masking_section.MASKING_N", 20)
    assert main(["evaluate", "net.pt", *DATA, *SMALL, "--suspicious"]) == 0
    assert results()["masking"]
    assert results()["suite"] == "pgd+screening+masking"


def test_two_models_are_evaluated_on_each_others_examples(place, capsys):
    words = ["--samples", "20", "--evaluate.radius", "30px", "--suite", "pgd-2+transfer-3"]
    assert main(["evaluate", "net.pt", f"{place}:other", *DATA, *words]) == 0
    made = {json.loads(path.read_text())["transfer"][0]["source"] for path in Path().rglob("results.json")}
    assert made == {"net.pt", f"{place}-other"}


def test_python_api_refuses_what_means_nothing(network):
    _, (x, y) = digits()
    for samples, labels, classes, part in (
        (x * 255, y, 10, "divide by 255"),
        (x[:0], y[:0], 10, "at least one"),
        ((x * 255).byte(), y, 10, "x.float() / 255"),
        (x, y, 4, "outside 0..3"),
        (x, y[:-1], 10, "359 inputs but 358 labels"),
    ):
        with pytest.raises(UserError) as error:
            evaluate_model(network, samples, labels, classes=classes)
        assert part in str(error.value)


def test_python_api_puts_a_model_in_eval_mode_says_so_and_gives_it_back(network, expected):
    _, (x, y) = digits()
    model = nn.Sequential(network, nn.Dropout(0.0)).train()
    found = evaluate_model(model, x, y, classes=10, suite="pgd-2+screening", radius="30px", n=30)
    assert found.accuracy == expected
    assert "train-mode" in [finding.name for finding in found.findings]
    assert all(module.training for module in model.modules())
    network.eval()


@pytest.mark.slow  # test_evaluation.py kills evaluations, too
def test_a_process_killed_in_the_middle_goes_on_and_ends_with_the_same_numbers(place, monkeypatch):
    words = [
        "evaluate",
        "net.pt",
        *DATA,
        "--samples",
        "300",
        "--evaluate.batch_size",
        "20",
        "--evaluate.radius",
        "30px",
    ]
    words += ["--suite", "pgd-40x3+screening", "--quiet"]
    assert main([*words, "--out", "whole"]) == 0
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    place = "iaat.evaluate.journal:append_json_line"
    killed = subprocess.run(sending([signal.SIGKILL], place, 20, [*words, "--out", "broken"]), env=one_thread)
    assert killed.returncode == -signal.SIGKILL
    journal = Path("broken")
    assert not list(journal.rglob("results.json"))
    before = next(journal.rglob("journal.jsonl")).read_text().splitlines()
    assert main([*words, "--out", "broken"]) == 0
    after = next(journal.rglob("journal.jsonl")).read_text().splitlines()
    kept = [line for line in before if line in after]
    assert len(kept) >= len(before) - 1
    whole, broken = results("whole"), results("broken")
    for key in ("accuracy", "interval95", "passes_per_sample", "per_class", "verdict", "findings"):
        assert broken[key] == whole[key]
    records = [pd.read_parquet(next(Path(folder).rglob("records.parquet"))) for folder in ("whole", "broken")]
    pd.testing.assert_frame_equal(*records)


def test_runs_and_models_of_others_mix(place, capsys, tmp_path):
    run = str(tmp_path / "run")
    fast = ["--data.limit", "200", "--model.width", "4", "--train.epochs", "1", "--train.validation_n", "10"]
    fast += ["--train.validation_steps", "1", "--evaluate.n", "20", "--evaluate.suite", "pgd-2"]
    assert main(["train", "quickstart-natural", *fast, "--out", run, "--quiet"]) == 0
    words = ["--samples", "20", "--suite", "pgd-2", "--checkpoint", "last", "--quiet"]
    assert main(["evaluate", run, *words, "--trust", "net.pt", "--transfer", "net.pt"]) == 0
    assert "net.pt" in capsys.readouterr().out
    assert main(["evaluate", "net.pt", *DATA, *words, "--transfer", run]) == 0
    assert main(["evaluate", run, "net.pt", *DATA, *words, "--suite", "pgd-2+transfer-2"]) == 0
    printed = capsys.readouterr().out
    assert "run-last" in printed
    assert "net.pt" in printed
    # A model named twice is one, and meets no examples of its own.
    assert main(["evaluate", run, f"{run}/", *words, "--suite", "pgd-2+transfer-2"]) == 0
    assert "no-transfer" in capsys.readouterr().out


def test_other_settings_of_the_same_file_have_another_folder(place):
    for mean in ("[0]", "[0.01]"):
        fix = ["--model.mean", mean, "--model.std", "[1]"]
        assert main(["evaluate", "net.pt", *DATA, "--samples", "20", "--suite", "pgd-2", *fix, "--quiet"]) == 0
    assert len(list(Path("evaluations").iterdir())) == 2


def test_a_baseline_run_gives_mce(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("iaat.evaluate.corruption_accuracy.CORRUPTIONS", STANDARD)
    run = str(tmp_path / "run")
    fast = ["--data.limit", "200", "--model.width", "4", "--train.epochs", "1", "--train.validation_n", "10"]
    fast += ["--train.validation_steps", "1", "--evaluate.n", "20", "--evaluate.suite", "pgd-2"]
    assert main(["train", "quickstart-natural", *fast, "--out", run, "--quiet"]) == 0
    words = ["evaluate", run, "--samples", "20", "--checkpoint", "last", "--quiet", "--suite", "pgd-2+corruptions"]
    assert "no results of these settings in" in refused(capsys, *words, "--baseline", tmp_path / "other")
    assert main(words) == 0
    assert main([*words, "--baseline", run]) == 0
    assert "mCE 100.0 %" in " ".join(capsys.readouterr().out.split())
