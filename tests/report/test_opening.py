"""The first sentences of a report, from made evaluations."""

import shlex
from dataclasses import replace

import numpy as np
import pytest

from helpers.report_content import rich
from iaat.config.load_recipe import load_recipe
from iaat.errors import UserError
from iaat.evaluate.findings import TOO_FEW, TRUSTED, UNCHECKED, WORST_CASE
from iaat.evaluate.sample_records import SampleRecords
from iaat.report.commands import evaluation_command, training_command
from iaat.report.opening import focus_row, opening_of, report_title
from iaat.report.pooled_results import with_pooled_results
from iaat.report.report_content import ReportContent, RunPart
from iaat.report.result_content import ClassAccuracy, ClassResults, EvaluationRow, UnderAttack
from iaat.report.uniform_recipes import uniform_recipes
from iaat.statistics import wilson_interval

N = 1000
CLASSES = ["cat", "dog"]


def run(method, seed=0, passes=11.0, **more):
    name = {"iaat": "small-iaat", "pgd_at": "small-pgd-at", "natural": "small-natural"}.get(method, method)
    quantiles = {"50": [1.0, 4.0]} if method == "iaat" else {}
    curves = {"radius_mean": [2.0, 5.5]} if method == "iaat" else {}
    part = RunPart(
        f"{name} seed {seed}", f"runs/{name}-seed{seed}", method, seed, 2, {}, passes, passes, 9.0, curves, quantiles
    )
    return replace(part, **more)


def evaluation(place, clean, robust, attack="AutoAttack", text=TRUSTED, findings=(), n=N):
    attacks = {"PGD-20": robust + 0.02, attack: robust}
    found = {"clean": clean, **attacks}
    return EvaluationRow(
        run=place,
        checkpoint="best",
        weights=None,
        suite=f"{attack} 8px linf",
        verdict=text,
        findings=list(findings),
        n=n,
        clean=clean,
        attacks=attacks,
        interval95={name: wilson_interval(value, n) for name, value in found.items()},
        gap=0.02,
        seconds=1.0,
        worst_case=f"worst case over PGD-20, {attack}; 8px linf",
    )


def made(runs, evaluations, records=None, **more):
    content = ReportContent("", "today", CLASSES, runs, evaluations, dataset="CIFAR-10", **more)
    return with_pooled_results(content, records)


def answers(content):
    return {answer.question: answer for answer in opening_of(content).answers}


def pair(clean, robust, **more):
    """IAAT of these accuracies against PGD-AT of 80 and 45 %, one seed each, unpaired."""
    runs = [run("pgd_at"), run("iaat", passes=5.5)]
    return made(runs, [evaluation(0, 0.80, 0.45, **more), evaluation(1, clean, robust, **more)])


def test_a_gain_in_both_says_by_how_much_and_at_what_cost():
    found = answers(pair(0.90, 0.55))
    assert found["price"].sentence == "Clean accuracy is 90.0 %, 10.0 points above PGD-AT."
    assert (
        found["gain"].sentence
        == "Robust accuracy is 55.0 %, 10.0 points above PGD-AT, for 0.5 times the training passes."
    )
    assert (found["price"].outcome, found["gain"].outcome) == ("better", "better")
    assert "PGD-AT: 45.0 %; difference +10.0 points, 95 % interval +5.6 to +14.3" in found["gain"].detail
    assert found["gain"].detail.startswith("worst case over PGD-20, AutoAttack; 8px linf")


def test_a_difference_inside_the_intervals_is_a_tie_and_a_loss_is_a_loss():
    found = answers(pair(0.81, 0.35))
    assert found["price"].sentence == "Clean accuracy is 81.0 %, a tie with PGD-AT."
    assert found["price"].outcome == "tie"
    assert found["gain"].sentence.startswith("Robust accuracy is 35.0 %, 10.0 points below PGD-AT")
    assert found["gain"].outcome == "worse"


def records(is_robust):
    by = np.where(is_robust, "none", "pgd-20")
    n = len(by)
    label = np.zeros(n, dtype=np.int64)
    return SampleRecords(np.arange(n), label, label, np.where(is_robust, -1, 1), by, np.zeros(n))


