import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iaat.analysis import class_summary, radii_table, write_table
from iaat.errors import UserError

CLASSES = ["cat", "dog", "ship"]


def table(**changes):
    columns = {
        "index": np.array([4, 0, 9]),
        "label": np.array([0, 2, 0]),
        "prediction": np.array([0, 1, -1]),
        "radius": np.array([0.0, 8 / 255, 0.25], np.float32),
        "epoch": 7,
        "classes": CLASSES,
    }
    return radii_table(**{**columns, **changes})


def test_columns_types_and_values():
    made = table(paths=["a.png", Path("b/c.png"), "d.png"])
    assert made.schema.equals(
        pa.schema(
            {
                "index": pa.int64(),
                "label": pa.string(),
                "label_id": pa.int64(),
                "prediction": pa.string(),
                "prediction_id": pa.int64(),
                "radius_px": pa.float32(),
                "radius": pa.float32(),
                "epoch": pa.int64(),
                "path": pa.string(),
            }
        )
    )
    assert made.drop_columns(["radius"]).to_pydict() == {
        "index": [4, 0, 9],
        "label": ["cat", "ship", "cat"],
        "label_id": [0, 2, 0],
        "prediction": ["cat", "dog", None],
        "prediction_id": [0, 1, -1],
        "radius_px": [0.0, 8.0, 63.75],
        "epoch": [7, 7, 7],
        "path": ["a.png", str(Path("b/c.png")), "d.png"],
    }
    np.testing.assert_array_equal(made["radius"].to_numpy(), np.array([0, 8 / 255, 0.25], np.float32))


def test_epochs_may_differ_and_paths_may_be_absent():
    made = table(epoch=np.array([1, 2, 3], np.int32))
    assert made["epoch"].to_pylist() == [1, 2, 3]
    assert "path" not in made.column_names


def test_a_table_may_be_empty():
    nothing = np.array([], np.int64)
    assert radii_table(nothing, nothing, nothing, np.array([]), 0, CLASSES).num_rows == 0


def test_names_that_utf8_cannot_hold_do_not_cost_the_table():
    assert table(paths=["caf\udce9.png", "b", "c"])["path"].to_pylist()[0] == "caf?.png"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": np.array([1, 2])}, r"index: expected shape \[3\]"),
        ({"index": np.array([0.5, 1, 2])}, "index: expected integers"),
        ({"label": np.array([0, 3, 0])}, "label: 0..3 is out of range"),
        ({"label": np.array([0, -1, 0])}, "label: -1..0 is out of range"),
        ({"prediction": np.array([0, -2, 0])}, "prediction: -2..0 is out of range"),
        ({"radius": np.array([0, -0.1, 0])}, "radius: every radius must be finite"),
        ({"radius": np.array([0, np.inf, 0])}, "radius: every radius must be finite"),
        ({"radius": np.zeros((3, 1))}, "radius: expected a one-dimensional"),
        ({"epoch": np.array([1, 2])}, "epoch: expected shape"),
        ({"paths": ["a"]}, "paths: expected 3"),
    ],
)
def test_columns_that_do_not_fit_are_refused_by_name(changes, message):
    with pytest.raises(UserError, match=message):
        table(**changes)


@pytest.mark.parametrize(("suffix", "read"), [("parquet", pd.read_parquet), ("csv", pd.read_csv)])
def test_pandas_reads_back_what_was_written(tmp_path, suffix, read):
    made = table(paths=['a, "b"\n.png', "\u732b.png", "d.png"])
    path = tmp_path / "new" / f"radii.{suffix}"
    write_table(made, path)
    frame = read(path)
    pd.testing.assert_frame_equal(frame, made.to_pandas(), check_dtype=suffix == "parquet")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_csv_text_that_a_spreadsheet_would_run_gets_an_apostrophe(tmp_path):
    cells = ["=1+1", "+1", "-1", "@sum", "a=1", "", "x\n=2", None, "'=1"]
    safe = ["'=1+1", "'+1", "'-1", "'@sum", "a=1", "", "x\n=2", "", "'=1"]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        made = pa.table({"name": pa.array(cells, pa.string()).cast(kind), "value": pa.array(range(-1, 8))})
        write_table(made, tmp_path / "table.csv")
        with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["name"] for row in rows] == safe
        assert [row["value"] for row in rows] == [str(value) for value in range(-1, 8)]
        write_table(made, tmp_path / "table.parquet")
        assert pyarrow.parquet.read_table(tmp_path / "table.parquet")["name"].to_pylist() == cells


def test_a_failed_write_keeps_the_old_table_and_leaves_no_temporary_file(tmp_path, monkeypatch):
    path = tmp_path / "radii.csv"
    path.write_text("old")

    def half_written(_, target):
        target.write(b"half")
        raise RuntimeError("disk")

    monkeypatch.setattr(pyarrow.csv, "write_csv", half_written)
    with pytest.raises(RuntimeError, match="disk"):
        write_table(table(), path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["radii.csv"]


def test_other_suffixes_are_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"\.parquet or \.csv"):
        write_table(table(), tmp_path / "radii.xlsx")
    assert not list(tmp_path.iterdir())


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 5))
def test_the_summary_agrees_with_numpy_class_by_class(seed, count, classes):
    rng = np.random.default_rng(seed)
    names = [f"class {number}" for number in range(classes)]
    label, prediction = rng.integers(0, classes, count), rng.integers(-1, classes, count)
    radius = np.maximum(rng.normal(4, 5, count), 0) / 255
    *by_class, everything = class_summary(radii_table(np.arange(count), label, prediction, radius, 3, names))

    assert everything["class"] == "all"
    assert everything["class_id"] is None
    assert sorted(row["class_id"] for row in by_class) == sorted(set(label.tolist()))
    medians = [row["p50_px"] for row in by_class]
    assert medians == sorted(medians)
    for row in [*by_class, everything]:
        number = row["class_id"]
        mine = np.full(count, True) if number is None else label == number
        px = radius[mine] * 255
        assert row["class"] == ("all" if number is None else names[number])
        assert row["count"] == mine.sum()
        for key, value in {
            "mean_px": px.mean(), "min_px": px.min(), "max_px": px.max(), "p5_px": np.quantile(px, 0.05),
            "p25_px": np.quantile(px, 0.25), "p50_px": np.median(px), "p75_px": np.quantile(px, 0.75),
            "p95_px": np.quantile(px, 0.95), "fraction_at_zero": (px == 0).mean(),
        }.items():  # fmt: skip
            assert row[key] == pytest.approx(value, rel=1e-5, abs=1e-6)
        known = mine & (prediction >= 0)
        accuracy = None if not known.any() else pytest.approx((prediction == label)[known].mean())
        assert row["accuracy"] == accuracy


def test_classes_of_one_name_are_summed_up_apart():
    rows = class_summary(radii_table([0, 1], [0, 1], [0, 1], [0.1, 0.2], 0, ["twin", "twin"]))
    assert [(row["class"], row["class_id"], row["count"]) for row in rows] == [
        ("twin", 0, 1),
        ("twin", 1, 1),
        ("all", None, 2),
    ]


def test_a_summary_needs_its_columns_and_rows():
    with pytest.raises(UserError, match="no column 'radius_px'"):
        class_summary(table().drop_columns(["radius_px"]))
    with pytest.raises(UserError, match="no rows"):
        class_summary(table().slice(0, 0))
