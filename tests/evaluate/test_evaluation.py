"""A whole evaluation: files, sections, findings; interrupted anywhere it ends with the same numbers."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from helpers.planted import Around, Remembering, cnn, digits, trained
from helpers.results import made_up
from iaat.cli.evaluation_output import evaluation_report
from iaat.config.evaluate_config import EvaluateConfig
from iaat.corruptions import STANDARD
from iaat.data import DataConfig, DataSplits, InMemorySource, build_data
from iaat.errors import UserError
from iaat.evaluate.corruption_accuracy import fingerprint_of_folder
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.evaluation import run_evaluation
from iaat.evaluate.evaluation_identity import folder_name
from iaat.evaluate.masking import fresh_copy
from iaat.evaluate.results import EvaluationResult, ModelFacts
from iaat.evaluate.sections import Extras
from iaat.models.digest import weights_digest
from iaat.runtime.progress import Reporter
from iaat.units import Radius

QUIET = Reporter(quiet=True)
CONFIG = EvaluateConfig(suite="pgd+screening+deepfool", steps=3, radius=Radius("40px"), n=40, batch_size=16)


@pytest.fixture(scope="module")
def data():
    return build_data(DataConfig(), seed=0)


@pytest.fixture(scope="module")
def networks():
    (x, y), _ = digits()
    torch.manual_seed(0)
    return [trained(cnn(), x, y, radius=radius, epochs=3, seed=seed) for seed, radius in enumerate((40 / 255, 0.0))]


def evaluated(network, folder, name="net", **more):
    facts = ModelFacts(run=name, seed=0)
    return EvaluatedModel(name=name, model=network, digest=weights_digest(network), folder=folder, facts=facts, **more)


def numbers(results):
    """Results without wall times."""
    if isinstance(results, EvaluationResult):
        return numbers(results.to_json())
    if isinstance(results, dict):
        return {key: numbers(value) for key, value in results.items() if key not in ("seconds", "date")}
    return [numbers(value) for value in results] if isinstance(results, list | tuple) else results


class Killed(BaseException):
    """What kills a process in these tests; nothing in the product may catch it."""


def dying(network, after):
    """The network, which dies at the given number of forwards of more than one sample."""
    left = [after]

    def count(_module, _inputs, _output):
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return network.register_forward_hook(count)


@pytest.mark.parametrize(
    "suite", ["pgd+screening", "pgd+masking+curve", pytest.param("pgd+autoattack", marks=pytest.mark.slow)]
)
def test_an_evaluation_killed_anywhere_goes_on_and_ends_with_the_same_numbers(
    suite, networks, data, tmp_path, monkeypatch
):
    monkeypatch.setattr("iaat.evaluate.masking.masking_section.MASKING_N", 30)
    config = replace(CONFIG, suite=suite, n=32)
    if "autoattack" in suite:
        few_queries(monkeypatch)
    whole = run_evaluation(evaluated(networks[0], tmp_path / "whole"), data, config, QUIET)
    broken, kills, units = evaluated(networks[0], tmp_path / "broken"), 0, []
    journal = tmp_path / "broken" / folder_name(config, None) / "journal.jsonl"
    for after in (2, 5, 40, 90, 200, 400, 800):
        handle = dying(networks[0], after)
        try:
            run_evaluation(broken, data, config, QUIET)
        except Killed:
            kills += 1
        finally:
            handle.remove()
        units.append(len(journal.read_text().splitlines()))
    again = run_evaluation(broken, data, config, QUIET)
    assert kills >= 2
    assert units == sorted(units)
    assert numbers(again) == numbers(whole)
    records = [pd.read_parquet(path) for path in sorted(tmp_path.rglob("records.parquet"))]
    pd.testing.assert_frame_equal(*records)


def few_queries(monkeypatch):
    from iaat.evaluate.autoattack import reference_attack

    monkeypatch.setattr("iaat.evaluate.stages.reference_attack", lambda *a, **k: reference_attack(*a, **k, queries=20))


def test_a_finished_evaluation_is_read_and_not_done_again(networks, data, tmp_path):
    first = run_evaluation(evaluated(networks[0], tmp_path), data, CONFIG, QUIET)
    handle = dying(networks[0], 2)  # what identifies the model and looks for a gradient
    try:
        assert run_evaluation(evaluated(networks[0], tmp_path), data, CONFIG, QUIET) == first
    finally:
        handle.remove()


def test_the_same_seed_gives_the_same_numbers_and_another_model_others(networks, data, tmp_path):
    first, second = (
        run_evaluation(evaluated(networks[0], tmp_path / name), data, CONFIG, QUIET) for name in ("first", "second")
    )
    assert numbers(first) == numbers(second)
    # Another network in the same folder does not go on with the first one's journal.
    other = run_evaluation(evaluated(networks[1], tmp_path / "first"), data, CONFIG, QUIET)
    assert other.accuracy["worst"] < first.accuracy["worst"]


def test_results_and_records_agree(networks, data, tmp_path):
    results = run_evaluation(evaluated(networks[0], tmp_path), data, replace(CONFIG, suite="quick+curve"), QUIET)
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "results.json").read_text()) == json.loads(json.dumps(results.to_json()))
    records = pd.read_parquet(folder / "records.parquet")
    assert len(records) == results.n == 40
    assert (records["misclassified_by"] == "none").mean() == results.accuracy["worst"]
    assert (records["misclassified_by"] != "clean").mean() == results.accuracy["clean"]
    adversarial = records[~records["misclassified_by"].isin(["clean", "none"])]
    assert (adversarial["adversarial_prediction"] != adversarial["label"]).all()
    # The curve looks for smaller breaks, and finds some; those beyond the radius are breaks of larger balls.
    assert (adversarial["perturbation_norm"] <= 40 / 255 * (1 + 1e-4)).all()
    assert (adversarial["perturbation_norm"] < 0.9 * 40 / 255).any()


def test_the_curve_falls_and_passes_through_the_evaluation(networks, data, tmp_path):
    config = replace(CONFIG, suite="screening+curve")
    results = run_evaluation(evaluated(networks[0], tmp_path), data, config, QUIET)
    curve = results.curve
    assert curve.radius == pytest.approx([40 / 255 * level / 8 for level in range(17)])
    assert curve.accuracy[0] == results.accuracy["clean"]
    assert all(a >= b for a, b in zip(curve.accuracy, curve.accuracy[1:], strict=False))
    # What the curve breaks within the radius counts: the worst case is never above the curve.
    assert curve.accuracy[8] - 1e-9 <= results.accuracy["worst"] <= results.accuracy["screening"]
    assert results.accuracy["worst"] >= results.accuracy["screening"] - 0.051
    assert curve.expected_robustness == pytest.approx(np.mean(curve.accuracy))
    quantiles = curve.minimal_norm_quantiles
    assert quantiles["50"] is None or 0 < quantiles["50"] < 80 / 255


def test_the_curve_keeps_the_class_that_its_adversarial_examples_are_predicted_as(networks, data, tmp_path):
    config = replace(CONFIG, suite="pgd+curve", steps=1)
    run_evaluation(evaluated(networks[0], tmp_path), data, config, QUIET)
    (folder,) = tmp_path.iterdir()
    records = pd.read_parquet(folder / "records.parquet")
    found = records[records["misclassified_by"] == "curve"]
    assert len(found)
    assert found["adversarial_prediction"].isin(data.classes).all()
    assert (found["adversarial_prediction"] != found["label"]).all()


def test_transfer_evaluates_each_on_the_others_examples_and_keeps_them(networks, data, tmp_path):
    robust, natural = (evaluated(net, tmp_path / name, name) for net, name in zip(networks, "ab", strict=True))
    config = replace(CONFIG, suite="pgd+transfer-10")
    on_robust = run_evaluation(robust, data, config, QUIET, Extras(others=(natural,)))
    on_natural = run_evaluation(natural, data, config, QUIET, Extras(others=(robust,)))
    (row,) = on_robust.transfer
    assert (row.source, row.attack) == ("b", "PGD-10")
    assert row.accuracy_of_source < 0.2 < row.accuracy < on_robust.accuracy["clean"]
    assert on_natural.transfer[0].accuracy < on_natural.accuracy["clean"]
    assert on_robust.attacks == ("pgd-3", "transfer")
    kept = sorted((tmp_path / "b" / "transfer").rglob("*.safetensors"))
    assert len(kept) == 3
    stamps = [path.stat().st_mtime_ns for path in kept]
    kept[1].write_bytes(b"damaged")
    for journal in tmp_path.rglob("journal.jsonl"):
        journal.unlink()
    again = run_evaluation(robust, data, config, QUIET, Extras(others=(natural,)))
    assert numbers(again) == numbers(on_robust)
    same = [path.stat().st_mtime_ns == stamp for path, stamp in zip(kept, stamps, strict=True)]
    assert same == [True, False, True]


def test_examples_for_transfer_are_made_anew_for_other_pixels(networks, data, tmp_path):
    robust, natural = (evaluated(net, tmp_path / name, name) for net, name in zip(networks, "ab", strict=True))
    config, extras = replace(CONFIG, suite="pgd+transfer-10"), Extras(others=(natural,))
    run_evaluation(robust, data, config, QUIET, extras)
    (batch,) = data.test.batches([torch.arange(len(data.test))])
    darker = InMemorySource(0.9 * batch.x, data.test.labels, data.test.classes)
    run_evaluation(robust, replace(data, test=darker), config, QUIET, extras)
    assert len(list((tmp_path / "b" / "transfer").iterdir())) == 2


def test_transfer_without_another_model_is_said(networks, data, tmp_path):
    results = run_evaluation(evaluated(networks[0], tmp_path), data, replace(CONFIG, suite="pgd+transfer"), QUIET)
    assert [finding.name for finding in results.findings] == ["no-transfer"]
    assert results.verdict == 'not checked for masking: add --suspicious, in Python suite="quick+masking"'


def test_corruptions_of_the_test_images_and_mce(networks, data, tmp_path, monkeypatch):
    standard = ("gaussian_noise", "contrast")
    monkeypatch.setattr("iaat.evaluate.corruption_accuracy.CORRUPTIONS", (*standard, "saturate"))
    monkeypatch.setattr("iaat.corruptions.mce.STANDARD", standard)
    monkeypatch.setattr("iaat.evaluate.corruption_accuracy.STANDARD", standard)
    config = replace(CONFIG, suite="pgd+corruptions")
    baseline = run_evaluation(evaluated(networks[1], tmp_path / "b", "b"), data, config, QUIET)
    monkeypatch.setattr("iaat.evaluate.corruption_accuracy.mean_corruption_error", lambda errors, base: (errors, base))
    results = run_evaluation(evaluated(networks[0], tmp_path / "a"), data, config, QUIET, Extras(baseline=baseline))
    section = results.corruptions
    assert list(section.accuracy) == [*standard, "saturate"]
    assert all(len(row) == 5 for row in section.accuracy.values())
    assert section.mean_accuracy == pytest.approx(np.mean([section.accuracy[name] for name in standard]))
    errors, base = section.mce
    assert errors["contrast"] == [1 - value for value in section.accuracy["contrast"]]
    assert base["contrast"] == [1 - value for value in baseline.corruptions.accuracy["contrast"]]
    fewer = replace(config, n=30)
    for wrong in (made_up(run="old"), run_evaluation(evaluated(networks[1], tmp_path / "d"), data, fewer, QUIET)):
        with pytest.raises(UserError, match="not evaluated on the same corrupted images"):
            run_evaluation(evaluated(networks[0], tmp_path / "c"), data, config, QUIET, Extras(baseline=wrong))
    assert not (tmp_path / "c").exists()  # said before any attack


def test_training_samples_by_radius(networks, data, tmp_path):
    index = data.train_index[:200]
    radius = torch.linspace(0, 0.2, 200)
    ours = evaluated(networks[0], tmp_path, radii=(index, radius))
    rows = run_evaluation(ours, data, replace(CONFIG, suite="pgd+radii"), QUIET).radii
    assert [row.n for row in rows] == [10, 10, 10, 10]
    edges = [edge for row in rows for edge in row.radius_px]
    assert edges == sorted(edges)
    assert 0 <= edges[0] < edges[-1] <= 51.1
    assert all(row.clean >= row.screened for row in rows)
    without = run_evaluation(evaluated(networks[0], tmp_path / "b"), data, replace(CONFIG, suite="pgd+radii"), QUIET)
    assert without.radii is None


def test_a_masking_model_gets_the_verdict_at_the_top(networks, data, tmp_path, monkeypatch):
    monkeypatch.setattr("iaat.evaluate.masking.masking_section.MASKING_N", 100)
    rounded = Around(networks[1], before=lambda x: (x * 4).round() / 4)
    config = replace(CONFIG, suite="pgd+masking", n=100, radius=Radius("20px"))
    results = run_evaluation(evaluated(rounded, tmp_path), data, config, QUIET)
    assert results.verdict.startswith("do not trust PGD here: ")
    assert "zero-gradients" in results.verdict
    serious = {finding.name for finding in results.findings if finding.serious}
    assert serious == set(results.verdict.removeprefix("do not trust PGD here: ").split(", "))
    assert results.masking


def test_an_empty_test_set_is_refused(networks, data, tmp_path):
    empty = replace(data, test_index=data.test_index[:0])
    with pytest.raises(UserError, match="no samples"):
        run_evaluation(evaluated(networks[0], tmp_path), empty, CONFIG, QUIET)


def test_a_model_without_a_gradient_path_meets_the_attacks_that_need_none(networks, data, tmp_path, monkeypatch):
    few_queries(monkeypatch)
    stepped = Around(networks[1], before=lambda x: (x > 0.5).float())
    config = replace(CONFIG, suite="pgd+autoattack+curve", radius=Radius("150px"))
    results = run_evaluation(evaluated(stepped, tmp_path), data, config, QUIET)
    assert results.verdict == "do not trust PGD here: blocked-gradients; not robust"
    assert [stage.name for stage in results.stages] == ["clean", "autoattack/square"]
    assert results.accuracy["worst"] < results.accuracy["clean"]
    assert "autoattack/fab-t, curve" in next(f for f in results.findings if f.name == "attacks-left-out").evidence
    without = run_evaluation(evaluated(stepped, tmp_path), data, replace(CONFIG, suite="pgd"), QUIET)
    assert without.accuracy["worst"] == without.accuracy["clean"]
    assert without.verdict == "do not trust PGD here: blocked-gradients"


class Brighter(nn.Module):
    """Class 1 where the mean pixel is above one half."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        score = self.scale * (x.flatten(1).mean(dim=1) - 0.5)
        return torch.stack([-score, score], dim=1)