def test_the_same_samples_are_paired_which_finds_what_intervals_alone_do_not():
    runs, rows = [run("pgd_at"), run("iaat")], [evaluation(0, 1.0, 0.45), evaluation(1, 1.0, 0.47)]
    assert answers(made(runs, rows))["gain"].outcome == "tie"
    robust = np.arange(N) < 450
    more = robust | (np.arange(N) >= 980)
    found = answers(made(runs, rows, {0: records(robust), 1: records(more)}))
    assert found["gain"].outcome == "better"
    assert "paired over 1,000 samples" in found["gain"].detail


@pytest.mark.parametrize(("second", "outcome"), [(0.552, "better"), (0.47, "tie")])
def test_seeds_are_pooled_and_their_spread_decides(second, outcome):
    runs = [run(method, seed) for method in ("pgd_at", "iaat") for seed in (0, 1)]
    rows = [evaluation(place, 0.8, robust) for place, robust in enumerate([0.45, 0.451, 0.55, second])]
    found = answers(made(runs, rows))["gain"]
    assert found.outcome == outcome
    assert "over 2 seeds" in found.detail


def test_natural_training_is_the_price_beside_the_baseline():
    runs = [run("natural"), run("pgd_at"), run("iaat")]
    found = answers(made(runs, [evaluation(0, 0.95, 0.0), evaluation(1, 0.80, 0.45), evaluation(2, 0.86, 0.45)]))
    assert found["price"].sentence == (
        "Clean accuracy is 86.0 %, 6.0 points above PGD-AT, 9.0 points below natural training."
    )
    ties = answers(made(runs, [evaluation(0, 0.87, 0.0), evaluation(1, 0.85, 0.45), evaluation(2, 0.86, 0.45)]))
    assert ties["price"].sentence == "Clean accuracy is 86.0 %, a tie with PGD-AT and with natural training."
    alone = answers(made([runs[0], runs[2]], [evaluation(0, 0.95, 0.0), evaluation(1, 0.86, 0.45)]))
    assert alone["gain"].sentence.startswith("Robust accuracy is 45.0 %, 45.0 points above natural training")


def test_the_best_uniform_radius_is_the_most_robust_that_costs_no_more_clean_accuracy():
    radii = ["8px", "4px", "2px", "8px"]
    runs = [*(run("pgd_at", name=f"uniform-{radius} seed 0") for radius in radii[:3]), run("iaat")]
    rows = [evaluation(0, 0.70, 0.48), evaluation(1, 0.86, 0.42), evaluation(2, 0.90, 0.30), evaluation(3, 0.86, 0.42)]
    content = made(runs, rows, differences=[("method.radius", radii)])
    assert answers(content)["gain"].sentence.startswith("Robust accuracy is 42.0 %, a tie with uniform-4px")


def test_one_run_alone_says_its_figures_and_asks_for_more():
    content = made([run("iaat")], [evaluation(0, 0.86, 0.45)])
    found = answers(content)
    assert found["price"].sentence == "IAAT classifies 86.0 % of clean test images correctly."
    assert found["gain"].sentence == "Robust accuracy is 45.0 %, with nothing to compare it with."
    seeds, baseline = opening_of(content).steps
    assert seeds.command == "iaat train runs/small-iaat-seed0/recipe.yaml --seed 1 --out runs/small-iaat-seed1"
    assert "--method pgd_at" in baseline.command


def test_commands_have_what_a_run_needs():
    overrides = ["--data.root=pets"]
    runs = [run("iaat", modules=["my_net", "my_data"]), run("pgd_at", modules=["my_net"])]
    rows = [evaluation(0, 0.86, 0.45, "screening"), evaluation(1, 0.8, 0.45, "screening")]
    opening = opening_of(made(runs, rows, overrides=overrides))
    needed = " --data.root=pets --trust my_net --trust my_data"
    assert opening.answers[-1].command.endswith(f"--suite standard{needed}")
    assert opening.steps[0].command.endswith(f"--out runs/small-iaat-seed1{needed}")


