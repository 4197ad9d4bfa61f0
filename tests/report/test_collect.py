"""A report says what the files of runs say, and looks at the images it claims to."""

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.training import QUIET, tiny
from iaat.config.load_recipe import load_recipe
from iaat.data import build_data, sequential_order
from iaat.errors import UserError
from iaat.evaluate.stored_results import evaluations_of
from iaat.experiments.run_recipe import run_recipe
from iaat.report.collect import collect_content
from iaat.report.distinct_suites import samples_of, with_distinct_suites
from iaat.report.examined_images import _why_missing
from iaat.report.gallery import choose, in_detail
from iaat.report.page import content_json
from iaat.report.run_summary import recipe_comparison, run_parts
from iaat.report.scope import Scope, check_scope
from iaat.report.suspects import find_suspects
from iaat.runs.checkpoint import load_checkpoint, restore_model
from iaat.runs.run_folder import RunFolder
from iaat.runtime.files import append_json_line

SMALL = Scope(images=40, details=3)
EVALUATED = ("--evaluate.n", "20", "--evaluate.steps", "2", "--evaluate.suite", "pgd+screening+curve")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """IAAT with two seeds, and natural training."""
    folder = tmp_path_factory.mktemp("runs")
    found = []
    for method, seed in (("iaat", "0"), ("natural", "0"), ("iaat", "1")):
        run = RunFolder(folder / f"{method}-{seed}")
        run_recipe(tiny(method, "--seed", seed, *EVALUATED), run, QUIET)
        found.append(run)
    return found


@pytest.fixture(scope="module")
def content(runs):
    return collect_content(runs, [], QUIET, SMALL)


def test_runs_and_verdicts_are_those_of_the_files(runs, content):
    assert [part.name for part in content.runs] == [
        "quickstart seed 0 (iaat-0)",
        "quickstart seed 0 (natural-0)",
        "quickstart seed 1",
    ]
    metrics = runs[0].metrics()
    assert content.runs[0].curves["loss"] == [record.loss for record in metrics]
    assert content.runs[0].quantiles["50"] == [record.radius_quantiles_px["50"] for record in metrics]
    assert [part.evaluated_at for part in content.runs] == [None, ("64px", "linf"), None]
    assert {(row.radius, row.norm) for row in content.evaluations} == {("64px", "linf")}
    assert content.runs[1].quantiles == {}
    assert [(row.run, row.checkpoint) for row in content.evaluations] == [
        (n, c) for n in range(3) for c in ("best", "last")
    ]
    stored = json.loads(next(runs[0].path.glob("evaluations/best-*/results.json")).read_text())
    evaluation = content.evaluations[0]
    assert evaluation.clean == stored["accuracy"]["clean"]
    assert list(evaluation.attacks.values()) == [stored["accuracy"][name] for name in stored["attacks"]]
    assert evaluation.robust == stored["accuracy"]["worst"]
    assert evaluation.worst_case == "worst case over PGD-2, screening, curve; 64px linf"
    assert len(content.curves) == 6
    of = [(row.run, row.checkpoint, row.weights, row.suite, row.n) for row in content.evaluations]
    assert [(part.run, part.checkpoint, part.weights, part.suite, part.n) for part in content.curves] == of
    assert content.curves[0].radius[-1] == pytest.approx(128)


def test_a_run_says_whether_its_radii_are_given_and_its_classes_weighed(runs):
    def part(*words):
        (found,) = run_parts(runs[:1], [tiny("pgd_at", *words)])
        return found.given_radii, found.weighs_classes, found.softens_by_radius

    assert part() == (False, False, False)
    assert part("--method.radii", str(runs[0].path)) == (True, False, False)
    assert part("--method.class_weights", "balanced") == (False, True, False)
    soft = ("--method.soft_labels", "0.5", "--method.soft_by_radius", "true", "--train.ema", "0.9")
    assert part("--method.radii", str(runs[0].path), *soft) == (True, False, True)


