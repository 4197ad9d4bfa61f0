"""One of several processes that evaluate together, a small model, with few queries of Square.

    python evaluation_process.py FOLDER SUITE [--stop-after STAGE] [--fail]

FOLDER gets the evaluation, and `passes-RANK.json`: the samples that went forward through the model of each process.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers.planted import cnn
from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import DataConfig, build_data
from iaat.errors import UserError
from iaat.evaluate import robust_accuracy
from iaat.evaluate.autoattack import reference_attack
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.evaluation import run_evaluation
from iaat.evaluate.results import ModelFacts
from iaat.evaluate.sections import Extras
from iaat.models.digest import weights_digest
from iaat.runtime.distributed import ALONE, current
from iaat.runtime.launch import processes
from iaat.runtime.process_end import exit_process
from iaat.runtime.progress import Reporter
from iaat.units import Radius

CONFIG = EvaluateConfig(steps=3, radius=Radius("16px"), n=28, batch_size=8)
"""Four batches of the clean stage, the last of 4 samples; fewer of each attack."""


class StoppedHereError(Exception):
    """Ends an evaluation after a stage, as a kill would."""


def network(seed, x, y):
    """A model of a few seconds, correct on most samples: its last layer solved for, on features drawn at random."""
    torch.manual_seed(seed)
    model = cnn().eval()
    features, last = model[:-1], model[-1]
    with torch.no_grad():
        seen = features(x)
        targets = torch.nn.functional.one_hot(y, 10) * 8.0
        last.weight.copy_(torch.linalg.lstsq(seen, targets, driver="gelsd").solution.T)
        last.bias.zero_()
    return model


def evaluate(folder, suite, ranks=ALONE, stop_after=None, fail=False):
    """Evaluate the model; returns the samples that went forward through it in this process."""
    data = build_data(DataConfig(), seed=0)
    (batch,) = data.train.batches([data.train_index[:600]])
    ours, theirs = (network(seed, batch.x, batch.y) for seed in (0, 1))
    models = [
        EvaluatedModel(name, model, weights_digest(model), folder / name, ModelFacts(run=name, seed=0))
        for name, model in (("ours", ours), ("theirs", theirs))
    ]
    forwards = [0]

    def count(_module, inputs):
        forwards[0] += len(inputs[0])
        if fail and not ranks.main and forwards[0] > 60:
            raise UserError("sample 17 cannot be read")

    run_stage = robust_accuracy._run_stage

    def stopping(evaluator, source, parts, stage, *rest):
        values = run_stage(evaluator, source, parts, stage, *rest)
        if stage.name == stop_after:
            raise StoppedHereError
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iaat.evaluate.masking.masking_section.MASKING_N", 20)
        patch.setattr("iaat.evaluate.stages.reference_attack", lambda *a, **k: reference_attack(*a, **k, queries=20))
        patch.setattr("iaat.evaluate.corruption_accuracy.SEVERITIES", (1, 5))
        patch.setattr("iaat.evaluate.corruption_accuracy.CORRUPTIONS", ("contrast", "brightness", "gaussian_noise"))
        patch.setattr(robust_accuracy, "_run_stage", stopping)
        handle = ours.register_forward_pre_hook(count)
        config, extras = replace(CONFIG, suite=suite), Extras(others=(models[1],))
        try:
            run_evaluation(models[0], data, config, Reporter(quiet=True), extras, ranks=ranks)
        except StoppedHereError:
            pass
        finally:
            handle.remove()
    return forwards[0]


def main():
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("suite")
    parser.add_argument("--stop-after")
    parser.add_argument("--fail", action="store_true")
    options = parser.parse_args()
    try:
        with processes():
            ranks = current()
            found = evaluate(options.folder, options.suite, ranks, options.stop_after, options.fail)
            (options.folder / f"passes-{ranks.rank}.json").write_text(json.dumps(found))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        exit_process(1)


if __name__ == "__main__":
    main()