def brightness_data(channels=3, side=8):
    """Grey images of two classes, dark and light ones."""
    x = torch.rand(20, channels, side, side, generator=torch.Generator().manual_seed(0))
    source = InMemorySource(x, (x.flatten(1).mean(1) > 0.5).long(), ("dark", "light"), complete=False)
    everything = torch.arange(20)
    return DataSplits(source, source, everything, everything, everything, torch.zeros(channels), torch.ones(channels))


def test_published_corruptions_are_read_with_their_own_labels(tmp_path):
    generator = np.random.default_rng(0)
    folder = tmp_path / "published-C"
    folder.mkdir()
    levels = generator.integers(0, 256, (2, 5 * 8))
    labels = np.tile(generator.integers(0, 2, 8), 5)
    for name, level in zip(("fog", "snow"), levels, strict=True):
        np.save(folder / f"{name}.npy", np.broadcast_to(level[:, None, None, None], (40, 8, 8, 3)).astype(np.uint8))
    np.save(folder / "labels.npy", labels)
    data = brightness_data()
    config = replace(CONFIG, suite="pgd+corruptions", n=None)
    results = run_evaluation(evaluated(Brighter(), tmp_path / "out"), data, config, QUIET, Extras(corrupted=folder))
    section = results.corruptions
    assert section.source == "published, published-C"
    for name, level in zip(("fog", "snow"), levels, strict=True):
        correct = ((level > 127.5) == labels).reshape(5, 8).mean(axis=1)
        assert section.accuracy[name] == pytest.approx(correct.tolist())