def test_the_opening_and_the_classes_are_those_of_the_records(runs, content):
    assert content.title == "IAAT against natural training on digits: 3 runs, 2 seeds"
    assert [answer.question for answer in content.opening.answers] == ["price", "gain", "quote"]
    assert "a tie with natural training" in content.opening.answers[0].sentence
    assert content.opening.answers[-1].command.startswith("iaat evaluate iaat-0 iaat-1 natural-0 --suite standard")
    stored = json.loads(next(runs[0].path.glob("evaluations/best-*/results.json")).read_text())
    other = json.loads(next(runs[2].path.glob("evaluations/best-*/results.json")).read_text())
    (row, *_) = content.under_attack.results
    assert row.seeds == 2
    for each in row.classes:
        name = content.classes[each.label]
        pair = [next(own for own in part["per_class"] if own["name"] == name) for part in (stored, other)]
        assert each.n == pair[0]["n"]
        assert each.robust == pytest.approx(sum(own["worst"] for own in pair) / 2)
        assert each.clean == pytest.approx(sum(own["clean"] for own in pair) / 2)
    images = content.under_attack.images
    wrong = round(20 * (1 - stored["accuracy"]["worst"]))
    assert len(images.index) + sum(images.left_out) == wrong


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_lost_line_of_the_log_leaves_a_gap_at_its_epoch(runs, tmp_path, lost, how):
    run = RunFolder(shutil.copytree(runs[0].path, tmp_path / "run"))
    lines = run.metrics_file.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[lost - 1] = "" if how == "missing" else "damaged\n"
    run.metrics_file.write_text("".join(lines), encoding="utf-8")
    with pytest.warns(UserWarning, match=rf"metrics\.jsonl has no epoch {lost}: a gap in the curves"):
        (part,) = run_parts([run], [run.recipe()])
    whole = runs[0].metrics()
    kept = [None if record.epoch == lost else record for record in whole]
    assert part.epochs == 3
    assert part.curves["loss"] == [record and record.loss for record in kept]
    assert part.quantiles["50"] == [record and record.radius_quantiles_px["50"] for record in kept]


@pytest.mark.parametrize("epoch", [0, -3, 10**9])
def test_an_epoch_that_cannot_be_is_left_out_of_the_curves_with_a_warning(runs, tmp_path, epoch):
    run = RunFolder(shutil.copytree(runs[0].path, tmp_path / "run"))
    append_json_line(run.metrics_file, {**runs[0].metrics()[0].to_json(), "epoch": epoch})
    with pytest.warns(UserWarning, match=rf"metrics\.jsonl.* epoch(:| is)? {epoch}.*; left out"):
        (part,) = run_parts([run], [run.recipe()])
    assert part.epochs == 3
    assert part.curves["loss"] == [record.loss for record in runs[0].metrics()]


def test_differences_name_the_settings_that_differ(content):
    differences = dict(content.differences)
    assert differences["method.name"] == ["iaat", "natural", "iaat"]
    assert differences["seed"] == ["0", "0", "1"]
    assert "data.name" not in differences


def test_histograms_count_every_sample_once_an_epoch(runs, content):
    assert [part.run for part in content.radii] == [0, 2]
    part = content.radii[0]
    index, radius = runs[0].radii_after(3)
    assert part.epochs == [1, 2, 3]
    assert [sum(counts) for counts in part.counts] == [len(index)] * 3
    labels = build_data(tiny().data, seed=0).train.labels.numpy()[index]
    assert part.by_class[4]["50"] == pytest.approx(np.median(radius[labels == 4]) * 255, rel=1e-5)


def test_stability_is_between_runs_with_radii(content):
    (pair,) = content.stability
    assert (pair.first, pair.second) == (0, 2)
    assert -1 <= pair.correlation <= 1
    assert pair.n == 180


def test_the_gallery_has_the_radii_predictions_and_history_of_its_images(runs, content):
    gallery = content.gallery
    assert len(gallery.index) == 40
    assert gallery.total == 180
    assert gallery.radius == sorted(gallery.radius)
    index, radius = runs[0].radii_after(3)
    for place in (0, 20, 39):
        own = radius[index == gallery.index[place]].item() * 255
        assert gallery.radius[place] == pytest.approx(own, abs=0.01)
    assert content.wall.n == 180
    held = [
        np.frombuffer(base64.b64decode(text), dtype)
        for text, dtype in ((content.wall.index, "<u4"), (content.wall.label, "<u2"), (content.wall.prediction, "<u2"))
    ]
    assert held[0][:40].tolist() == gallery.index
    assert sorted(held[0].tolist()) == index.tolist()
    assert (held[1][:40].tolist(), held[2][:40].tolist()) == (gallery.label, gallery.prediction)
    for place, epoch in enumerate(content.wall.epochs):
        at, radius = runs[0].radii_after(epoch)
        steps = np.frombuffer(base64.b64decode(content.wall.radii[place]), "<u2")
        assert steps * content.wall.step == pytest.approx(255 * radius[np.searchsorted(at, held[0])], abs=1e-3)
    recipe = tiny("iaat")
    model = restore_model(recipe, load_checkpoint(runs[0].checkpoint("last")))
    (batch,) = build_data(recipe.data, seed=0).train.batches(sequential_order(torch.tensor(gallery.index), 64))
    assert gallery.prediction == model(batch.x).argmax(1).tolist()