def test_a_run_with_objects_is_trained_and_evaluated_in_python():
    content = made(
        [run("iaat", of_objects=True)], [evaluation(0, 0.86, 0.45, "screening")], overrides=["--data.root=x"]
    )
    opening = opening_of(content)
    assert opening.answers[-1].command == "run.evaluate(suite='standard')  # run = iaat.fit(...) as before"
    assert [step.command for step in opening.steps] == [
        "iaat.fit(..., seed=1, out='runs/small-iaat-seed1')  # the other arguments as before",
        "iaat.fit(..., method='pgd_at', out='runs/small-iaat-seed0-pgd-at')  # the other arguments as before",
    ]
    given = {"method.class_weights": [1, 2], "out": "b"}
    assert training_command(content, content.runs[0], given) == (
        "iaat.fit(..., out='b', settings={'method.class_weights': [1, 2]})  # the other arguments as before"
    )
    assert "suite='full'" in evaluation_command(content, [0], "standard", suspicious=True)


def test_where_the_data_lies_does_not_take_back_what_a_command_sets():
    overrides = ["--data.root=pets", "--data.relabel=old.csv"]
    content = replace(rich(pictures=False), overrides=overrides)
    commands = [step.command for step in opening_of(content).steps]
    (command,) = [command for command in commands if "--data.relabel relabel.csv" in command]
    assert command.endswith("-relabelled --data.root=pets")
    assert all(other.endswith("--data.root=pets --data.relabel=old.csv") for other in commands if other != command)


def test_a_second_round_of_review_keeps_the_corrections_of_the_first():
    content = rich(pictures=False)
    again = replace(content, gallery=replace(content.gallery, relabel="first.csv"))
    (step,) = [step for step in opening_of(again).steps if "--data.relabel" in step.command]
    assert step.sentence.endswith(
        "save relabel.csv, and put its rows below those of first.csv in a new file, both.csv."
    )
    assert "--data.relabel both.csv " in step.command
    (step,) = [step for step in opening_of(content).steps if "--data.relabel" in step.command]
    assert step.sentence.endswith("save relabel.csv, and train on it.")


def test_a_run_without_an_evaluation_says_how_to_get_one():
    content = made([run("iaat")], [])
    (answer,) = opening_of(content).answers
    assert answer.sentence == "No accuracy yet: IAAT has not been evaluated."
    assert answer.command == "iaat evaluate runs/small-iaat-seed0 --suite standard"


def test_no_runs_have_no_opening():
    content = made([], [])
    assert opening_of(content) is None
    assert report_title(content) == "No runs on CIFAR-10"


def test_screening_alone_is_not_to_be_quoted_and_the_command_names_both_recipes():
    found = answers(pair(0.86, 0.45, attack="screening", text=UNCHECKED))["quote"]
    assert found.sentence == "Not to be quoted yet: screening is not AutoAttack."
    assert found.command == "iaat evaluate runs/small-iaat-seed0 runs/small-pgd-at-seed0 --suite standard"


def test_autoattack_without_a_sign_of_masking_may_be_quoted():
    found = answers(pair(0.86, 0.45))["quote"]
    assert found.sentence == "It may be quoted, as a result of 1 seed."
    assert found.detail == "AutoAttack on 1,000 test images, 1 seed; no sign of masking"
    assert found.command is None
    runs = [run("iaat", seed) for seed in range(3)]
    three = answers(made(runs, [evaluation(place, 0.86, 0.45) for place in range(3)]))["quote"]
    assert three.sentence == "It may be quoted, with its interval."


def test_autoattack_without_checks_for_masking_is_not_to_be_quoted():
    found = answers(pair(0.86, 0.45, text=UNCHECKED))["quote"]
    assert found.outcome == "open"
    assert "--suspicious" in found.command


def test_too_few_samples_to_look_for_masking_are_not_to_be_quoted():
    for text in (f"{TOO_FEW}: 20 of 60 are correct", f"{WORST_CASE}: pgd-gap; {TOO_FEW}: 20 of 60 are correct"):
        found = answers(pair(0.86, 0.45, text=text))["quote"]
        assert found.outcome == "open"
        assert found.sentence.startswith("Not to be quoted yet: too few test images")
        assert "20 of 60 are correct" in found.detail
        assert found.command == "iaat evaluate runs/small-iaat-seed0 runs/small-pgd-at-seed0 --suite standard"


def test_a_serious_finding_forbids_it():
    finding = {
        "name": "black-box-wins",
        "evidence": "Square succeeds where PGD does not.",
        "advice": "Report the black-box figure.",
        "serious": True,
        "weak_attack": False,
    }
    text = "do not trust PGD here: black-box-wins"
    found = answers(pair(0.86, 0.45, text=text, findings=[finding]))["quote"]
    assert found.outcome == "serious"
    assert found.sentence == "Do not quote it: the attacks do not measure this model."
    assert found.detail == "black-box-wins: Report the black-box figure."


