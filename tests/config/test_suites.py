"""Words of a suite become attacks and sections; wrong ones are named."""

import pytest

from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.suites import SUITES, parse_suite
from iaat.errors import UserError
from iaat.evaluate.naming import evaluation_name, pgd_name
from iaat.evaluate.stages import stages_of
from iaat.units import Radius


def test_the_suites_hold_what_they_promise():
    assert parse_suite("quick").attacks == ("pgd", "screening")
    assert parse_suite("standard").attacks == ("pgd", "pgd-50x5", "autoattack")
    assert parse_suite("standard").sections == ("masking",)
    paper = parse_suite("paper")
    assert {"pgd-10x5", "pgd-100x5", "pgd-1000x2", "deepfool", "mi-fgsm", "cw"} <= set(paper.attacks)
    assert (paper.sections, paper.transfer_steps) == (("curve", "corruptions", "radii"), 1000)
    assert set(parse_suite("full").sections) == {"masking", "curve", "corruptions", "radii"}
    assert all(parse_suite(name).attacks[0] == "pgd" for name in SUITES)


def test_suites_attacks_and_sections_join_and_nothing_runs_twice():
    plan = parse_suite("quick+autoattack+curve+pgd-7x3+transfer-25+quick")
    assert plan.attacks == ("pgd", "screening", "autoattack", "pgd-7x3")
    assert (plan.sections, plan.transfer_steps) == (("curve",), 25)
    assert parse_suite("pgd + transfer").transfer_steps == 100


@pytest.mark.parametrize(
    ("suite", "parts"),
    [
        ("standart", ["standart", "did you mean 'standard'"]),
        ("pgd+autoatack", ["autoatack", "did you mean 'autoattack'"]),
        ("", ["''"]),
        ("curve", ["no attack", "pgd+curve"]),
        ("pgd-0", ["pgd-0"]),
        ("pgd-10x0", ["pgd-10x0"]),
    ],
)
def test_unknown_words_are_named(suite, parts):
    with pytest.raises(UserError) as error:
        EvaluateConfig(suite=suite)
    assert all(part in str(error.value) for part in parts)


def test_stages_have_the_names_records_show():
    config = EvaluateConfig(suite="pgd+pgd-50x5+screening+autoattack+mi-fgsm+deepfool+cw")
    names = [stage.name for stage in stages_of(parse_suite(config.suite).attacks, config, classes=10)]
    assert names == [
        *("pgd-20", "pgd-50x5", "screening/apgd-ce", "screening/apgd-t"),
        *("autoattack/apgd-ce", "autoattack/apgd-t", "autoattack/fab-t", "autoattack/square"),
        *("mi-fgsm", "deepfool", "cw"),
    ]
    assert [stage.group for stage in stages_of(("autoattack",), config, classes=10)] == ["autoattack"] * 4


@pytest.mark.parametrize(
    ("classes", "attacks"),
    [
        (2, ["apgd-ce", "fab-t", "square"]),
        (3, ["apgd-ce", "apgd-dlr", "fab-t", "square"]),
        (4, ["apgd-ce", "apgd-t", "fab-t", "square"]),
    ],
)
def test_autoattack_falls_back_under_four_classes(classes, attacks):
    stages = stages_of(("autoattack",), EvaluateConfig(), classes)
    assert [stage.name.partition("/")[2] for stage in stages] == attacks


def test_quick_takes_a_thousand_samples_by_default():
    assert EvaluateConfig().samples == 1000
    assert EvaluateConfig(n=50).samples == 50
    assert EvaluateConfig(suite="standard").samples is None


def test_pgd_is_named_by_its_settings():
    assert pgd_name(EvaluateConfig()) == "pgd-20"
    assert pgd_name(EvaluateConfig(steps=7, restarts=2, radius=Radius("2px"))) == "pgd-7x2"


def test_adding_a_check_to_quick_leaves_its_samples():
    assert EvaluateConfig(suite="quick+masking+transfer").samples == 1000
    assert EvaluateConfig(suite="quick+standard").samples is None
    assert EvaluateConfig(suite="pgd").samples is None


def test_two_numbers_of_transfer_steps_are_refused():
    with pytest.raises(UserError, match="transfer twice"):
        parse_suite("pgd+transfer-5+transfer-10")


def test_the_name_of_an_evaluation_says_only_what_is_run():
    assert evaluation_name(EvaluateConfig(suite="autoattack")) == "autoattack 8px linf"
    assert evaluation_name(EvaluateConfig(suite="standard", steps=7)) == "standard PGD-7 8px linf"