def test_images_without_an_mce_are_refused_beside_a_baseline_before_any_attack(tmp_path):
    folder = tmp_path / "published-C"
    for severity, name in ((s, n) for s in "35" for n in ("dark", "light")):
        place = folder / "fog" / severity / name
        place.mkdir(parents=True)
        Image.new("RGB", (8, 8), (0, 0, 0) if name == "dark" else (255, 255, 255)).save(place / "a.png")
    config = replace(CONFIG, suite="pgd+corruptions", n=None)
    alone = run_evaluation(
        evaluated(Brighter(), tmp_path / "a"), brightness_data(), config, QUIET, Extras(corrupted=folder)
    )
    assert alone.corruptions.severities == (3, 5)
    for more in ({"baseline": alone}, {"is_baseline": True}):
        extras = Extras(corrupted=folder, **more)
        with pytest.raises(
            UserError, match=r"published-C\) lack severity 1, 2, 4, gaussian_noise, .*, jpeg_compression:"
        ):
            run_evaluation(evaluated(Brighter(), tmp_path / "b"), brightness_data(), config, QUIET, extras)
    assert not (tmp_path / "b").exists()


def test_a_baseline_without_errors_is_refused_before_any_attack(tmp_path, monkeypatch):
    monkeypatch.setattr("iaat.evaluate.corruption_accuracy.CORRUPTIONS", STANDARD)
    data, config = brightness_data(side=32), replace(CONFIG, suite="pgd+corruptions", n=None)
    base = run_evaluation(evaluated(Brighter(), tmp_path / "a"), data, config, QUIET)
    corruptions = base.corruptions
    perfect = replace(corruptions, accuracy={**corruptions.accuracy, "fog": (1.0,) * 5})
    extras = Extras(baseline=replace(base, corruptions=perfect))
    with pytest.raises(UserError, match="the baseline loses nothing on 'fog'"):
        run_evaluation(evaluated(Brighter(), tmp_path / "b"), data, config, QUIET, extras)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("layout", ["arrays", "folders"])
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 16)])
def test_published_images_of_another_shape_are_refused_before_any_attack(tmp_path, layout, channels, side):
    folder = tmp_path / "published-C"
    if layout == "arrays":
        folder.mkdir()
        np.save(folder / "fog.npy", np.zeros((10, 8, 8, 3), dtype=np.uint8))
        np.save(folder / "labels.npy", np.tile([0, 1], 5))
    else:
        for name in ("dark", "light"):
            (folder / "fog" / "1" / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "fog" / "1" / name / "a.png")
    config = replace(CONFIG, suite="pgd+corruptions", n=None)
    model, extras = evaluated(Brighter(), tmp_path / "out"), Extras(corrupted=folder)
    message = rf"published-C have shape \[3, 8, 8\], the inputs of the model \[{channels}, {side}, {side}\]"
    with pytest.raises(UserError, match=message):
        run_evaluation(model, brightness_data(channels, side), config, QUIET, extras)
    assert not (tmp_path / "out").exists()