def test_the_suite_with_autoattack_is_the_one_spoken_of():
    runs = [run("pgd_at"), run("iaat")]
    rows = [evaluation(place, 0.8, 0.5, attack) for place in (0, 1) for attack in ("screening", "AutoAttack")]
    assert focus_row(made(runs, rows)).suite == "AutoAttack 8px linf"


def test_the_title_counts_runs_and_seeds():
    runs = [run(method, seed) for method in ("natural", "pgd_at", "iaat") for seed in (0, 1)]
    assert report_title(made(runs, [])) == "IAAT against PGD-AT on CIFAR-10: 6 runs, 2 seeds"
    assert report_title(made(runs[-1:], [])) == "IAAT on CIFAR-10: seed 1"
    own = [run("my_package.my_file:Mine"), run("natural")]
    assert report_title(made(own, [])) == "Mine against natural training on CIFAR-10: 2 runs, 1 seed"


def test_at_most_three_next_steps_and_none_repeats_the_command_of_the_quotation():
    content = pair(0.86, 0.45, attack="screening", text=UNCHECKED)
    classes = [
        ClassAccuracy(n, 500, 0.9, (0.87, 0.92), robust, wilson_interval(robust, 500))
        for n, robust in ((0, 0.2), (1, 0.7))
    ]
    attacked = UnderAttack("", "", [ClassResults(1, 1, classes, [])])
    opening = opening_of(replace(content, under_attack=attacked))
    assert [step.sentence.split(":")[0] for step in opening.steps] == [
        "1 seed shows no spread",
        "The mean radius is 5.5 px",
        "Class cat is the weakest under attack, 20.0 % against 45.0 % of all",
    ]
    assert opening.steps[1].command == (
        "iaat train runs/small-pgd-at-seed0/recipe.yaml --method.radius 5.5px --out runs/small-pgd-at-seed0-5.5px"
    )
    assert "--method.class_weights '[2,1]'" in opening.steps[2].command
    assert opening.answers[-1].command not in [step.command for step in opening.steps]


def test_a_difference_over_fewer_seeds_than_the_accuracy_says_which():
    runs = [*(run("iaat", seed) for seed in range(3)), run("pgd_at", 0)]
    rows = [evaluation(place, 0.86, robust) for place, robust in enumerate((0.52, 0.42, 0.41))] + [
        evaluation(3, 0.86, 0.46)
    ]
    found = answers(made(runs, rows))
    assert found["gain"].sentence.startswith(
        "Robust accuracy is 45.0 %, and on seed 0, which both have, 6.0 points above"
    )
    assert found["quote"].sentence == "It may be quoted, as a result of 1 seed."
    both = answers(made([*runs[:1], runs[3]], [rows[0], evaluation(1, 0.86, 0.46)]))
    assert "which both have" not in both["gain"].sentence


def test_one_more_seed_is_first_one_that_the_other_recipe_has():
    runs = [run("iaat", 0), *(run("pgd_at", seed) for seed in (0, 2, 5))]
    content = made(runs, [evaluation(place, 0.86, 0.45) for place in range(4)])
    (step,) = [step for step in opening_of(content).steps if "train one more" in step.sentence]
    assert "--seed 2 " in step.command
    alone = made(runs[:1], [evaluation(0, 0.86, 0.45)])
    (step,) = [step for step in opening_of(alone).steps if "train one more" in step.sentence]
    assert "--seed 1 " in step.command


def test_figures_of_recipes_without_a_common_seed_fit_the_difference():
    runs = [*(run("iaat", seed) for seed in (1, 2, 3)), run("pgd_at", 0)]
    rows = [evaluation(place, 0.86, robust) for place, robust in enumerate((0.40, 0.50, 0.52, 0.45))]
    found = answers(made(runs, rows))
    assert found["gain"].sentence.startswith("Robust accuracy is 47.3 %, a tie with PGD-AT")
    assert "difference +2.3 points" in found["gain"].detail
    assert found["quote"].sentence == "It may be quoted, as a result of 1 seed."


