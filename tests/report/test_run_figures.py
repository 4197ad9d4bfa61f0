"""The table and the figures of a run folder show what was trained on, and what became of it."""

import numpy as np
import pyarrow.parquet
import pytest
import torch
from matplotlib.figure import Figure

from iaat.analysis import SCREEN, quantiles_by_class, radius_histograms
from iaat.config.load_recipe import load_recipe
from iaat.data import InMemorySource
from iaat.errors import UserError
from iaat.report import run_figures
from iaat.report.run_figures import draw_run, training_run, write_radii
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder
from iaat.runs.training_log import EpochTiming

SIZE, SEEN, CLASSES = 80, 60, ("cat", "dog", "eel")
SCALE = 0.25 / 255


def source(shape=(1, 4, 4), paths=None):
    """Samples that differ: every value of sample i is i / 255."""
    x = torch.arange(SIZE, dtype=torch.uint8).view(-1, *(1 for _ in shape)).expand(-1, *shape)
    return InMemorySource(x, torch.arange(SIZE) % 3, CLASSES, paths=paths)


@pytest.fixture
def run(tmp_path):
    """A run of two epochs that trained on 60 of 80 samples, no radius of which equals another."""
    folder = RunFolder(tmp_path / "run")
    folder.create(load_recipe("quickstart"), overwrite=False)
    seen = torch.randperm(SIZE, generator=torch.Generator().manual_seed(1))[:SEEN].sort().values
    for epoch in (1, 2):
        record = EpochRecord(epoch=epoch, forwards=1.0, backwards=1.0, loss=1.0, validation_clean=0.5)
        folder.log_epoch(record, EpochTiming(epoch, 1.0))
        folder.save_radii(epoch, radii(epoch), seen)
    return folder


def radii(epoch):
    """The radius of every sample after an epoch, `[SIZE]`."""
    return torch.randperm(SIZE, generator=torch.Generator().manual_seed(10 + epoch)) * SCALE


def predictions():
    return torch.arange(SEEN) % 2


@pytest.fixture
def drawn(monkeypatch):
    """What the four charts were given, by the name of their function; empty figures are drawn."""
    calls = {}

    def recorder(name):
        def record(*args, **kwargs):
            calls[name] = (args, kwargs)
            return Figure(figsize=(1, 1))

        return record

    for name in ("draw_training", "draw_radius_histograms", "draw_class_radii", "draw_extremes"):
        monkeypatch.setattr(run_figures, name, recorder(name))
    return calls


@pytest.mark.parametrize(("asked", "epoch"), [(None, 2), (2, 2), (1, 1)])
def test_the_table_is_the_snapshot_of_the_epoch(run, asked, epoch):
    paths = [f"{number}.png" for number in range(SIZE)]
    table = write_radii(run, source(paths=paths), predictions(), asked)[0].to_pydict()
    index, radius = run.radii_after(epoch)
    assert table["index"] == index.tolist()
    assert table["radius"] == radius.tolist() == radii(epoch)[index].tolist()
    assert table["label_id"] == [number % 3 for number in index]
    assert table["label"] == [CLASSES[number % 3] for number in index]
    assert table["prediction_id"] == predictions().tolist()
    assert table["path"] == [f"{number}.png" for number in index]
    assert set(table["epoch"]) == {epoch}


def test_the_table_is_written_into_the_run_or_where_asked(run, tmp_path):
    table, file = write_radii(run, source(), predictions())
    assert file == run.path / "radii.parquet"
    assert pyarrow.parquet.read_table(file).equals(table)
    assert table.schema.metadata == {b"norm": b"linf"}
    (run.path / "recipe.yaml").write_text("method: {name: iaat, norm: l2}")
    _, in_norm = write_radii(run, source(), predictions(), out=tmp_path / "l2.parquet")
    assert pyarrow.parquet.read_table(in_norm).schema.metadata == {b"norm": b"l2"}
    assert "path" not in table.column_names
    first, its_file = write_radii(run, source(), predictions(), 1)
    assert its_file == run.path / "radii" / "0001.parquet"
    assert pyarrow.parquet.read_table(its_file).equals(first)
    _, asked = write_radii(run, source(), predictions(), 1, tmp_path / "first.csv")
    assert asked == tmp_path / "first.csv"
    assert len(asked.read_text().splitlines()) == 1 + SEEN
    assert pyarrow.parquet.read_table(file).equals(table)
    assert run.radii_epochs() == [1, 2]


def test_without_a_model_of_the_epoch_the_table_has_no_predictions(run):
    table = write_radii(run, source(), None, 1)[0].to_pydict()
    assert set(table["prediction_id"]) == {-1}
    assert set(table["prediction"]) == {None}
    assert table["radius"] == run.radii_after(1)[1].tolist()