def test_details_surfaces_and_norms_are_there_and_all_of_it_is_json(content):
    gallery = content.gallery
    assert list(gallery.details) == list(map(str, in_detail(gallery, 3)))
    for place, detail in gallery.details.items():
        assert detail["image"].startswith("data:image/")
        assert detail["sheet"].startswith("data:image/")
        assert detail["index"] == gallery.index[int(place)]
        own = detail["frames"][detail["own_at"]]
        assert own["radius"] == pytest.approx(gallery.radius[int(place)], abs=0.01)
    norms = content.radii[0].norms
    assert len(norms["radius"]) == len(norms["smallest"]) == norms["n"] == 180
    assert content.radii[1].norms is None
    assert all(set(part.losses) == {"0", "1", "2"} for part in content.surfaces)
    read = json.loads(content_json(content))
    assert read["gallery"]["index"] == gallery.index
    assert "<" not in content_json(content)


def test_neighbours_that_are_in_no_gallery_have_thumbnails_after_it(content):
    gallery = content.gallery
    sides = [detail[side] for detail in gallery.details.values() for side in ("near_own", "near_confused")]
    near = {each["index"] for side in sides for each in side}
    on_wall = np.frombuffer(base64.b64decode(content.wall.index), "<u4").tolist()
    assert on_wall[40 : gallery.pictured] == sorted(near - set(gallery.index))
    assert gallery.pictured > 40


def test_details_can_be_asked_for_by_index(runs, content):
    others = sorted(
        set(np.frombuffer(base64.b64decode(content.wall.index), "<u4").tolist()) - set(content.gallery.index)
    )
    scope = Scope(images=40, details=2, details_of=(others[-1], others[3]), page=Path("out.html"))
    gallery = collect_content(runs[:1], ["--data.root", "my data"], QUIET, scope).gallery
    asked = [gallery.index.index(number) for number in (others[-1], others[3])]
    assert list(map(int, gallery.details)) == [*asked, *in_detail(gallery, 2, scope.details_of)[2:]]
    assert len(gallery.details) == 4
    assert gallery.radius == sorted(gallery.radius)
    assert gallery.compute == (
        "iaat report iaat-0 '--data.root=my data' --images 40 --details 2 -o out.html "
        f"--details-of {others[-1]},{others[3]},{{index}}"
    )
    assert gallery.compute_more == "--details N"


def test_an_image_without_a_radius_has_no_details(runs):
    with pytest.raises(UserError, match=r"--details-of 99999: quickstart seed 0 has no radius for this image"):
        collect_content(runs[:1], [], QUIET, Scope(images=5, details=0, details_of=(99999,)))


def test_details_are_of_suspects_first_then_of_both_ends(content):
    kinds = ["", "label", "", "ambiguous", "", ""]
    gallery = replace(content.gallery, index=[9, 8, 7, 6, 5, 4], kind=kinds, rank=[1, 4, 5, 2, 3, 6])
    assert in_detail(gallery, 1) == [3]
    assert in_detail(gallery, 4) == [3, 1, 0, 5]
    assert in_detail(gallery, 2, asked=[4, 6]) == [5, 3, 1, 0]
    assert in_detail(gallery, 0) == []


def test_two_reports_of_the_same_runs_say_the_same(runs, content):
    assert content_json(collect_content(runs, [], QUIET, SMALL)) == content_json(content)


def test_without_images_only_files_are_read(runs, monkeypatch):
    monkeypatch.setattr("iaat.report.examined_images.build_data", lambda *_, **__: pytest.fail("data was read"))
    content = collect_content(runs[1:2], [], QUIET, Scope(pictures=False))
    assert content.gallery is None
    assert content.radii == []
    assert content.notes == ["no images, suspects and loss surfaces: --no-images leaves them out"]


def test_runs_without_radii_have_no_gallery_and_say_so(runs):
    content = collect_content(runs[1:2], [], QUIET, SMALL)
    assert content.gallery is None
    assert "no run has a radius for each image" in content.notes[0]


def test_a_report_without_a_gallery_says_so(runs):
    found = collect_content(runs[:1], [], QUIET, Scope(images=0, details=0))
    assert "no gallery, wall and suspects: --images is 0" in found.notes
    assert not found.gallery.index


