"""Damaged logs and results: the file and line are named, and all that does not depend on them is as it would be."""

import json
import math
import re
import shutil

import pytest

from iaat.cli.main import main
from iaat.evaluate.results import read_results
from iaat.runtime.json_files import DamagedFileError

RECIPE = ("quickstart", "--train.epochs", "3", "--data.limit", "200", "--model.width", "4", "--evaluate.n", "40")
QUICK = ("--suite", "pgd-2", "--samples", "40", "--checkpoint", "best")

COST = {"train_forwards", "train_backwards", "train_seconds"}

DAMAGE = {
    "flipped bit": lambda line: bytes([line[0] ^ 1]) + line[1:],
    "no UTF-8": lambda line: b"\xff" + line[1:],
    "huge integer": lambda line: re.sub(rb"(: \[?)\d", rb"\g<1>" + b"9" * 5000, line, count=1),
    "large integer": lambda line: re.sub(rb"(: \[?)[\d.]+", rb"\g<1>" + b"9" * 400, line, count=1),
    "deep nesting": lambda _line: b"[" * 100_000,
    "another shape": lambda _line: b'["epoch"]',
    "no record": lambda _line: b"null",
    "wrong type": lambda line: re.sub(rb": [\d.\"a-z0-9]+", b': {"x": []}', line, count=1),
    "empty": lambda _line: b"",
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder with one finished run, trained, compared and evaluated."""
    folder = tmp_path_factory.mktemp("damaged")
    assert main(["compare", *RECIPE, "--out", str(folder), "--seeds", "1", "--quiet"]) == 0
    assert main(["evaluate", str(folder / "quickstart-seed0"), *QUICK, "--quiet"]) == 0
    return folder


@pytest.fixture
def run(out, tmp_path):
    """A copy of the run, to be damaged."""
    shutil.copytree(out, tmp_path / "out")
    return tmp_path / "out" / "quickstart-seed0"


def damage(file, kind, number=2):
    lines = file.read_bytes().split(b"\n")
    before = lines[number - 1]
    lines[number - 1] = DAMAGE[kind](before)
    assert lines[number - 1] != before
    file.write_bytes(b"\n".join(lines))


def ran(capsys, *words, code=0):
    assert main([*map(str, words)]) == code
    return capsys.readouterr()


def figures(folder):
    """Accuracies of an evaluation and the training cost beside them."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return results["accuracy"], {key for key in results if key.startswith("train_")}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_log_costs_the_training_cost_alone(run, capsys, kind):
    whole = figures(run / "evaluations" / "best-pgd-2-64px-linf-n40")
    damage(run / "metrics.jsonl", kind)
    said = ran(capsys, "evaluate", run, *QUICK).err
    assert re.search(r"metrics\.jsonl, line 2 is damaged: .*; passes of training not known", said)
    accuracy, cost = figures(run / "evaluations" / "best-pgd-2-64px-linf-n40")
    assert (accuracy, cost) == (whole[0], {"train_seconds"})
    assert "metrics.jsonl, line 2 is damaged" in ran(capsys, "report", run, "--no-images", "-o", run.parent / "a").err
    ran(capsys, "radii", run, "--quiet")
    shown = ran(capsys, "compare", *RECIPE, "--out", run.parent, "--seeds", "1", "--no-train")
    assert "n = 40 test samples" in shown.out


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_times_cost_the_time_alone(run, capsys, kind):
    damage(run / "timings.jsonl", kind)
    said = ran(capsys, "evaluate", run, *QUICK).err
    assert re.search(r"timings\.jsonl, line 2 is damaged: .*; seconds of training not known", said)
    assert figures(run / "evaluations" / "best-pgd-2-64px-linf-n40")[1] == COST - {"train_seconds"}


def damage_whole(file, kind):
    """Damage a JSON file in the one line that it is written as first."""
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8"))), encoding="utf-8")
    damage(file, kind, 1)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_facts_of_a_run_cost_its_name_alone(run, capsys, kind):
    damage_whole(run / "run.json", kind)
    assert re.search(r"run\.json is damaged: .*the name of its folder", ran(capsys, "evaluate", run, *QUICK).err)
    assert figures(run / "evaluations" / "best-pgd-2-64px-linf-n40")[1] == COST


@pytest.mark.parametrize(
    "words",
    [
        *(("report", "RUN", "--no-images", "-o", "OUT/page.html"), ("radii", "RUN")),
        *(("train", *RECIPE, "--out", "RUN", "--resume"), ("compare", *RECIPE, "--out", "OUT", "--seeds", "1")),
    ],
    ids=lambda words: words[0],
)
def test_damaged_facts_stop_no_command(run, capsys, words):
    damage_whole(run / "run.json", "deep nesting")
    ran(capsys, *(word.replace("RUN", str(run)).replace("OUT", str(run.parent)) for word in words))


@pytest.mark.parametrize("kind", [*DAMAGE, "a digit"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_damaged_line_of_a_journal_is_computed_again(run, capsys, monkeypatch, kind, number):
    folder = run / "evaluations" / "best-pgd-2-64px-linf-n40"
    whole = figures(folder)[0]
    monkeypatch.setitem(DAMAGE, "a digit", lambda line: re.sub(rb"\d(?=\D*$)", lambda d: b"%d" % (9 - int(d[0])), line))
    damage(folder / "journal.jsonl", kind, number)
    said = ran(capsys, "evaluate", run, *QUICK).err
    assert re.search(rf"journal\.jsonl, line {number} is damaged: .*; computed again", said)
    assert figures(folder)[0] == whole
    assert "damaged" not in ran(capsys, "evaluate", run, *QUICK).err


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_results_are_made_again_or_left_out(run, capsys, kind):
    (folder,) = run.glob("evaluations/best-quick-*")
    whole = figures(folder)[0]
    damage_whole(folder / "results.json", kind)
    said = ran(capsys, "report", run, "--no-images", "-o", run.parent / "page.html").err
    assert re.search(r"results\.json is damaged: .*; the evaluation is left out", said)
    said = ran(capsys, "compare", *RECIPE, "--out", run.parent, "--seeds", "1", "--no-train").err
    assert re.search(r"results\.json is damaged: .*; evaluated again", said)
    assert figures(folder)[0] == whole


IMPOSSIBLE = {
    "no section": lambda results: results.update(evaluate={}),
    "no radius": lambda results: results["evaluate"].update(radius=None),
    "no norm": lambda results: results["evaluate"].update(norm=None),
    "no length": lambda results: results["evaluate"].update(radius="nonsense"),
    "no number": lambda results: results["evaluate"].update(radius="NaN"),
    "other norm": lambda results: results["evaluate"].update(norm="l7"),
    "no step size": lambda results: results["evaluate"].update(step_size="nonsense"),
    "steps": lambda results: results["evaluate"].update(steps="many"),
    "accuracy": lambda results: results["accuracy"].update(clean=math.inf),
    "accuracy in %": lambda results: results["accuracy"].update(worst=83.0),
    "interval": lambda results: results["interval95"].update(clean=[math.nan, 1.0]),
    "n": lambda results: results.update(n=-5),
    "classes": lambda results: results.update(classes=0),
    "seconds": lambda results: results.update(seconds=-1.0),
    "passes": lambda results: results["passes_per_sample"].update(forward=math.inf),
    "worst class": lambda results: results["worst_class"].update(worst=-0.5),
}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_impossible_results_are_damaged_and_named(run, kind):
    (file,) = run.glob("evaluations/best-quick-*/results.json")
    results = json.loads(file.read_text(encoding="utf-8"))
    read_results(file)
    IMPOSSIBLE[kind](results)
    file.write_text(json.dumps(results), encoding="utf-8")
    with pytest.raises(DamagedFileError, match=re.escape(f"{file} is damaged: ")):
        read_results(file)


def test_an_impossible_evaluation_does_not_end_a_report(run, capsys):
    (folder,) = run.glob("evaluations/best-quick-*")
    whole, file = figures(folder)[0], folder / "results.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "evaluate": {}}), encoding="utf-8")
    said = ran(capsys, "report", run, "--no-images", "-o", run.parent / "page.html").err
    assert "results.json is damaged: evaluate has no radius; the evaluation is left out" in said
    said = ran(capsys, "compare", *RECIPE, "--out", run.parent, "--seeds", "1", "--no-train").err
    assert "results.json is damaged: evaluate has no radius; evaluated again" in said
    assert figures(folder)[0] == whole


def test_a_baseline_with_damaged_results_is_an_error(run, capsys):
    (folder,) = run.glob("evaluations/best-pgd-2-*")
    damage_whole(folder / "results.json", "another shape")
    said = ran(capsys, "evaluate", run, *QUICK, "--baseline", folder, code=2).err
    assert re.search(r"error: .*results\.json is damaged", said)


def test_going_on_mends_the_logs_and_names_what_was_lost(run, capsys):
    whole = (run / "metrics.jsonl").read_bytes()
    damage(run / "metrics.jsonl", "deep nesting")
    damage(run / "timings.jsonl", "wrong type")
    said = ran(capsys, "train", *RECIPE, "--out", run, "--resume").err
    assert re.search(r"timings\.jsonl, line 2 is damaged: .*; its time is lost", said)
    assert (run / "metrics.jsonl").read_bytes() == whole
