"""Trackers receive what the log says and change nothing; the event files and the pages about both are real."""

import json
import random
import re
import sys
import types
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import iaat
from helpers.training import QUIET, Interrupting, same, tiny
from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe
from iaat.evaluate.results import read_results
from iaat.experiments.compare_runs import compare
from iaat.experiments.run_recipe import run_recipe
from iaat.experiments.sweep import read_cells
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder
from iaat.runtime.distributed import Ranks
from iaat.train import Trainer, train
from iaat.train.tensorboard_tracker import INSTALL_TENSORBOARD, TensorBoard
from iaat.train.trackers import Tracker, Trackers

FAST = [
    *("--data.limit", "120", "--model.width", "4", "--train.epochs", "2", "--train.batch_size", "64"),
    *("--train.validation_steps", "1", "--train.validation_n", "10"),
    *("--evaluate.suite", "pgd", "--evaluate.steps", "1", "--evaluate.n", "30"),
]
ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs/howto"
IAAT = tiny("iaat", "--method.steps", "1")


def snippets(page):
    return re.findall(r"```python\n(.*?)```", (HOWTO / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def execute(code, **names):
    exec(compile(code, "page.md", "exec"), names)
    return names


def example(name):
    """Code of one of the examples."""
    return (ROOT / "examples" / name).read_text(encoding="utf-8")


class Listening(Tracker):
    """Keeps the calls it receives, and checks that their files are there."""

    def __init__(self):
        self.calls = []

    def started(self, recipe, run, records):
        self.run = RunFolder(run)
        self.calls.append(("started", recipe["method"]["name"], run.name, [record.epoch for record in records]))

    def epoch(self, record):
        assert record == self.run.metrics()[-1]
        assert load_checkpoint(self.run.checkpoint("last"))["epoch"] == record.epoch
        self.calls.append(("epoch", record.epoch))

    def evaluated(self, results):
        (file,) = self.run.path.glob(f"evaluations/{results.checkpoint}-*/results.json")
        assert results.accuracy == read_results(file).accuracy
        results.accuracy.clear()  # of a copy
        self.calls.append(("evaluated", results.checkpoint))

    def finished(self):
        self.calls.append("finished")


class Meddling(Tracker):
    """Spoils what it is given and the global generators, and in the end fails."""

    def started(self, recipe, run, records):
        recipe["train"]["epochs"] = 100
        records.append(None)

    def epoch(self, record):
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        record.radius_quantiles_px["50"] = 0
        if record.epoch == 2:
            raise ConnectionError("no network")

    def finished(self):
        raise AssertionError("one that failed gets no more calls")


@pytest.fixture
def plain(monkeypatch):
    """No pictures, which take longer than these trainings."""
    monkeypatch.setattr("iaat.experiments.run_recipe.draw_run", lambda *_: [])


@pytest.fixture
def events():
    """Reader of event files: scalars, histograms and texts by their tags."""
    kinds = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    shown = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_accumulator")  # what the page shows
    # Files of one second are read in the order of this number as text, in which 10 comes before 9.
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    writer._global_uid = writer.AtomicCounter(1000)

    def read(run):
        folder, everything = str(run.path / "tensorboard"), dict.fromkeys(kinds.DEFAULT_SIZE_GUIDANCE, 0)
        found = kinds.EventAccumulator(folder, everything).Reload()
        page = shown.EventAccumulator(folder, {"tensors": 0}).Reload()
        tags = found.Tags()
        scalars = {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in tags["scalars"]}
        for tag, values in scalars.items():
            assert [(event.step, event.tensor_proto.float_val[0]) for event in page.Tensors(tag)] == values
        return SimpleNamespace(
            scalars=scalars,
            histograms={tag: found.Histograms(tag) for tag in tags["histograms"]},
            recipes=[event.tensor_proto.string_val[0].decode() for event in page.Tensors("recipe/text_summary")],
            hparams=found.summary_metadata["_hparams_/session_start_info"],
        )

    return read


def logged(run):
    """The scalars that `metrics.jsonl` has."""
    found = {}
    for record in map(json.loads, run.metrics_file.read_text().splitlines()):
        quantiles = record.pop("radius_quantiles_px", {})
        for key, value in [
            *record.items(),
            *((f"radius_quantiles_px/{key}", value) for key, value in quantiles.items()),
        ]:
            if key not in ("epoch", "version"):
                found.setdefault(key, []).append((record["epoch"], pytest.approx(value, rel=1e-6)))
    return found


def training_part(found):
    return {tag: values for tag, values in found.scalars.items() if not tag.startswith("evaluation/")}


def test_event_files_say_what_the_log_says(tmp_path, plain, events):
    run = RunFolder(tmp_path / "run")
    assert main(["train", "quickstart", *FAST, "--tensorboard", "--out", str(run.path), "--quiet"]) == 0
    found = events(run)
    assert training_part(found) == logged(run)
    assert {"loss", "lr", "forwards", "validation_robust", "radius_quantiles_px/95"} <= found.scalars.keys()
    for file in run.path.glob("evaluations/*/results.json"):
        results = json.loads(file.read_text())
        for name, accuracy in results["accuracy"].items():
            tag = f"evaluation/{results['checkpoint']}/{name}"
            assert found.scalars[tag] == [(results["epoch"], pytest.approx(accuracy))]
    (text,) = found.recipes
    assert re.sub(r"(?m)^    ", "", text) == run.recipe_file.read_text()
    assert found.hparams.plugin_data.plugin_name == "hparams"
    for event in found.histograms["radius_px"]:
        px = run.radii_after(event.step)[1].astype(np.float64) * 255
        shown = event.histogram_value
        assert (shown.num, sum(shown.bucket)) == (len(px), len(px))
        assert (shown.min, shown.max, shown.sum) == pytest.approx((px.min(), px.max(), px.sum()))
    assert [event.step for event in found.histograms["radius_px"]] == run.radii_epochs()


def test_a_resumed_run_has_every_epoch_once_as_it_was_made_last(tmp_path, events, monkeypatch):
    run = RunFolder(tmp_path / "run")
    train(IAAT, run, QUIET, trackers=[TensorBoard()])  # not closed, as a process that is killed leaves it
    old = events(run)
    assert training_part(old) == logged(run)
    run.checkpoint("last").unlink()  # so that the third epoch is made again, and comes out otherwise
    validate = Trainer.validate
    monkeypatch.setattr(Trainer, "validate", lambda trainer: validate(trainer)._replace(clean=0.125))
    train(IAAT, run, QUIET, resume=True, trackers=[TensorBoard()])
    new = events(run)
    assert training_part(new) == logged(run)
    assert old.scalars["validation_clean"][2] != new.scalars["validation_clean"][2] == (3, 0.125)
    assert old.scalars["validation_clean"][:2] == new.scalars["validation_clean"][:2]
    assert [event.step for event in new.histograms["radius_px"]] == [1, 2, 3]
    assert len(new.recipes) == 1


def test_a_run_begun_without_gets_its_whole_curves_and_one_that_is_replaced_only_its_own(tmp_path, plain, events):
    run = RunFolder(tmp_path / "run")
    words = ["train", "quickstart", *FAST, "--out", str(run.path), "--quiet"]
    assert main(words) == 0
    assert not (run.path / "tensorboard").exists()
    assert main([*words, "--resume", "--tensorboard"]) == 0
    assert training_part(events(run)) == logged(run)
    assert main([*words, "--overwrite", "--tensorboard", "--train.epochs", "1"]) == 0
    assert training_part(events(run)) == logged(run)
    assert len(list((run.path / "tensorboard").iterdir())) == 1


def test_an_epoch_that_is_made_again_after_faults_takes_the_place_of_the_old_one(tmp_path, events):
    run, tracker = RunFolder(tmp_path), TensorBoard()
    tracker.started({"seed": 0}, run.path, [])
    for epoch, loss in ((1, 4.0), (2, 3.0), (3, 2.0), (2, 2.5), (3, 2.25)):
        tracker.epoch(EpochRecord(epoch=epoch, loss=loss, forwards=1, backwards=1))
    tracker.finished()
    assert events(run).scalars["loss"] == [(1, 4.0), (2, 2.5), (3, 2.25)]


def test_compare_writes_the_runs_it_trains(tmp_path, plain, events, monkeypatch):
    monkeypatch.setattr("iaat.experiments.comparison.Comparison.draw", lambda *_: None)
    words = ["compare", "quickstart-natural", *FAST, "--seeds", "2", "--out", str(tmp_path), "--quiet"]
    assert main([*words, "--tensorboard"]) == 0
    for seed in (0, 1):
        run = RunFolder(tmp_path / f"quickstart-natural-seed{seed}")
        found = events(run)
        assert training_part(found) == logged(run)
        assert "evaluation/best/clean" in found.scalars
        assert "radius_px" not in found.histograms


def test_a_tracker_gets_each_call_once_its_files_are_there(tmp_path, plain):
    tracker, run = Listening(), RunFolder(tmp_path / "run")
    with Trackers([tracker]) as trackers, pytest.raises(KeyboardInterrupt):
        train(IAAT, run, Interrupting(8), trackers=[trackers])  # in the middle of epoch 3
    with Trackers([tracker]) as trackers:
        train(IAAT, run, QUIET, resume=True, trackers=[trackers])
    new = ("started", "iaat", "run", [])
    again = ("started", "iaat", "run", [1, 2])
    assert tracker.calls == [new, ("epoch", 1), ("epoch", 2), "finished", again, ("epoch", 3), "finished"]


def test_trackers_receive_a_run_and_its_evaluations_to_the_end(tmp_path, plain):
    tracker, run = Listening(), RunFolder(tmp_path / "quickstart-seed0")
    run_recipe(load_recipe("quickstart", FAST), run, QUIET, trackers=[tracker])
    evaluated = [("evaluated", "best"), ("evaluated", "last")]
    assert tracker.calls[1:] == [("epoch", 1), ("epoch", 2), *evaluated, "finished"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iaat.experiments.comparison.Comparison.draw", lambda *_: None)
        cells = read_cells(["quickstart"], FAST, [0, 1])
        tracker.calls.clear()
        compare(cells, tmp_path, QUIET, trackers=[tracker])
    assert tracker.calls == [
        ("started", "iaat", "quickstart-seed1", []),
        *(("epoch", 1), ("epoch", 2), ("evaluated", "best"), "finished"),
    ]


def test_a_tracker_that_fails_is_named_once_and_dropped_and_the_run_ends_as_without_it(tmp_path):
    alone, watched = RunFolder(tmp_path / "alone"), RunFolder(tmp_path / "watched")
    train(IAAT, alone, QUIET)
    other = Listening()
    with (
        pytest.warns(UserWarning, match=r"tracker Meddling failed.*ConnectionError: no network.*run goes on") as shown,
        Trackers([Meddling(), other]) as trackers,
    ):
        train(IAAT, watched, QUIET, trackers=[trackers])
    assert len(shown) == 1
    assert [epoch for _, epoch, *_ in other.calls[1:4]] == [1, 2, 3]
    assert watched.metrics_file.read_bytes() == alone.metrics_file.read_bytes()
    for which in ("last", "best"):
        assert same(load_checkpoint(alone.checkpoint(which)), load_checkpoint(watched.checkpoint(which)))


def test_a_full_disk_under_the_event_files_does_not_stop_the_run(tmp_path, events, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("threading.excepthook", lambda _: None)  # TensorBoard's own thread says it, too
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    run = RunFolder(tmp_path / "run")
    with (
        pytest.warns(UserWarning, match="tracker TensorBoard failed.*No space left"),
        Trackers([TensorBoard()]) as trackers,
    ):
        train(IAAT, run, QUIET, trackers=[trackers])
    assert len(run.metrics()) == 3


def test_a_stop_passes_through_a_tracker(tmp_path):
    class Stopping(Tracker):
        def started(self, recipe, run, records):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Trackers([Stopping()]) as trackers:
        trackers.started({}, tmp_path, [])


class Counting(Tracker):
    """Keeps the names of the calls it receives."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name in ("started", "epoch", "evaluated", "finished"):
            self.calls.append(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize(("rank", "expected"), [(0, ["started", "epoch", "finished"]), (1, [])])
def test_only_the_main_process_of_several_calls_trackers(rank, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("iaat.train.trackers.current", lambda: Ranks(rank, 2, rank))
    tracker = Counting()
    with Trackers([tracker]) as trackers:
        trackers.started({}, tmp_path, [])
        trackers.epoch(EpochRecord(epoch=1, forwards=1, backwards=1))
        monkeypatch.setattr("iaat.train.trackers.current", Ranks)  # the group has ended: each is alone again
    assert tracker.calls == expected


def test_trackers_of_a_run_that_never_started_get_no_calls():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Trackers([Meddling()]) as trackers:
            trackers.epoch(EpochRecord(epoch=2, forwards=1, backwards=1, radius_quantiles_px={}))


def test_no_module_imports_tensorboard_as_it_is_loaded():
    sources = [file.read_text(encoding="utf-8") for file in Path(iaat.__file__).parent.rglob("*.py")]
    assert not [
        source for source in sources if re.search(r"^\s*(import|from) (?!iaat\.)\S*tensorboard", source, re.MULTILINE)
    ]


def test_help_names_the_option(capsys):
    for words in (["train", "--help"], ["compare", "--help"]):
        with pytest.raises(SystemExit):
            main(words)
        shown = " ".join(capsys.readouterr().out.split())
        assert "--tensorboard" in shown
        assert "RUN/tensorboard" in shown
    assert main(["train", "quickstart", "--help"]) == 0
    assert "--tensorboard" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "compare"])
def test_without_tensorboard_the_option_is_refused_before_anything_is_done(command, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("tensorboard", "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert main([command, "quickstart", "--tensorboard", "--out", str(tmp_path / "run")]) == 2
    assert (
        capsys.readouterr().err
        == f"error: --tensorboard needs tensorboard, which is not installed: {INSTALL_TENSORBOARD}\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_trained_for_an_option_without_effect(capsys):
    assert main(["compare", "quickstart", "--no-train", "--tensorboard"]) == 2
    assert "--no-train trains nothing" in capsys.readouterr().err


def test_the_example_of_trackers_runs_with_what_wandb_documents(tmp_path, plain, monkeypatch):
    """The module stands for wandb 0.31: names, keywords and the order of steps as its reference has them."""

    class Run:
        def __init__(self, **options):
            self.options, self.history, self.ended = options, [], False

        def log(self, data, step=None, commit=None):
            assert not self.ended
            assert step >= max((last for last, _ in self.history), default=0)
            self.history.append((step, json.loads(json.dumps(data))))

        def finish(self, exit_code=None):
            self.ended = True

    runs = []

    def init(*, project=None, id=None, config=None, resume=None, mode=None):  # noqa: A002
        assert mode == "offline"
        assert resume in ("allow", "never", "must", "auto", None)
        assert not set(id) & set("/\\#?%:")
        runs.append(Run(project=project, id=id, config=config))
        return runs[-1]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    monkeypatch.setattr(sys, "argv", ["trackers.py", "1"])
    execute(example("trackers.py"), __name__="__main__")
    monkeypatch.setattr(sys, "argv", ["trackers.py", "2"])
    names = execute(example("trackers.py"), __name__="__main__")
    log = [(record.epoch, record.to_json()) for record in names["run"].history]
    assert runs[0].history + runs[1].history == log
    for run, epochs in zip(runs, (1, 2), strict=True):
        assert run.options["config"]["train"]["epochs"] == epochs
        assert (run.options["id"], run.ended) == ("tracked", True)
    assert list(Path("runs/tracked/tensorboard").glob("events*"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder in which runs/mine was trained on a folder of images."""
    place = tmp_path_factory.mktemp("tables")
    generator = np.random.default_rng(0)
    for split, name in ((split, name) for split in ("train", "test") for name in ("cat", "dog")):
        (place / "images" / split / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 256, (12, 12, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(place / "images" / split / name / f"{number:03d}.png")
    words = [
        *("--data.root", str(place / "images"), "--data.size", "12", "--data.crop", "1", "--model.name", "small-cnn"),
        *("--train.epochs", "1", "--train.batch_size", "16", "--method.steps", "1", "--train.validation_steps", "1"),
        *("--evaluate.suite", "pgd", "--evaluate.steps", "1"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iaat.experiments.run_recipe.draw_run", lambda *_: [])
        assert main(["train", "folder-iaat", *words, "--out", str(place / "runs/mine"), "--quiet"]) == 0
    return place


PANDAS, POLARS = snippets("tables.md")


def named_columns(page, table):
    """Columns that a page's table names, by the file it is about."""
    part = page.partition(f"{table}`: ")[2].partition("\n\n```")[0].partition("\n\n`RUN")[0]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_the_page_names_every_column(tables):
    page = (HOWTO / "tables.md").read_text(encoding="utf-8")
    radii = pd.read_parquet(tables / "runs/mine/radii.parquet")
    assert sorted(named_columns(page, "radii.parquet")) == sorted(radii.columns)
    (records, _) = (pd.read_parquet(file) for file in tables.glob("runs/mine/evaluations/*/records.parquet"))
    assert named_columns(page, "records.parquet") == list(records.columns)


def test_the_table_of_radii_opens_in_pandas(tables, monkeypatch):
    monkeypatch.chdir(tables)
    names = execute(PANDAS)
    radii, suspects = names["radii"], names["suspects"]
    assert len(radii) == 36
    assert 0 < len(suspects) <= 20
    assert (suspects["prediction"] != suspects["label"]).all()
    assert suspects["radius_px"].is_monotonic_increasing


def test_the_records_open_in_polars(tables, monkeypatch):
    pytest.importorskip("polars")
    monkeypatch.chdir(tables)
    robust = execute(POLARS)["robust"]
    assert robust.height == 4  # two checkpoints, two classes
    for file, label, share in robust.iter_rows():
        records = pd.read_parquet(file)
        own = records[records["label"] == label]
        assert share == pytest.approx((own["misclassified_by"] == "none").mean())


def test_the_example_of_fiftyone_runs_with_what_it_documents(tables, monkeypatch):
    """The module stands for FiftyOne 1.22: a sample takes plain values, and the file must be there."""
    views = {}

    class Sample(dict):
        def __init__(self, filepath=None, tags=None, metadata=None, **fields):
            assert Path(filepath).exists()
            assert type(fields["radius_px"]) is float
            super().__init__(filepath=filepath, **fields)

        __getattr__ = dict.__getitem__

    class Dataset(list):
        def __init__(self, name=None, persistent=False, overwrite=False):
            super().__init__()

        add_samples = list.extend
        save_view = staticmethod(views.__setitem__)

        def match(self, holds):
            found = Dataset()
            found.extend(filter(holds, self))
            return found

        def sort_by(self, field_or_expr, reverse=False):
            return sorted(self, key=lambda sample: sample[field_or_expr], reverse=reverse)

        def bounds(self, field_or_expr):
            values = [sample[field_or_expr] for sample in self]
            return min(values), max(values)

    class Field:
        def __init__(self, name):
            self.name, part = name.split(".")
            assert part == "label"

        def __ne__(self, other):
            return lambda sample: sample[self.name] != sample[other.name]

    def classification(*, label=None, confidence=None):
        assert isinstance(label, str)
        return label

    fiftyone = types.SimpleNamespace(Dataset=Dataset, Sample=Sample, ViewField=Field, Classification=classification)
    monkeypatch.setitem(sys.modules, "fiftyone", fiftyone)
    monkeypatch.chdir(tables)
    monkeypatch.setattr(sys, "argv", ["fiftyone_radii.py", "runs/mine", "images"])
    dataset = execute(example("fiftyone_radii.py"))["dataset"]
    radii = pd.read_parquet("runs/mine/radii.parquet").sort_values("radius_px")
    assert [sample.radius_px for sample in dataset.sort_by("radius_px")] == radii["radius_px"].tolist()
    assert all(sample.label == Path(sample.filepath).parent.name for sample in dataset)
    (view,) = views.values()
    assert [sample.radius_px for sample in view] == radii[radii.prediction != radii.label].radius_px.tolist()