class Shifted(nn.Module):
    """The same weights, another function."""

    def __init__(self, network, shift):
        super().__init__()
        self.network, self.shift = network, shift

    def forward(self, x):
        return self.network(x + self.shift)


def test_equal_weights_that_compute_something_else_do_not_share_a_journal(networks, data, tmp_path):
    plain, moved = (Shifted(networks[0], shift).eval() for shift in (0.0, 0.4))
    first = run_evaluation(evaluated(plain, tmp_path / "a"), data, CONFIG, QUIET)
    again = run_evaluation(evaluated(moved, tmp_path / "a"), data, CONFIG, QUIET)
    fresh = run_evaluation(evaluated(moved, tmp_path / "b"), data, CONFIG, QUIET)
    assert numbers(again) == numbers(fresh) != numbers(first)


def test_the_order_of_the_other_models_decides_and_is_part_of_the_question(networks, data, tmp_path):
    torch.manual_seed(1)
    a, b = (evaluated(net, tmp_path / name, name) for net, name in ((networks[1], "a"), (cnn().eval(), "b")))
    config = replace(CONFIG, suite="pgd+transfer-3")
    for others in ((a, b), (b, a)):
        ours = run_evaluation(evaluated(networks[0], tmp_path / "x"), data, config, QUIET, Extras(others=others))
        assert [row.source for row in ours.transfer] == [other.name for other in others]


