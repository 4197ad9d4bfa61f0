import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from iaat.errors import UserError
from iaat.radius import RadiiTable

COLUMNS = {"index": [4, 0, 2], "label_id": [1, 0, 2], "radius": np.array([0.1, 0.0, 0.3], dtype=np.float32)}


def written(path, **changed):
    pa.parquet.write_table(pa.table({**COLUMNS, **changed}), path)
    return path


def test_a_run_folder_and_its_file_hold_the_same_table(tmp_path):
    file = written(tmp_path / "radii.parquet")
    for source in (tmp_path, file):
        table = RadiiTable.read(str(source))
        assert table.index.tolist() == [4, 0, 2]
        torch.testing.assert_close(table.radius, torch.tensor([0.1, 0.0, 0.3]))


def test_radii_come_to_their_indices_and_the_rest_has_one_radius(tmp_path):
    table = RadiiTable.read(str(written(tmp_path / "radii.parquet")))
    torch.testing.assert_close(table.dense(6, 0.5), torch.tensor([0.0, 0.5, 0.3, 0.5, 0.1, 0.5]))
    with pytest.raises(UserError, match="list sample 4, but the data has 4 samples"):
        table.dense(4, 0.5)


def test_shuffling_keeps_the_values_and_moves_them_to_others(tmp_path):
    size = 50
    columns = {"index": range(size), "label_id": [0] * size, "radius": np.linspace(0, 1, size)}
    table = RadiiTable.read(str(written(tmp_path / "radii.parquet", **columns)))
    radius = table.shuffled(seed=0).dense(size, 0.0)
    assert not torch.equal(radius, table.dense(size, 0.0))
    assert torch.equal(radius.sort().values, table.dense(size, 0.0))
    assert torch.equal(radius, table.shuffled(seed=0).dense(size, 0.0))
    assert not torch.equal(radius, table.shuffled(seed=1).dense(size, 0.0))


def test_radii_of_other_data_are_refused(tmp_path):
    table = RadiiTable.read(str(written(tmp_path / "radii.parquet")))
    table.check_labels(torch.tensor([0, 1, 2, 3, 4, 9]), torch.tensor([0, 7, 2, 7, 1, 7]))
    with pytest.raises(UserError, match=r"1 of 2 samples have another class.*sample 2 \(class 2 in the file, 1 in"):
        table.check_labels(torch.tensor([0, 2]), torch.tensor([0, 1]))


def test_a_few_labels_may_have_been_corrected_since():
    table = RadiiTable("radii", torch.arange(8), torch.zeros(8, dtype=torch.int64), torch.rand(8))
    labels = torch.tensor([1, 1, 0, 0, 0, 0, 0, 0])
    table.check_labels(torch.arange(8), labels)
    labels[2] = 1
    with pytest.raises(UserError, match="3 of 8 samples have another class"):
        table.check_labels(torch.arange(8), labels)
    with pytest.raises(
        UserError, match=r"method\.radii radii: these are radii of other data: 3 of 8 samples have another"
    ):
        table.check_data("method.radii", "digits", 8, labels)
    labels[2] = 0
    table.check_data("method.radii", "digits", 8, labels)
    table.check_batch(torch.arange(2), labels[:2])  # two labels say nothing


def test_radii_of_other_data_are_refused_before_samples_are_read(tmp_path):
    file = written(tmp_path / "radii.parquet")
    table = RadiiTable.read(str(file))
    table.check_data("method.radii", "digits", 5)
    table.check_data("method.radii", "digits", 5, torch.tensor([0, 7, 2, 7, 1]))
    table.check_data("method.radii", "digits", 9, torch.tensor([0, 7]))  # of extra images no labels are known
    with pytest.raises(UserError) as error:
        table.check_data("method.radii", "digits", 2)
    assert str(error.value) == (
        f"method.radii {file}: these are radii of other data: 3 samples up to index 4, of which digits with its 2 "
        "training samples lacks 2 (2, 4): give the radii of a run on this data, or leave method.radii out"
    )
    with pytest.raises(UserError, match=r"2 of 3 samples .* such as sample 2 \(class 2 in the file, 0 in the data\)"):
        table.check_data("method.radii", "digits", 5, torch.tensor([0, 1, 0, 1, 0]))
    unlabelled = RadiiTable("snapshot", table.index, torch.full((3,), -1), table.radius)
    unlabelled.check_data("method.radii", "digits", 5, torch.zeros(5, dtype=torch.int64))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"index": [4, 4, 2]}, "occurs twice"),
        ({"index": [4, -1, 2]}, "negative"),
        ({"index": [4.0, 0.0, 2.0]}, "whole numbers"),
        ({"index": ["a", "b", "c"]}, "no table"),
        ({"radius": [0.1, float("nan"), 0.3]}, "not finite"),
        ({"radius": [0.1, -0.1, 0.3]}, "negative"),
        ({"radius": [1, 2, 3]}, "radius a number"),
        ({"radius": [0.1, None, 0.3]}, "not finite"),
        ({name: pa.array([], values.type) for name, values in zip(COLUMNS, pa.table(COLUMNS), strict=True)}, "no rows"),
    ],
)
def test_what_is_no_table_of_radii_is_refused(changed, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        RadiiTable.read(str(written(tmp_path / "radii.parquet", **changed)))


def test_files_that_are_no_tables_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no such file; `iaat radii RUN`"):
        RadiiTable.read(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=rf"radii runs/a\.parquet: no such file in {re.escape(str(tmp_path))}, from which"
    ):
        RadiiTable.read("runs/a.parquet")
    (tmp_path / "radii.parquet").write_bytes(b"password")
    with pytest.raises(UserError, match="no table with the columns"):
        RadiiTable.read(str(tmp_path))
    pa.parquet.write_table(pa.table({"index": [1]}), tmp_path / "radii.parquet")
    with pytest.raises(UserError, match="no table with the columns"):
        RadiiTable.read(str(tmp_path))
