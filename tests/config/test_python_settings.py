"""Settings of Python come to what the command line has."""

from pathlib import Path

import pytest

from iaat import Radius, UserError
from iaat.config.python_settings import written_settings


def written(method="iaat", **settings):
    return written_settings(settings, method, "fit")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lr": 0.05, "batch_size": 64, "learning_rate": 0.1}, None),
        ({"lr": 1e-5, "batch_size": 64}, {"train.lr": "1e-05", "train.batch_size": "64"}),
        ({"radius": "8px", "norm": "l2"}, {"radius": "8px", "norm": "l2"}),
        ({"steps": 3}, {"method.steps": "3"}),
        ({"ema": 0.9, "flip": True, "cap": None}, {"train.ema": "0.9", "data.flip": "true", "method.cap": "null"}),
        ({"milestones": (1, 2)}, {"train.milestones": "[1, 2]"}),
        ({"optimizer_options": {"betas": [0.5, 0.9]}}, {"train.optimizer_options": '{"betas": [0.5, 0.9]}'}),
        ({"start": Radius("4px"), "root": Path("images")}, {"method.start": "4px", "data.root": "images"}),
        ({"train": {"lr": 0.2}, "evaluate.steps": 5}, {"train.lr": "0.2", "evaluate.steps": "5"}),
        ({"seed": 3}, {"seed": "3"}),
    ],
)
def test_names_stand_for_keys(settings, expected):
    if expected is None:
        with pytest.raises(UserError, match=r"train\.lr is given twice"):
            written(**settings)
    else:
        assert written(**settings) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"emma": 1}, r"fit has no setting 'emma' \(did you mean 'ema'"),
        ({"train.lrs": 1}, r"no setting 'train\.lrs' \(did you mean 'train\.lr'"),
        ({"train": {"lrs": 1}}, r"no setting 'train\.lrs'"),
        ({"beta": 6.0}, r"beta is a setting of method trades, mart, iaat_paper, iaat_trades"),
        ({"options": {}}, r"options is a key of several sections: write settings=\{'data\.options': \.\.\.\} or"),
        ({"lr": object()}, r"fit: lr is a object: give a number"),
        ({"lr": [object()]}, r"fit: lr is a list"),
    ],
)
def test_names_that_are_none_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        written(**settings)
