"""Each example runs as a user would run it, with small settings, and does what it says."""

import io
import re
import runpy
import subprocess
import sys
import tokenize
from importlib import import_module
from os import environ
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torch.utils._pytree import tree_leaves

import iaat
from helpers.processes import finish, start

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(file.name for file in EXAMPLES.glob("*.py"))
LONGEST = 40
EXTRA = "the examples extra is not installed"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of the user's to run examples in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def run(name, *words, python=sys.executable, launcher=()):
    """Run an example in a process of its own; what it printed."""
    command = [python, *launcher, str(EXAMPLES / name), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Run an example in this process, to save its imports; what it printed."""

    def call(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return call


def percentages(text, what):
    return [float(number) for number in re.findall(rf"{what} ([\d.]+)%", text)]


def same(left, right):
    """Whether two checkpoints are equal to the last bit."""
    pairs = list(zip(tree_leaves(left), tree_leaves(right), strict=True))
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def lines_of_code(file):
    """Numbers of the lines that are neither blank nor comment, after the docstring."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline)
    first, *others = [token for token in tokens if token.type not in skipped]
    assert first.type == tokenize.STRING
    return {line for token in others for line in range(token.start[0], token.end[0] + 1)}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short_says_what_to_install_and_is_in_the_table(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert re.match(r'"""\S.*\n\nInstall: .+\nRun:  .+', text)
    assert len(lines_of_code(EXAMPLES / name)) < LONGEST
    assert f"[{name}]({name})" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_bare_loop_learns_and_a_resumed_run_is_the_same(folder, run_here, monkeypatch):
    printed = run_here("bare_loop.py", 2)
    whole = torch.load("bare_loop.pt")
    assert percentages(printed, "clean")[-1] > 80
    assert percentages(printed, "robust at 32px")[-1] > 40
    assert len((255 * whole["radii"]["values"]).round().unique()) == 3  # up twice, once, or never
    (folder / "interrupted").mkdir()
    monkeypatch.chdir("interrupted")
    run_here("bare_loop.py", 1)
    assert run_here("bare_loop.py", 2).startswith("epoch 2:")
    assert same(torch.load("bare_loop.pt"), whole)


@pytest.mark.slow  # `make examples` runs it
def test_processes_of_ddp_have_the_same_radii_of_all_samples():
    codes, printed = finish(start(2, EXAMPLES / "ddp.py", 1))
    assert codes == [0, 0], printed
    found = [re.findall(r"robust at 32px ([\d.]+)%, (\d+) radii moved, mean ([\d.]+)px", text)[0] for text in printed]
    assert found[0][1:] == found[1][1:]
    assert int(found[0][1]) == 1437
    assert float(found[0][0]) > 25


@pytest.fixture
def own_data(run_here, monkeypatch):
    """The digits in the forms of own_data.py, and its module as `--data.name` finds it."""
    run_here("own_data.py")
    monkeypatch.setattr(sys, "path", [str(EXAMPLES.parent), *sys.path])
    yield import_module("examples.own_data")
    sys.modules.pop("examples.own_data")


def trained(data):
    """A run of two epochs on the training part of a data set, with a small network."""
    settings = {"model.width": 4, "method.steps": 1}
    return iaat.fit("small-cnn", data, epochs=2, radius="32px", settings=settings, batch_size=64, quiet=True)


def test_csv_and_parquet_hold_the_same_samples_and_can_be_trained_on(own_data):
    for split, size in (("train", 1437), ("test", 360)):
        csv, parquet = own_data.csv(split), own_data.parquet(split)
        assert csv.targets == parquet.targets
        assert len(csv) == size
        assert all(csv[row][0].tobytes() == parquet[row][0].tobytes() for row in range(0, size, 50))
    run = trained(own_data.parquet("train"))
    assert run.history[-1].validation_clean > 0.2
    assert len(run.radii.values.unique()) > 2


def test_hugging_face_data_can_be_trained_on(own_data, monkeypatch, folder):
    datasets = pytest.importorskip("datasets", reason=EXTRA)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    run = trained(own_data.hugging_face("train"))
    assert run.history[-1].validation_clean > 0.2
    assert len(run.radii.values.unique()) > 2
    assert run.model.classes == tuple(map(str, range(10)))


def test_wandb_gets_every_epoch_without_a_network():
    pytest.importorskip("wandb", reason=EXTRA)
    run("trackers.py", 2)
    (log,) = Path("wandb").glob("offline-run-*/run-tracked.wandb")
    content = log.read_bytes()
    assert [word for word in (b"radius_mean_px", b"validation_robust", b"small-cnn") if word not in content] == []


def test_radii_find_label_errors_as_cleanlab_does():
    pytest.importorskip("cleanlab", reason=EXTRA)
    printed = run("label_errors.py", 5)
    auroc = {name: float(number) for number, name in re.findall(r"AUROC ([\d.]+)  (.+)", printed)}
    assert len(auroc) == 4
    assert min(auroc.values()) > 0.9
    assert len(re.findall(r"^ +\d+ +\d+ +label", printed, re.MULTILINE)) > 5


def test_lightning_learns_tests_loads_and_goes_on_with_the_radii_of_its_checkpoint():
    pytest.importorskip("lightning", reason=EXTRA)
    run("lightning_module.py", 2)
    (checkpoint,) = Path("lightning_logs/version_0").glob("checkpoints/*.ckpt")
    before = torch.load(checkpoint)["method"]["radii"]["values"]
    assert len((255 * before).round().unique()) > 2
    printed = run("lightning_module.py", 3, checkpoint)
    (tested,) = re.findall(r"robust\W+([\d.]+)", printed.partition("Test metric")[2])
    assert float(tested) > 0.4  # of the trained network
    (checkpoint,) = Path("lightning_logs/version_1").glob("checkpoints/*.ckpt")
    state = torch.load(checkpoint)
    assert state["epoch"] == 2
    step = 19 / 8 * 32 / 255 / 3  # of a visit in a run of three epochs
    after = state["method"]["radii"]["values"]
    assert (after - before).abs().max() < 1.001 * step
    assert printed.splitlines()[-1] == str(iaat.RadiusMemory(len(after), initial=after))  # as they were loaded


def test_hugging_face_trainer_learns_and_a_resumed_run_is_the_same():
    pytest.importorskip("transformers", reason=EXTRA)
    printed = run("hugging_face_trainer.py", 2)
    assert float(re.findall(r"eval_robust_accuracy'?: '?([\d.]+)", printed)[-1]) > 0.4
    first, last = sorted(Path("trainer").glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    expected = [torch.load(last / "method.pt"), (last / "model.safetensors").read_bytes()]
    assert not same(torch.load(first / "method.pt"), expected[0])
    last.rename("whole")
    run("hugging_face_trainer.py", 2, "resume")
    assert same([torch.load(last / "method.pt"), (last / "model.safetensors").read_bytes()], expected)


def test_accelerate_saves_the_radii_of_all_processes_and_goes_on():
    pytest.importorskip("accelerate", reason=EXTRA)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    printed = run("accelerate_loop.py", 1, launcher=launcher)
    assert len(percentages(printed, "robust at 32px")) == 1
    saved = "accelerate_loop/epoch-0"
    before = torch.load(f"{saved}/custom_checkpoint_0.pkl")["radii"]["values"]
    assert (before != 32 / 255).all()
    assert percentages(run("accelerate_loop.py", 1, saved), "robust at 32px")[0] > 40
    after = torch.load(f"{saved}/custom_checkpoint_0.pkl")["radii"]["values"]
    assert (after - before).abs().max() < 1.001 * 19 / 8 * 32 / 255  # one visit


def test_fiftyone_has_radii_as_fields(folder, monkeypatch):
    """FiftyOne may live in an environment of its own, which FIFTYONE_PYTHON names."""
    python = environ.get("FIFTYONE_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import fiftyone"], capture_output=True, check=False).returncode:
        pytest.skip("FiftyOne is not installed: FIFTYONE_PYTHON may name a Python that has it")
    for number in range(4):
        (folder / "images").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 60 * number).save(folder / "images" / f"{number}.png")
    rows = {"label": ["a", "a", "b", "b"], "prediction": ["b", "a", "b", "a"], "radius_px": [3.0, 9.0, 8.0, 1.0]}
    (folder / "run").mkdir()
    table = pa.table(rows | {"path": [f"{number}.png" for number in range(4)]})
    pyarrow.parquet.write_table(table, folder / "run" / "radii.parquet")
    for name in ("FIFTYONE_DATABASE_DIR", "HOME"):
        monkeypatch.setenv(name, str(folder / name))
        (folder / name).mkdir()
    printed = run("fiftyone_radii.py", "run", "images", python=python)
    assert "4 images, radii from 1.0px to 9.0px; 2 misclassified" in printed
    assert re.findall(r"([\d.]+)px  .*/(\d)\.png", printed) == [("1.0", "3"), ("3.0", "0")]
