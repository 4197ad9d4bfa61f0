"""Charts of results in a real browser, of runs that were evaluated in several ways."""

from dataclasses import replace

import pytest

from helpers.browser import wait
from helpers.report_content import rich
from iaat.report.pooled_results import with_pooled_results

pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select


@pytest.fixture(scope="module")
def content():
    """Each run evaluated at two radii, on two numbers of samples, and on corrupted images of two sources."""
    content = rich(count=60)
    half = [replace(part, radius=[r / 2 for r in part.radius], expected=part.expected + 0.1) for part in content.curves]
    others = [
        replace(part, source="synthetic", accuracy={name: [0.9] * 2 for name in part.accuracy}, severities=[3, 5])
        for part in content.corruptions
    ]
    few = [replace(row, n=100, clean=row.clean - 0.5) for row in content.evaluations]
    return with_pooled_results(
        replace(
            content,
            curves=[*content.curves, *half],
            corruptions=[*content.corruptions, *others],
            evaluations=[*content.evaluations, *few],
        )
    )


def drawn(browser, section, number):
    """The data that Plotly has drawn in a chart of a section."""
    plot = browser.find_elements(By.CSS_SELECTOR, f"#{section} .plot")[number]
    browser.execute_script("arguments[0].scrollIntoView()", plot)
    wait(browser, lambda: plot.find_elements(By.CSS_SELECTOR, ".main-svg"))
    return browser.execute_script(
        "return arguments[0].data.map(({ x, y, z, name, showlegend }) => ({ x, y, z, name, showlegend }))", plot
    )


def test_curves_of_two_radii_are_two_charts_of_one_seed_each(browser, content):
    charts = browser.find_elements(By.CSS_SELECTOR, "#tradeoff figure.chart")
    titles = [chart.find_element(By.TAG_NAME, "h3").text for chart in charts]
    assert titles[1:] == [
        f"Accuracy against the radius of the attack, up to {most} px, n = 1000" for most in ("16.00", "8.00")
    ]
    for number in (1, 2):
        assert "seeds" not in charts[number].find_element(By.CSS_SELECTOR, ".alt").text
        lines = drawn(browser, "tradeoff", number)
        parts = content.curves[3 * (number - 1) : 3 * number]
        assert [line["y"] for line in lines] == [pytest.approx([100 * a for a in part.accuracy]) for part in parts]
        assert [line["x"] for line in lines] == [part.radius for part in parts]


def test_corruptions_of_two_sources_are_two_columns(browser, content):
    (cells,) = drawn(browser, "corruptions", 0)
    assert len(cells["z"][0]) == 6
    assert [row[3:] for row in cells["z"]] == [pytest.approx([90] * 3)] * len(cells["z"])
    options = browser.find_elements(By.CSS_SELECTOR, "#corruption-of option")
    assert options[-1].get_attribute("textContent").endswith(", synthetic, severities 3, 5")
    chooser = Select(browser.find_element(By.ID, "corruption-of"))
    chooser.select_by_index(len(options) - 1)
    (cells,) = drawn(browser, "corruptions", 0)
    assert len(cells["z"][0]) == 2
    ticks = browser.execute_script("return document.querySelector('#corruptions .plot').layout.xaxis.ticktext")
    assert ticks == ["severity 3", "severity 5"]
    chooser.select_by_index(0)


def test_the_tradeoff_is_of_one_number_of_samples(browser, content):
    chooser = Select(browser.find_element(By.ID, "tradeoff-suite"))
    assert [option.text for option in chooser.options] == [f"standard 8px linf, n = {n}" for n in (1000, 100)]
    for number, n in enumerate((1000, 100)):
        chooser.select_by_value(str(number))
        points = [trace["x"][0] for trace in drawn(browser, "tradeoff", 0) if trace["name"] and len(trace["x"]) == 1]
        assert points == pytest.approx([100 * row.clean.mean for row in content.pooled if row.n == n])
    chooser.select_by_value("0")