def test_figures_on_samples_that_chose_the_epoch_are_not_to_be_quoted():
    noted = {"name": "validation-samples", "evidence": "", "advice": "Quote figures on test data.", "serious": False}
    for attack in ("AutoAttack", "screening"):
        found = answers(made([run("iaat")], [evaluation(0, 0.86, 0.45, attack, findings=[noted])]))["quote"]
        assert (found.outcome, found.sentence) == ("open", "Not to be quoted: these images have chosen the epoch.")
        assert found.command.startswith("run.evaluate(test_data, ")


def test_the_cost_of_training_is_of_all_epochs():
    runs = [run("pgd_at", epochs=30, forwards=6.0, backwards=6.0), run("iaat", epochs=60, forwards=5.2, backwards=5.2)]
    found = answers(made(runs, [evaluation(0, 0.80, 0.45), evaluation(1, 0.90, 0.55)]))
    assert found["gain"].sentence.endswith("for 1.7 times the training passes.")


def test_the_same_seed_again_is_no_further_seed():
    runs = [replace(run("iaat"), name=f"small-iaat seed 0 #{number}") for number in range(3)]
    content = made(runs, [evaluation(place, 0.86, 0.45) for place in range(3)])
    assert [recipe.runs for recipe in content.recipes] == [[0], [1], [2]]
    assert answers(content)["quote"].sentence == "It may be quoted, as a result of 1 seed."


def test_seeds_are_pooled_by_one_checkpoint():
    """The best checkpoint of one seed is not averaged with the last of two others."""
    runs = [run("iaat", seed) for seed in range(3)]
    rows = [
        evaluation(0, 0.80, 0.50),
        *(replace(evaluation(place, 0.86, 0.40), checkpoint="last") for place in (0, 1, 2)),
    ]
    (row,) = made(runs, rows).pooled
    assert (row.checkpoint, row.evaluations, row.clean.mean) == ("last", [1, 2, 3], pytest.approx(0.86))


def test_other_rounding_and_a_distrusted_baseline_are_not_to_be_quoted():
    noted = {"name": "autoattack-arithmetic", "evidence": "layers in bfloat16", "advice": "", "serious": False}
    found = answers(made([run("iaat")], [evaluation(0, 0.86, 0.45, findings=[noted])]))["quote"]
    assert (found.outcome, found.sentence) == ("open", "Not to be quoted as AutoAttack's: it ran with other rounding.")
    serious = {"name": "zero-gradients", "evidence": "", "advice": "Mend it.", "serious": True}
    runs, rows = [run("iaat"), run("pgd_at")], [evaluation(0, 0.86, 0.45), evaluation(1, 0.8, 0.51, findings=[serious])]
    found = answers(made(runs, rows))["quote"]
    assert found.sentence == "Not to be quoted as a comparison: the attacks do not measure PGD-AT."
    few = {"name": "autoattack-classes", "evidence": "2 classes", "advice": "", "serious": False}
    found = answers(made([run("iaat")], [evaluation(0, 0.86, 0.45, findings=[few])]))["quote"]
    assert found.detail.endswith("; 2 classes")


def test_the_mean_radius_in_l2_is_no_length_in_pixels():
    runs = [run("iaat", norm="l2", curves={"radius_mean": [0.01, 0.0216]}), run("pgd_at", norm="l2")]
    content = made(runs, [evaluation(0, 0.86, 0.45), evaluation(1, 0.80, 0.45)])
    (step,) = [step for step in opening_of(content).steps if "mean radius" in step.sentence]
    assert step.sentence.startswith("The mean radius is 0.0216: train PGD-AT at it")
    assert "--method.radius 0.0216 " in step.command


def test_a_mean_radius_in_one_norm_is_not_proposed_to_a_run_in_the_other():
    runs = [run("iaat", norm="l2"), run("pgd_at")]
    content = made(runs, [evaluation(0, 0.86, 0.45), evaluation(1, 0.80, 0.45)])
    assert not [step for step in opening_of(content).steps if "mean radius" in step.sentence]


