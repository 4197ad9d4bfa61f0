"""The log of training: one typed record a line, lines of older versions read as well."""

import dataclasses
import json

import pytest

from iaat.errors import UserError
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder

RECORD = EpochRecord(
    epoch=3,
    loss=1.5,
    forwards=11,
    backwards=11.0,
    validation_clean=0.5,
    validation_robust=0.25,
    radius_quantiles_px={"5": 1.0, "95": 9.0},
    metrics={"clean_loss": 0.5},
)
OLD = {
    "epoch": 3, "loss": 1.5, "forwards": 11, "backwards": 11.0, "clean_loss": 0.5, "holdout_clean": 0.5,
    "holdout_robust": 0.25, "radius_quantiles_px": {"5": 1.0, "95": 9.0},
}  # fmt: skip


def test_what_is_written_is_read():
    assert EpochRecord.from_json(json.loads(json.dumps(RECORD.to_json()))) == RECORD


def test_a_line_has_the_version_and_only_what_there_is():
    assert RECORD.to_json() == {
        "version": 2, "epoch": 3, "loss": 1.5, "forwards": 11, "backwards": 11.0, "validation_clean": 0.5,
        "validation_robust": 0.25, "radius_quantiles_px": {"5": 1.0, "95": 9.0}, "clean_loss": 0.5,
    }  # fmt: skip


def test_a_line_from_before_validation_had_its_name_is_read(tmp_path):
    run = RunFolder(tmp_path)
    run.metrics_file.write_text(json.dumps(OLD) + "\n")
    assert run.metrics() == [RECORD]


def test_numbers_are_all_single_numbers_by_their_names():
    expected = {"loss": 1.5, "forwards": 11, "backwards": 11, "validation_clean": 0.5, "validation_robust": 0.25}
    assert RECORD.numbers() == expected | {"clean_loss": 0.5}


def test_a_misspelt_name_is_a_type_error():
    with pytest.raises(TypeError):
        dataclasses.replace(RECORD, holdout_clean=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 0}, "epoch: 0 is not a finite number of at least 1"),
        ({"epoch": "3"}, 'epoch is "3", which should be a valid integer'),
        ({"loss": "low"}, 'loss is "low", which should be a valid number'),
        ({"radius_quantiles_px": {"5": None}}, r"radius_quantiles_px\.5 is null, which should be a valid number"),
    ],
)
def test_a_value_of_another_type_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        EpochRecord.from_json(OLD | change)


def test_a_value_that_is_missing_is_named():
    with pytest.raises(ValueError, match="forwards is missing"):
        EpochRecord.from_json({"epoch": 1, "backwards": 1.0})


def test_a_line_of_a_newer_version_is_refused_with_the_advice_to_update(tmp_path):
    run = RunFolder(tmp_path)
    run.metrics_file.write_text(json.dumps(RECORD.to_json() | {"version": 3}) + "\n")
    with pytest.raises(UserError, match=r"version 3 of metrics\.jsonl was written by a newer iaat: update"):
        run.metrics()