def test_a_run_without_radii_has_no_table(tmp_path):
    with pytest.raises(UserError, match="has no radii: its method trains every sample at one radius"):
        write_radii(RunFolder(tmp_path), source(), predictions())


def test_an_epoch_without_radii_is_refused_with_those_there_are(run, tmp_path):
    with pytest.raises(UserError, match=r"no radii of epoch 3; it has those of 1 to 2 \(2 in all\)"):
        write_radii(run, source(), predictions(), 3, tmp_path / "third.csv")
    assert not (tmp_path / "third.csv").exists()
    run.go_back_to(1, run.metrics()[:1])
    with pytest.raises(UserError, match=r"no radii of epoch 2; it has those of 1$"):
        write_radii(run, source(), predictions(), 2)


def test_the_gallery_shows_the_smallest_radii_ascending_and_the_largest_descending(run, drawn):
    table, _ = write_radii(run, source(), predictions())
    draw_run(run, source(), table, 8.0)
    (smallest, largest), _ = drawn["draw_extremes"]
    ascending = [f"{255 * radius:.2f} px" for radius in sorted(run.radii_after(2)[1].tolist())]
    assert [each.lines[-1][0] for each in smallest] == ascending[:20]
    assert [each.lines[-1][0] for each in largest] == ascending[:-21:-1]


def test_each_picture_of_the_gallery_has_its_own_label_prediction_and_radius(run, drawn):
    table, _ = write_radii(run, source(), predictions())
    draw_run(run, source(), table, 8.0)
    (smallest, largest), _ = drawn["draw_extremes"]
    rows = {row["index"]: row for row in table.to_pylist()}
    for each in (*smallest, *largest):
        assert each.image.shape == (1, 4, 4)
        (number,) = np.unique(np.rint(each.image * 255))
        row = rows[int(number)]
        words = [text for text, _ in each.lines]
        assert words == [row["label"], f"→ {row['prediction']}", f"{255 * row['radius']:.2f} px"]
    assert len({int(np.rint(each.image.max() * 255)) for each in (*smallest, *largest)}) == 40


def test_the_other_figures_show_the_records_and_radii_of_the_run(run, drawn):
    table, _ = write_radii(run, source(), predictions())
    files = draw_run(run, source(), table, 8.0)
    assert [file.name for file in files] == ["training.png", "radii.png", "radii-per-class.png", "extremes.png"]
    assert all(keywords["title"] == "quickstart" for _, keywords in drawn.values())
    assert all(keywords["style"] is SCREEN for _, keywords in drawn.values())
    assert drawn["draw_training"][0] == ([training_run(run.metrics())],)
    (history,), keywords = drawn["draw_radius_histograms"]
    assert history == [radius_histograms({epoch: run.radii_after(epoch)[1] for epoch in (1, 2)})]
    assert keywords["reference_px"] == 8.0
    (shown, classes), _ = drawn["draw_class_radii"]
    quantiles = quantiles_by_class(table["radius"].to_numpy(), table["label_id"].to_numpy(), CLASSES)
    assert (shown, classes) == ({"radii by class": quantiles}, CLASSES)


def test_the_figures_of_a_run_in_l2_show_its_radii_as_they_are(run, drawn):
    table, _ = write_radii(run, source(), predictions())
    draw_run(run, source(), table, 0.5, "l2")
    (smallest, _), _ = drawn["draw_extremes"]
    assert smallest[0].lines[-1][0] == f"{min(run.radii_after(2)[1].tolist()):.3f}"
    (history,), keywords = drawn["draw_radius_histograms"]
    assert history == [radius_histograms({epoch: run.radii_after(epoch)[1] for epoch in (1, 2)}, norm="l2")]
    assert keywords["reference_px"] == 0.5
    (classes, _), keywords = drawn["draw_class_radii"]
    assert max(values["95"] for values in classes["radii by class"]) < 1
    assert keywords["norm"] == "l2"
    assert drawn["draw_training"][0][0][0].norm == "l2"


def test_a_run_without_radii_gets_its_curves_only(run, drawn):
    assert draw_run(run, source(), None, 8.0) == [run.pictures / "training.png"]
    assert set(drawn) == {"draw_training"}


@pytest.mark.parametrize("shape", [(16,), (2, 4, 4)])
def test_inputs_that_are_no_pictures_get_no_gallery(run, drawn, shape):
    table, _ = write_radii(run, source(shape), predictions())
    files = draw_run(run, source(shape), table, None)
    assert [file.name for file in files] == ["training.png", "radii.png", "radii-per-class.png"]
    assert "draw_extremes" not in drawn


def test_the_files_named_are_there(run):
    table, _ = write_radii(run, source(), predictions())
    files = draw_run(run, source(), table, 8.0)
    assert len(files) == 4
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
