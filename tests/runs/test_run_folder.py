"""The run folder: what is in it comes back, and nothing is ever replaced that is not a run's."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from iaat.config.differences import recipe_differences
from iaat.config.load_recipe import load_recipe
from iaat.errors import UserError
from iaat.radius.snapshots import checksum
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder, runs_in
from iaat.runs.training_log import EpochTiming


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("quickstart", ["--seed", "3", "--train.epochs", "2"])


@pytest.fixture
def run(tmp_path, recipe):
    """A run with one epoch done."""
    run = RunFolder(tmp_path / "run")
    run.create(recipe, overwrite=False)
    run.log_epoch(EpochRecord(epoch=1, forwards=1, backwards=1), EpochTiming(1, 1.0))
    run.checkpoint("last").write_text("weights")
    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_new_run_holds_its_recipe_and_versions(run, recipe):
    assert run.exists()
    assert run.recipe() == recipe
    assert run.recipe(["--evaluate.n", "7"]).evaluate.n == 7
    facts = json.loads((run.path / "run.json").read_text())
    assert (facts["name"], facts["seed"], facts["versions"]["torch"]) == ("quickstart", 3, torch.__version__)


def test_a_run_with_results_is_replaced_only_with_overwrite(run, recipe):
    before = contents(run.path)
    with pytest.raises(UserError, match="--overwrite"):
        run.create(recipe, overwrite=False)
    assert contents(run.path) == before
    (run.path / "radii").mkdir()
    (run.path / ".last.pt.123.tmp").write_text("left by a crash")
    run.create(dataclasses.replace(recipe, seed=4), overwrite=True)
    assert {path.name for path in run.path.iterdir()} == {"recipe.yaml", "run.json"}
    assert run.recipe().seed == 4


def test_what_a_system_leaves_in_a_folder_is_no_obstacle_and_stays(run, recipe, tmp_path):
    left = {".DS_Store", "._last.pt", "Thumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN"}
    for folder in (run.path, tmp_path / "new"):
        folder.mkdir(exist_ok=True)
        for name in left:
            (folder / name).mkdir() if name.startswith(("@", "$")) else (folder / name).touch()
        RunFolder(folder).create(recipe, overwrite=True)
        assert {path.name for path in folder.iterdir()} == {"recipe.yaml", "run.json"} | left


def test_a_run_without_results_is_started_anew(run, recipe):
    run.checkpoint("last").unlink()
    run.create(recipe, overwrite=False)
    assert run.metrics() == []


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        ["notes.txt"],
        ["recipe.yaml"],  # the user's own recipe, in a folder of the user's own
        ["recipe.yaml", "thesis.tex"],
        ["recipe.yaml", "run.json", "thesis.tex"],
        ["recipe.yaml", "run.json", "last.pt", ".git"],
    ],
)
def test_files_that_are_not_of_a_run_are_never_touched(tmp_path, recipe, files, overwrite):
    for name in files:
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="--out"):
        RunFolder(tmp_path).create(recipe, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_an_empty_folder_is_used_and_a_file_is_not(tmp_path, recipe, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file"):
        RunFolder(tmp_path / "file").create(recipe, overwrite=True)
    (tmp_path / "file").unlink()
    RunFolder(tmp_path).create(recipe, overwrite=False)
    assert RunFolder(tmp_path).recipe() == recipe


def test_the_recipe_of_a_folder_without_a_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"not a run folder.*recipe\.yaml"):
            RunFolder(path).recipe()


def test_radii_come_back_for_the_trained_samples_alone(run):
    radii, seen = torch.rand(20), torch.tensor([3, 4, 11, 19])
    for epoch in (10, 2):
        run.save_radii(epoch, radii + epoch, seen)
    assert run.radii_epochs() == [2, 10]
    index, radius = run.radii_after(10)
    assert index.tolist() == seen.tolist()
    assert torch.equal(torch.from_numpy(radius), radii[seen] + 10)


def test_the_history_of_radii_is_of_the_samples_that_all_epochs_have(tmp_path):
    radii, run = torch.rand(3, 20), RunFolder(tmp_path)
    for epoch, seen in ((1, [3, 11]), (2, [3, 4, 11, 19]), (3, [3, 4, 11])):
        run.save_radii(epoch, radii[epoch - 1], torch.tensor(seen))
    index, history = run.radius_history()
    assert index.tolist() == [3, 11]
    assert torch.equal(torch.from_numpy(history), radii[:, [3, 11]])


def test_a_run_without_radii_has_no_history_of_them(tmp_path):
    with pytest.raises(UserError, match="has no radii: its method trains every sample at one radius"):
        RunFolder(tmp_path).radius_history()


def test_going_back_drops_later_epochs_everywhere(run):
    for epoch in (2, 3):
        run.log_epoch(EpochRecord(epoch=epoch, forwards=1, backwards=1), EpochTiming(epoch, 1.0))
    for epoch in (1, 2, 3):
        run.save_radii(epoch, torch.rand(4), torch.arange(4))
    run.go_back_to(2, [EpochRecord(epoch=epoch, forwards=1, backwards=1) for epoch in (1, 2)])
    assert [record.epoch for record in run.metrics()] == [1, 2]
    assert [json.loads(line)["epoch"] for line in run.timings_file.read_text().splitlines()] == [1, 2]
    assert run.radii_epochs() == [1, 2]
    run.go_back_to(0, [])
    assert (run.metrics(), run.radii_epochs()) == ([], [])


def test_a_flipped_bit_in_a_snapshot_of_radii_is_noticed(run):
    run.save_radii(1, torch.rand(50), torch.arange(50))
    file = run.path / "radii" / "0001.safetensors"
    content = file.read_bytes()
    for place in range(len(content) - 600, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 8
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"0001\.safetensors is damaged.*delete it"):
            run.radii_after(1)
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="is damaged"):
        run.radii_after(1)


FORGED = {
    "index beyond": ({"index": np.array([0, 4])}, "index 4 is outside its 4 radii"),
    "index below": ({"index": np.array([-1])}, "index -1 is outside"),
    "float index": ({"index": np.array([0.0])}, r".*index float64 \(1,\)"),
    "table of indices": ({"index": np.zeros((2, 2), np.int64)}, r".*index int64 \(2, 2\)"),
    "text for radii": ({"radius": np.zeros(4, np.uint8)}, "radius is uint8"),
    "negative": ({"radius": np.array([0, -1, 0, 0], np.float32)}, "a radius is -1.0"),
    "nan": ({"radius": np.array([0, np.nan, 0, 0], np.float32)}, "a radius is nan"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_radii_and_indices_that_no_training_writes_are_refused_under_a_valid_checksum(run, kind):
    change, message = FORGED[kind]
    run.save_radii(1, torch.rand(4), torch.arange(4))
    arrays = {"radius": np.zeros(4, np.float32), "index": np.arange(4), **change}
    file = run.path / "radii" / "0001.safetensors"
    file.write_bytes(save(arrays, metadata={"crc32": checksum(arrays)}))
    with pytest.raises(UserError, match=rf"0001\.safetensors is damaged \({message}"):
        run.radii_after(1)


@pytest.mark.parametrize("name", ["evaluations", "metrics.jsonl", "radii/deeper", "checkpoints", "train.lock"])
def test_links_out_of_the_run_folder_are_refused(run, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = run.path / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    with pytest.raises(UserError, match=f"{link.name} leads out of the run folder.*outside"):
        run.recipe()
    with pytest.raises(UserError, match="leads out of the run folder"):
        run.check_free(overwrite=True)
    with pytest.raises(UserError, match="leads out of the run folder"):
        run.training()


def test_links_within_the_run_folder_are_fine(run, recipe):
    (run.path / "best.pt").symlink_to(run.path / "last.pt")
    assert run.recipe() == recipe


def test_what_computes_otherwise_than_when_a_run_was_started_is_named(run):
    assert run.changed_versions() == []
    facts = json.loads((run.path / "run.json").read_text())
    facts["versions"]["torch"] = "1.0"
    (run.path / "run.json").write_text(json.dumps(facts))
    assert run.changed_versions() == [f"torch 1.0 -> {torch.__version__}"]


def test_training_cost_is_the_mean_of_passes_and_the_sum_of_seconds(tmp_path, recipe):
    run = RunFolder(tmp_path)
    run.create(recipe, overwrite=False)
    for epoch, forwards in ((1, 4.0), (2, 10.0)):
        record = EpochRecord(epoch=epoch, forwards=forwards, backwards=2 * forwards, radius_mean_px=1.0 * epoch)
        run.log_epoch(record, EpochTiming(epoch, 1.5))
    expected = {"train_forwards": 7.0, "train_backwards": 14.0, "train_seconds": 3.0, "radius_mean_px": 2.0}
    assert run.training_cost() == expected
    until_first = {"train_forwards": 4.0, "train_backwards": 8.0, "train_seconds": 1.5, "radius_mean_px": 1.0}
    assert run.training_cost(1) == until_first


@pytest.mark.parametrize("epochs", [(1, 1), (2, 1), (1, 3), (2,)])
def test_a_log_without_every_epoch_once_has_no_training_cost(tmp_path, recipe, epochs):
    run = RunFolder(tmp_path)
    run.create(recipe, overwrite=False)
    for epoch in epochs:
        run.log_epoch(EpochRecord(epoch=epoch, forwards=1, backwards=1), EpochTiming(epoch, 1.0))
    with pytest.warns(UserWarning, match="does not have every epoch once") as caught:
        assert run.training_cost() == {}
    assert [str(one.message).rpartition("; ")[2] for one in caught] == [
        "passes of training not known",
        "seconds of training not known",
    ]


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ([], []),
        (["--data.root", "/elsewhere", "--data.workers", "2", "--train.device", "cuda", "--data.stream", "true"], []),
        (["--data.extra", "elsewhere.npz"], []),
        (["--data.extra_ratio", "0.5"], ["data.extra_ratio: 0.7 -> 0.5"]),
        (["--train.lr", "0.7"], ["train.lr: 0.1 -> 0.7"]),
        (["--seed", "5", "--data.limit", "300"], ["seed: 0 -> 5", "data.limit: None -> 300"]),
        (["--model.options", "{a: 1}"], ["model.options: {} -> {'a': 1}"]),
    ],
)
def test_differences_name_what_would_train_differently(words, changed):
    start = ["--train.lr", "0.1"]
    assert recipe_differences(load_recipe("quickstart", start), load_recipe("quickstart", [*start, *words])) == changed


L2 = ("--method.norm", "l2", "--method.radius", "0.5", "--evaluate.norm", "l2")
CAT = ("--method", "cat", "--method.c", "1")


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ([], ["--train.epochs", "7"], ["train.epochs: 7 -> 30"]),
        ([], ["--method.reach", "3"], ["method.reach: 3.0 -> 2.375"]),
        ([*CAT], [*CAT, "--train.epochs", "7"], ["train.epochs: 7 -> 30"]),
        (
            [],
            ["--method.start", "0.1", "--method.cap", "0.5"],
            ["method.cap: '127.5px' -> None", "method.start: '25.5px' -> None"],
        ),
        (
            [*L2, "--evaluate.radius", "0.5"],
            [*L2, "--evaluate.radius", "128/255"],
            ["evaluate.radius: '0.50196078' -> '0.5'"],
        ),
        (["--method", "iaat_paper"], ["--method", "iaat_paper", "--method.reach", "3"], ["method.reach: 3.0 -> 2.375"]),
        (
            ["--method", "iaat_paper", "--method.beta", "0.1"],
            ["--method", "iaat_paper", "--method.beta", "0.1", "--method.reach", "3"],
            [],
        ),
    ],
)
def test_differences_name_settings_in_one_unit_and_not_what_follows_from_them(before, after, changed):
    old, new = (load_recipe("quickstart", ["--train.epochs", "30", *words]) for words in (after, before))
    assert recipe_differences(old, new) == changed


def test_colour_written_down_and_colour_by_default_are_no_difference():
    """Run folders from before `data.channels` could be None hold a 3."""
    recipes = [load_recipe("quickstart", words) for words in ([], ["--data.channels", "3"], ["--data.channels", "1"])]
    assert recipe_differences(recipes[1], recipes[0]) == []
    assert recipe_differences(recipes[2], recipes[0]) == ["data.channels: 1 -> 3"]


def test_differences_of_methods_name_every_setting_that_comes_or_goes():
    iaat, natural = load_recipe("quickstart"), load_recipe("quickstart", ["--method", "natural"])
    ours, theirs = iaat.sections()["method"], natural.sections()["method"]
    acting = [key for key in ours if ours[key] is not None and key not in iaat.method.without_effect()]
    own = {f"method.{key}": repr(ours[key]) for key in acting if key not in theirs}
    assert {"method.radius", "method.reach", "method.steps", "method.norm"} <= own.keys()
    gone = {f"{key}: {value} -> None" for key, value in own.items()}
    come = {f"{key}: None -> {value}" for key, value in own.items()}
    assert set(recipe_differences(iaat, natural)) == {"method.name: 'iaat' -> 'natural'", *gone}
    assert set(recipe_differences(natural, iaat)) == {"method.name: 'natural' -> 'iaat'", *come}


def test_runs_are_found_in_a_folder_of_them(run, tmp_path, recipe):
    other = RunFolder(run.path.with_name("another"))
    other.create(recipe, overwrite=False)
    (run.path.parent / "comparison.json").write_text("{}")
    (run.path.parent / "evaluations").mkdir()
    assert runs_in(run.path) == [run]
    assert runs_in(run.path.parent) == sorted([run, other], key=lambda each: each.path)
    assert runs_in(tmp_path / "no such folder") == [RunFolder(tmp_path / "no such folder")]