def test_an_attack_named_twice_runs_once(networks, data, tmp_path):
    results = run_evaluation(evaluated(networks[0], tmp_path), data, replace(CONFIG, suite="pgd+pgd-3"), QUIET)
    assert [stage.name for stage in results.stages] == ["clean", "pgd-3"]


def test_every_section_sees_the_model_in_eval_mode(networks, data, tmp_path, monkeypatch):
    monkeypatch.setattr("iaat.evaluate.corruption_accuracy.CORRUPTIONS", ("contrast",))
    config = replace(CONFIG, suite="pgd+corruptions")
    expected = run_evaluation(evaluated(networks[0], tmp_path / "a"), data, config, QUIET)
    buffers = {name: value.clone() for name, value in networks[0].named_buffers()}
    networks[0].train()
    try:
        found = run_evaluation(evaluated(networks[0], tmp_path / "b"), data, config, QUIET)
    finally:
        networks[0].eval()
    assert numbers(found) == numbers(expected)
    assert all(torch.equal(value, buffers[name]) for name, value in networks[0].named_buffers())


def test_replaced_corrupted_files_are_noticed(tmp_path):
    (tmp_path / "fog").mkdir()
    file = tmp_path / "fog" / "1.png"
    file.write_bytes(b"abc")
    before = fingerprint_of_folder(tmp_path)
    assert fingerprint_of_folder(tmp_path) == before
    (tmp_path / ".DS_Store").write_bytes(b"view")
    assert fingerprint_of_folder(tmp_path) == before
    file.write_bytes(b"abcd")
    assert fingerprint_of_folder(tmp_path) != before


