"""AutoAttack in another arithmetic: what the model is given, and the examples it has another class for in float32."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers.planted import cnn, digits, trained
from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import DataConfig, InMemorySource, build_data
from iaat.evaluate import Stage, attack_samples
from iaat.evaluate.arithmetic import InArithmetic
from iaat.evaluate.autoattack import reference_attack
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.evaluation import run_evaluation
from iaat.evaluate.evaluation_identity import folder_name
from iaat.evaluate.results import ModelFacts
from iaat.models.digest import weights_digest
from iaat.runtime.progress import Reporter
from iaat.units import Radius


@pytest.fixture(scope="module")
def network():
    (x, y), _ = digits()
    torch.manual_seed(0)
    return trained(cnn(), x, y, radius=40 / 255, epochs=3)


@pytest.mark.parametrize("arithmetic", ["reference", "channels_last", "bfloat16"])
def test_layers_get_the_format_and_logits_are_float32(arithmetic):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten())
    network = network.append(nn.Linear(128, 10)).eval()
    seen = []
    hook = network[3].register_forward_hook(lambda _layer, inputs, output: seen.append((inputs[0], output)))
    x = torch.rand(8, 3, 8, 8)
    with torch.no_grad():
        logits, exact = InArithmetic(network, arithmetic)(x), network(x)
    hook.remove()
    assert logits.dtype == torch.float32
    inputs, output = seen[0]
    assert output.dtype == (torch.bfloat16 if arithmetic == "bfloat16" else torch.float32)
    last = inputs.is_contiguous(memory_format=torch.channels_last) and not inputs.is_contiguous()
    assert last is (arithmetic != "reference")
    error = float((logits - exact).abs().max())
    bound = {"reference": 0.0, "channels_last": 1e-4, "bfloat16": 0.5}[arithmetic]
    assert error <= bound
    assert (error > 1e-4) is (arithmetic == "bfloat16")


def test_the_modes_of_layers_are_left_alone(network):
    network[1].train()
    InArithmetic(network, "bfloat16")
    assert network[1].training
    assert not network.training
    network.eval()


class NearTie(nn.Module):
    """The second class leads by a thousandth where the input is bright; in bfloat16 the first one does."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[1.001], [1.003]]))

    def forward(self, x):
        return self.layer(x.flatten(1)) - torch.tensor([0.0, 1e-6])


@pytest.mark.parametrize(("arithmetic", "flips"), [("bfloat16", 5), ("channels_last", 0), ("reference", 0)])
def test_examples_of_another_class_in_float32_are_counted(arithmetic, flips):
    x = torch.tensor([1.0] * 5 + [0.0] * 3).view(8, 1, 1, 1)
    y = torch.tensor([1] * 5 + [0] * 3)
    stage = Stage("still", lambda _model, batch, _generator: batch.x, arithmetic=arithmetic)
    outcome = attack_samples(
        NearTie().eval(),
        InMemorySource(x, y, ["a", "b"]),
        torch.arange(8),
        [stage],
        radius=0.1,
        norm="linf",
        batch_size=3,
        seed=0,
    )
    assert [record.flips for record in outcome.stages] == [0, flips]
    assert outcome.accuracy("still") == 1  # it is float32 that decides


@pytest.mark.parametrize("arithmetic", ["channels_last", "bfloat16"])
def test_its_examples_are_about_as_many_and_hold_in_float32(arithmetic, network, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("iaat.evaluate.autoattack._TARGETS", 2)
    monkeypatch.setattr("iaat.evaluate.stages.reference_attack", lambda *a, **k: reference_attack(*a, **k, queries=20))
    data = build_data(DataConfig(), seed=0)
    results = []
    for each in ("reference", arithmetic):
        config = EvaluateConfig(suite="screening+autoattack", radius=Radius("40px"), n=60, autoattack_arithmetic=each)
        facts = ModelFacts(run="net", seed=0)
        model = EvaluatedModel(
            name=each, model=network, digest=weights_digest(network), folder=tmp_path / each, facts=facts
        )
        results.append(run_evaluation(model, data, config, Reporter()))
    first, second = results
    assert abs(first.accuracy["autoattack"] - second.accuracy["autoattack"]) <= 2 / 60
    assert not any(stage.flips for stage in first.stages)
    assert "autoattack-arithmetic" not in {finding.name for finding in first.findings}
    named = {finding.name: finding.evidence for finding in second.findings}
    assert arithmetic in named["autoattack-arithmetic"]
    flips = [stage for stage in second.stages if stage.flips]
    assert ("autoattack-flips" in named) is bool(flips)
    assert all(f"{stage.name} {stage.flips} of {stage.samples}" in named["autoattack-flips"] for stage in flips)
    assert f"note autoattack-arithmetic: AutoAttack computes in {arithmetic}" in capsys.readouterr().out


def test_a_setting_of_the_recipe_is_one_of_three():
    with pytest.raises(Exception, match="autoattack_arithmetic"):
        replace(EvaluateConfig(), autoattack_arithmetic="float8")


def test_it_has_no_effect_without_autoattack_and_a_warning_says_so(network, tmp_path, recwarn):
    data = build_data(DataConfig(), seed=0)
    for arithmetic in ("reference", "bfloat16"):
        config = EvaluateConfig(suite="pgd", steps=1, n=10, autoattack_arithmetic=arithmetic)
        facts, folder = ModelFacts(run="net", seed=0), tmp_path / arithmetic
        model = EvaluatedModel(name="net", model=network, digest=weights_digest(network), folder=folder, facts=facts)
        run_evaluation(model, data, config, Reporter(quiet=True))
    (warning,) = recwarn
    assert str(warning.message) == "evaluate.autoattack_arithmetic=bfloat16 has no effect: suite pgd has no AutoAttack"


def test_each_arithmetic_has_a_folder_of_its_own():
    kinds = [EvaluateConfig(autoattack_arithmetic=each) for each in ("reference", "channels_last", "bfloat16")]
    assert len({folder_name(config, "best") for config in kinds}) == 3
    assert folder_name(kinds[0], "best") == folder_name(EvaluateConfig(), "best")