def test_that_nothing_is_suspect_is_said():
    radii = np.full((3, 6), 8 / 255)
    labels = np.arange(6) % 2
    sure = np.where(labels[:, None] == np.arange(2), 0.9, 0.1)
    (note,) = _why_missing(Scope(), find_suspects(radii, labels, sure))
    assert note.startswith("no image is suspected")
    mixed = np.where(np.arange(6)[None] < 2, 0, radii)
    unsure = np.where(np.arange(6)[:, None] < 2, 1 - sure, sure)
    assert _why_missing(Scope(), find_suspects(mixed, labels, unsure)) == []


def test_all_suspects_are_written_as_a_table(runs, tmp_path):
    file = tmp_path / "suspects.csv"
    collect_content(runs[:1], [], QUIET, Scope(images=5, details=0, suspects=file))
    lines = file.read_text().splitlines()
    assert lines[0].startswith('"rank","index","kind","label"')
    assert len(lines) == 181


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no run with a finished epoch"):
        collect_content([RunFolder(tmp_path)], [], QUIET)


def test_a_gallery_has_both_ends_of_the_radii_and_the_most_suspect():
    by_radius = np.random.default_rng(0).permutation(1000)
    rank = np.arange(1000, 0, -1)
    rank[400:425] = np.arange(-25, 0)
    chosen = choose(by_radius, rank, 100)
    assert len(set(chosen)) == 100
    assert set(by_radius[:25]) | set(by_radius[-25:]) | set(range(400, 425)) <= set(chosen.tolist())
    place = np.argsort(by_radius)
    assert (np.diff(place[chosen]) > 0).all()
    assert len(choose(by_radius, rank, 5000)) == 1000


@pytest.mark.parametrize(
    ("scope", "page", "message"),
    [
        (Scope(images=-1), "report.html", "--images -1"),
        (Scope(details=-1), "report.html", "--details -1"),
        (Scope(details_of=(3, -1)), "report.html", "--details-of -1"),
        (Scope(details_of=(3,), pictures=False), "report.html", "--no-images leaves out"),
        (Scope(), ".", "is a folder"),
        (Scope(suspects="suspects.txt"), "report.html", "must end in .csv or .parquet"),
        (Scope(suspects="suspects.csv", pictures=False), "report.html", "--no-images leaves out"),
    ],
)
def test_what_would_stop_a_report_at_its_end_is_found_before(scope, page, message, tmp_path):
    with pytest.raises(UserError, match=message):
        check_scope(scope, tmp_path / page, None)


def test_evaluations_of_a_checkpoint_that_is_another_one_since_are_left_out(runs, tmp_path):
    run = RunFolder(tmp_path / "gone-on")
    shutil.copytree(runs[0].path, run.path)
    file = next(run.path.glob("evaluations/last-*/results.json"))
    file.write_text(json.dumps({**json.loads(file.read_text()), "epoch": 1}))
    with pytest.warns(UserWarning, match=r"is of epoch 1, and the last checkpoint is of epoch 3 since: left out"):
        content = collect_content([run], [], QUIET, Scope(pictures=False))
    assert [row.checkpoint for row in content.evaluations] == ["best"]


def test_a_run_given_twice_is_refused(runs):
    with pytest.raises(UserError, match="is given twice"):
        collect_content([runs[0], RunFolder(runs[0].path.parent / "." / runs[0].path.name)], [], QUIET, SMALL)


def test_evaluations_of_other_test_data_or_samples_have_a_suite_of_their_own(runs):
    rows = [(0, row) for _, row in evaluations_of(runs[0], current=True)]
    own, names = rows[0][1].attack, ["a seed 0", "b seed 0"]
    assert rows[1][1].attack == own
    others = [*rows, (1, rows[0][1])]
    found = with_distinct_suites(others, ["first", "first", "other"], names)
    assert [row.attack for _, row in found] == [own, own, f"{own}, test data 2 (b seed 0)"]
    assert with_distinct_suites(others, ["first"] * 3, names) == others

    def ordered(row, **settings):
        return replace(row, evaluate=replace(row.evaluate, **settings))

    assert rows[0][1].evaluate.samples is not None
    published = (1, ordered(rows[0][1], order="published"))
    found = with_distinct_suites([*rows, published], ["first"] * 3, names)
    assert [row.attack for _, row in found] == [f"{own}, samples at random"] * 2 + [f"{own}, the first samples"]
    # Other arithmetic has no effect on a suite without AutoAttack, and of all samples the order has none.
    other = ordered(rows[0][1], autoattack_arithmetic="channels_last")
    assert with_distinct_suites([rows[0], (1, other)], ["first"] * 2, names) == [rows[0], (1, other)]
    with_it, reference = (ordered(row, suite="standard") for row in (other, rows[0][1]))
    assert [row.attack for _, row in with_distinct_suites([(0, reference), (1, with_it)], ["first"] * 2, names)] == [
        f"{own}, AutoAttack in reference arithmetic",
        f"{own}, AutoAttack in channels_last arithmetic",
    ]
    every = replace(rows[0][1], evaluate=replace(rows[0][1].evaluate, suite="standard", n=None))
    whole = [(0, every), (1, ordered(every, order="published"))]
    assert with_distinct_suites(whole, ["first"] * 2, names) == whole