def test_vector_inputs_meet_autoattack_without_square(tmp_path, monkeypatch):
    few_queries(monkeypatch)
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.rand(24, 6, generator=generator), torch.randn(5, 6, generator=generator)
    layer = nn.Linear(6, 5)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.zero_()
        y = layer(x).argmax(1)
    source = InMemorySource(x, y, "abcde", complete=False)
    everything = torch.arange(24)
    data = DataSplits(source, source, everything, everything, everything, torch.zeros(6), torch.ones(6))
    config = replace(CONFIG, suite="pgd+autoattack", n=None, radius=Radius("10px"))
    results = run_evaluation(evaluated(layer.eval(), tmp_path), data, config, QUIET)
    assert "autoattack/square" not in [stage.name for stage in results.stages]
    assert "autoattack-shape" in [finding.name for finding in results.findings]
    assert results.accuracy["autoattack"] < 1


def test_images_on_which_square_cannot_start_in_l2_are_evaluated_without_it(tmp_path, monkeypatch, capsys):
    few_queries(monkeypatch)
    x = torch.rand(24, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    layer = nn.Sequential(nn.Flatten(), nn.Linear(144, 5))
    y = layer(x).argmax(1)
    source = InMemorySource(x, y, "abcde", complete=False)
    everything = torch.arange(24)
    data = DataSplits(source, source, everything, everything, everything, torch.zeros(1), torch.ones(1))
    config = replace(CONFIG, suite="pgd+autoattack+masking", n=None, norm="l2", radius=Radius("0.5"))
    results = run_evaluation(evaluated(layer.eval(), tmp_path), data, config, Reporter())
    assert "autoattack/square" not in [stage.name for stage in results.stages]
    assert {"autoattack-shape", "no-black-box"} <= {finding.name for finding in results.findings}
    assert "note autoattack-shape: Square in l2 cannot start on images of 12 x 12 pixels" in capsys.readouterr().out


def test_few_classes_are_noted_once_for_all_models_of_a_command(tmp_path, monkeypatch, capsys):
    few_queries(monkeypatch)
    x = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    layers = [nn.Sequential(nn.Flatten(), nn.Linear(64, 3)) for _ in range(2)]
    source = InMemorySource(x, layers[0](x).argmax(1), "abc", complete=False)
    everything = torch.arange(24)
    data = DataSplits(source, source, everything, everything, everything, torch.zeros(1), torch.ones(1))
    reporter, results = Reporter(), []
    for number, layer in enumerate(layers):
        model = evaluated(layer.eval(), tmp_path / str(number), name=f"net{number}")
        config = replace(CONFIG, suite="pgd+autoattack+masking", n=None, radius=Radius("10px"))
        results.append(run_evaluation(model, data, config, reporter))
    for found in results:
        names = [finding.name for finding in found.findings]
        assert names.count("autoattack-classes") == 1
        assert "few-classes" not in names
    before = capsys.readouterr().out
    assert before.count("note autoattack-classes") == 1
    after = "\n".join(str(each) for each in evaluation_report(results, reporter.has_said))
    assert "autoattack-classes" not in after
    assert "net1 seed 0" in after
    quiet = "\n".join(str(each) for each in evaluation_report(results, QUIET.has_said))
    assert quiet.count("note autoattack-classes (net0 seed 0, net1 seed 0)") == 1


def test_what_the_masking_checks_break_counts_in_the_worst_case_everywhere(networks, data, tmp_path):
    """A memory hides the network from every attack of the suite; the copy that has seen nothing gives it away."""
    radius = 20 / 255
    config = replace(CONFIG, suite="pgd+screening+masking", n=100, radius=Radius("20px"))
    model = Remembering(networks[1], 1.01 * radius)
    ours = evaluated(model, tmp_path, fresh=fresh_copy(model))
    results = run_evaluation(ours, data, config, QUIET)
    accuracy = results.accuracy
    assert "remembered-inputs" in results.verdict
    assert accuracy["screening"] > accuracy["masking"] + 0.2
    assert accuracy["worst"] == accuracy["masking"] == results.masking["worst"]
    assert results.interval95["worst"] == results.interval95["masking"]
    assert np.mean([row.worst * row.n for row in results.per_class]) == pytest.approx(
        100 * accuracy["worst"] / len(results.per_class)
    )
    records = pd.read_parquet(next(tmp_path.rglob("records.parquet")))
    broken = records[records["misclassified_by"] == "masking"]
    assert len(broken) == round(100 * (accuracy["screening"] - accuracy["worst"]))
    assert ((broken["perturbation_norm"] > 0) & (broken["perturbation_norm"] <= radius + 1e-6)).all()
    assert (broken["adversarial_prediction"] != broken["label"]).all()
    shown = next(each for each in evaluation_report([results]) if not isinstance(each, str))
    headings = [column.heading for column in shown.columns]
    assert [name for name in headings if name in ("PGD-3", "screening", "masking", "worst case")] == [
        *("PGD-3", "screening", "worst case"),
    ]
    again = run_evaluation(ours, data, config, QUIET)
    assert numbers(again) == numbers(results)


def test_a_natural_network_has_no_sign_of_masking_and_is_not_robust(networks, data, tmp_path):
    config = replace(CONFIG, suite="pgd+masking", n=100, radius=Radius("80px"))
    results = run_evaluation(evaluated(networks[1], tmp_path), data, config, QUIET)
    assert results.verdict == "no sign of masking; not robust"
    found = next(finding for finding in results.findings if finding.name == "not-robust")
    labels = pd.read_parquet(next(tmp_path.rglob("records.parquet")))["label"]
    commonest = 100 * labels.value_counts(normalize=True).max()
    assert f"{commonest:.1f} %" in found.evidence


def test_more_samples_are_looked_at_where_few_are_correct(networks, data, tmp_path, monkeypatch):
    """The network is given every other sample turned upside down, so that it is correct on some two thirds."""
    monkeypatch.setattr("iaat.evaluate.masking.masking_section.MASKING_N", 40)
    turned = Around(networks[1], before=lambda x: torch.where(x.mean((1, 2, 3), keepdim=True) > 0.3, x.flip(2), x))
    config = replace(CONFIG, suite="pgd+masking", n=200)
    results = run_evaluation(evaluated(turned, tmp_path / "a"), data, config, QUIET)
    masking = results.masking
    assert 0.3 < masking["clean"] < 34 / 40
    assert 40 < masking["samples"] < 200
    assert masking["clean"] * masking["samples"] >= masking["samples_needed"] == 34
    assert "few-samples" not in {finding.name for finding in results.findings}
    few = run_evaluation(evaluated(turned, tmp_path / "b"), data, replace(config, n=30), QUIET)
    assert "too few samples to look for masking: " in few.verdict
    assert "34 are needed" in few.verdict