def test_a_control_at_the_radii_of_a_table_is_no_uniform_radius():
    runs = [run("iaat"), run("pgd_at"), run("pgd_at", given_radii=True, name="small-shuffled seed 0")]
    content = made(runs, [evaluation(0, 0.86, 0.48), evaluation(1, 0.80, 0.45), evaluation(2, 0.86, 0.50)])
    assert [recipe.uniform for recipe in content.recipes] == [False, True, False]
    assert content.recipes[opening_of(content).against].name == "small-pgd-at"
    assert report_title(content).startswith("IAAT against small-pgd-at on CIFAR-10")
    assert uniform_recipes(content, content.pooled) == []
    (control,) = [row for row in content.pooled if row.recipe == 2]
    assert content.recipes[control.against].name == "small-pgd-at"
    (step,) = [step for step in opening_of(content).steps if "mean radius" in step.sentence]
    assert "runs/small-pgd-at-seed0/recipe.yaml" in step.command
    without = made([runs[0], runs[2]], [evaluation(0, 0.86, 0.48), evaluation(1, 0.86, 0.50)])
    assert opening_of(without).against is None
    assert [step.sentence.split(":")[0] for step in opening_of(without).steps][1:] == [
        "Nothing is compared with one radius for all images"
    ]
    alone = opening_of(made(runs[2:], [evaluation(0, 0.86, 0.50)]))
    assert " --method pgd_at --method.radii null --method.shuffle_radii false " in alone.steps[1].command


def test_one_radius_for_all_is_proposed_without_labels_softened_by_the_radius():
    """With them it would be refused."""
    soft = ["--method.soft_labels", "0.5", "--method.soft_by_radius", "true", "--train.ema", "0.9"]
    with pytest.raises(UserError, match=r"method\.soft_by_radius = true: all samples"):
        load_recipe("quickstart", [*soft, "--method", "pgd_at"])
    content = made([run("iaat", softens_by_radius=True)], [evaluation(0, 0.86, 0.48)])
    (step,) = [step for step in opening_of(content).steps if "one radius for all" in step.sentence]
    words = shlex.split(step.command)
    load_recipe("quickstart", [*soft, *words[words.index("--method") : words.index("--out")]])


def test_the_mean_radius_is_that_of_the_attacks_and_not_that_of_the_memory():
    """With `method.spread` they differ."""
    curves = {"radius_mean": [20.0, 24.0], "trained_radius": [8.0, 7.9]}
    runs = [run("iaat", curves=curves), run("pgd_at", curves={"trained_radius": [8.0, 8.0]})]
    content = made(runs, [evaluation(0, 0.86, 0.45), evaluation(1, 0.80, 0.45)])
    (step,) = [step for step in opening_of(content).steps if "mean radius" in step.sentence]
    assert "--method.radius 7.9px " in step.command
    fixed = made(
        [run("trades", curves={"trained_radius": [8.0]}), runs[1]], [evaluation(0, 0.8, 0.4), evaluation(1, 0.8, 0.4)]
    )
    assert not [step for step in opening_of(fixed).steps if "mean radius" in step.sentence]


def test_a_run_that_weighs_classes_is_not_asked_to_weigh_the_weakest_by_2():
    content = made([run("iaat")], [evaluation(0, 0.86, 0.45)])
    classes = [
        ClassAccuracy(n, 500, 0.9, (0.87, 0.92), robust, wilson_interval(robust, 500))
        for n, robust in ((0, 0.2), (1, 0.7))
    ]
    content = replace(content, under_attack=UnderAttack("", "", [ClassResults(0, 1, classes, [])]))
    assert "--method.class_weights" in opening_of(content).steps[-1].command
    weighed = replace(content, runs=[run("iaat", weighs_classes=True)])
    assert not [step for step in opening_of(weighed).steps if "class_weights" in step.command]


def test_the_baseline_of_natural_training_has_the_radius_of_its_evaluation():
    natural, row = run("natural", evaluated_at=("8px", "linf")), evaluation(0, 0.95, 0.0)

    def baseline(content):
        (step,) = [step for step in opening_of(content).steps if "--method pgd_at" in step.command]
        return step.command.partition("--method pgd_at ")[2].partition("--out ")[0].strip()

    assert baseline(made([natural], [])) == "--method.radius 8px --method.norm linf"
    same = baseline(made([natural], [replace(row, radius="8px", norm="linf")]))
    assert same == "--method.radius 8px --method.norm linf"
    # What the recipe says of evaluations would refuse training in another norm.
    other = baseline(made([natural], [replace(row, radius="0.5", norm="l2")]))
    assert other == "--method.radius 0.5 --method.norm l2 --evaluate.radius 0.5 --evaluate.norm l2"
    assert baseline(made([run("trades")], [])) == ""