def test_an_evaluation_knows_its_test_set_and_one_of_an_older_version_that_of_its_run(runs):
    row = evaluations_of(runs[0], current=True)[0][1]
    assert samples_of(row, "of the run") == row.digests.test_set
    assert samples_of(replace(row, digests=None), "of the run") == "of the run"


L2 = ("--method.norm", "l2", "--method.radius", "0.5", *EVALUATED[:-1], "pgd+curve")


@pytest.fixture(scope="module")
def run_in_l2(tmp_path_factory):
    """IAAT in L2, evaluated in L2."""
    run = RunFolder(tmp_path_factory.mktemp("l2") / "run")
    run_recipe(tiny("iaat", *L2, "--evaluate.norm", "l2", "--evaluate.radius", "0.5"), run, QUIET)
    return run


@pytest.fixture(scope="module")
def in_l2(run_in_l2):
    return collect_content([run_in_l2], [], QUIET, SMALL)


def test_lengths_of_a_run_in_l2_are_on_the_image_scale(run_in_l2, in_l2):
    (part,), (run,), gallery = in_l2.radii, in_l2.runs, in_l2.gallery
    _, radius = run_in_l2.radii_after(3)
    assert (run.norm, in_l2.wall.norm) == ("l2", "l2")
    assert run.curves["radius_mean"][-1] == pytest.approx(radius.mean(), rel=1e-4)
    assert run.quantiles["50"][-1] == pytest.approx(np.median(radius), rel=1e-4)
    assert radius.max() < part.edges[-1] < 2
    assert max(values["95"] for values in part.by_class if values) <= radius.max() * (1 + 1e-6)
    assert gallery.radius[-1] == pytest.approx(radius.max(), rel=1e-4)
    assert np.frombuffer(base64.b64decode(in_l2.wall.radii[-1]), "<u2").max() * in_l2.wall.step <= radius.max() * 1.0001
    assert in_l2.curves[0].radius[-1] == pytest.approx(1.0)
    assert not [note for note in in_l2.notes if "255" in note]


def test_what_is_measured_in_l2_is_on_the_image_scale(in_l2):
    norms, (surface, *_) = in_l2.radii[0].norms, in_l2.surfaces
    assert (norms["norm"], norms["searched"], surface.norm) == ("l2", 2.0, "l2")
    assert (surface.radius, surface.offsets[-1]) == (0.5, 1.0)
    assert len(in_l2.gallery.details) == 3
    for place, detail in in_l2.gallery.details.items():
        own = detail["frames"][detail["own_at"]]
        assert own["radius"] == pytest.approx(in_l2.gallery.radius[int(place)], abs=5e-4)
        assert detail["frames"][detail["uniform_at"]]["radius"] == 0.5
        assert (detail["norm"], detail["searched"]) == ("l2", 2.0)


def test_settings_in_l2_are_compared_as_norms():
    recipes = [load_recipe("quickstart", ["--norm=l2", f"--radius={radius}"]) for radius in ("0.5", "1.25")]
    differences = dict(recipe_comparison([*recipes, load_recipe("quickstart")]))
    assert differences["method.radius"] == differences["evaluate.radius"] == ["0.5", "1.25", "64px"]
    assert dict(recipe_comparison(recipes)) == {key: ["0.5", "1.25"] for key in ("method.radius", "evaluate.radius")}


def test_radii_of_another_norm_than_the_evaluation_are_not_attacked_at(run_in_l2, tmp_path):
    run = RunFolder(shutil.copytree(run_in_l2.path, tmp_path / "run"))
    content = collect_content([run], ["--evaluate.norm", "linf", "--evaluate.radius", "8px"], QUIET, SMALL)
    assert content.runs[0].norm == content.wall.norm == "l2"
    assert content.radii[0].norms["norm"] == "linf"
    assert content.radii[0].norms["searched"] == 32
    assert len(content.gallery.details) == 3
    for detail in content.gallery.details.values():
        assert (detail["norm"], detail["own_at"]) == ("linf", None)
