"""The page in a real browser of a run in L2, where lengths have no pixels, beside runs in L-inf."""

import json
import re

import pytest

from helpers.browser import saved, severe, wait
from helpers.report_content import mixed, only_in_l2
from iaat.report.page import content_json, render

pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

PX = re.compile(r"[0-9] px|\(px\)|_px")
PIXELS_OF_THE_PICTURE = r"white is \+[0-9.]+ px, black \N{MINUS SIGN}[0-9.]+ px"
"""What white and black of a perturbation mean is a change of one pixel, in any norm."""


@pytest.fixture(scope="module")
def content():
    return mixed(count=60)


@pytest.fixture
def page(browser):
    """The page with no filter set."""
    browser.get("about:blank")
    browser.get(browser.home)
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#gallery .thumb"))
    return browser


def spoken(browser, section):
    """All text of a section and what its elements are called, its charts drawn."""
    for plot in browser.find_elements(By.CSS_SELECTOR, f"#{section} .plot"):
        browser.execute_script("arguments[0].scrollIntoView()", plot)
        wait(browser, lambda: plot.find_elements(By.CSS_SELECTOR, ".main-svg"))  # noqa: B023
    script = """
        const of = document.getElementById(arguments[0]);
        const named = [...of.querySelectorAll("[aria-label], [title]")].flatMap((one) => [one.ariaLabel, one.title]);
        const hovers = [...of.querySelectorAll(".plot")].flatMap(({ data }) => (data ?? []).flatMap((trace) =>
            [trace.hovertemplate, JSON.stringify(trace.text)]));
        return [of.textContent, ...named, ...hovers].filter(Boolean).join("\\n");"""
    return browser.execute_script(script, section)


def axes(browser, section):
    """Titles of charts and of their axes."""
    script = """return [...document.querySelectorAll(arguments[0])].map((box) => {
        const { layout } = box.querySelector(".plot");
        return [box.querySelector("h3").textContent, layout?.xaxis.title.text, layout?.yaxis.title.text]; })"""
    return browser.execute_script(script, f"#{section} figure.chart:not([hidden])")


@pytest.mark.parametrize("section", ["radii", "wall", "gallery", "suspects", "surfaces"])
def test_nothing_of_the_run_in_l2_is_in_px(page, section):
    text = spoken(page, section)
    assert not PX.findall(text)
    assert "L2" in text or section in ("wall", "surfaces")
    assert severe(page) == []


def test_charts_of_radii_name_the_unit_of_the_run_that_is_shown(page):
    spoken(page, "radii")
    in_l2 = axes(page, "radii")
    assert [axis for _, *both in in_l2[:4] for axis in both if axis and ("radius" in axis or "norm" in axis)] == [
        *("radius (L2)", "radius (L2)", "radius (L2)", "radius (L2)", "smallest adversarial norm (L2)")
    ]
    alt = page.find_element(By.CSS_SELECTOR, "#radii figure.chart:nth-child(2) .alt").text
    assert re.search(r"from 0\.\d{3} to 0\.\d{3} in 20 epochs", alt)
    Select(page.find_element(By.ID, "radii-run")).select_by_value("2")
    wait(page, lambda: "px" in spoken(page, "radii"))
    assert {axis for _, *both in axes(page, "radii")[:4] for axis in both if axis and "radius" in axis} == {
        "radius (px)"
    }


def test_two_norms_are_not_on_one_axis(page):
    spoken(page, "training")
    means = [(title, y) for title, _, y in axes(page, "training") if "adius" in title]
    assert means == [("Mean radius (L2)", "radius (L2)"), ("Mean radius (px)", "radius (px)")]
    spoken(page, "tradeoff")
    curves = [
        (title.split(", ")[1], x) for title, x, _ in axes(page, "tradeoff") if title.startswith("Accuracy against")
    ]
    assert curves == [("up to 1.000", "radius (L2)"), ("up to 16.00 px", "radius (px)")]


def test_filters_in_l2_have_three_digits(page, content):
    field = page.find_element(By.NAME, "low")
    assert field.accessible_name == "Radius from (L2)"
    assert page.find_element(By.NAME, "high").accessible_name == "to (L2)"
    radii = content.gallery.radius
    assert page.find_element(By.CSS_SELECTOR, "#gallery .thumb span:last-child").text == f"{radii[0]:.3f}"
    area = page.find_element(By.CSS_SELECTOR, "#gallery .plot")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
    area = wait(page, lambda: page.find_elements(By.CSS_SELECTOR, "#gallery .nsewdrag"))[0]
    width = area.size["width"]
    actions = ActionChains(page, duration=50).move_to_element_with_offset(area, -0.2 * width, 0).click_and_hold()
    actions.move_by_offset(0.1 * width, 5).move_by_offset(0.1 * width, 5).release().perform()
    low, high = (
        float(wait(page, lambda: page.find_element(By.NAME, name).get_attribute("value")))  # noqa: B023
        for name in ("low", "high")
    )
    assert low == pytest.approx(0.3 * max(radii), abs=0.02)
    assert (low, high) == (round(low, 3), round(high, 3))
    shown = int(page.find_element(By.CSS_SELECTOR, "#gallery .count").text.split()[0])
    assert shown == sum(low <= radius <= high for radius in radii)
    assert f"radius {low:.3f} to {high:.3f}" in page.find_element(By.CSS_SELECTOR, "#wall .filtered").text


def test_an_image_in_detail_is_attacked_at_radii_in_l2_and_changes_by_pixels(page, content):
    page.execute_script("arguments[0].click()", page.find_element(By.CSS_SELECTOR, "#gallery .thumb"))
    dialog = page.find_element(By.ID, "detail")
    assert dialog.find_element(By.CSS_SELECTOR, "[type=range]").accessible_name == "Radius of the attack (L2)"
    assert [each.text for each in dialog.find_elements(By.CSS_SELECTOR, ".attack button")] == [
        "○ own radius, 0.188",
        "◆ the evaluation's radius, 0.500",
        "✗ smallest radius at which it succeeds, 0.250",
    ]
    ticks = [tick.get_attribute("textContent") for tick in dialog.find_elements(By.CSS_SELECTOR, ".ticks span")]
    assert [tick.strip("○◆✗") for tick in ticks] == [
        *("0", "0.125", "", "0.25", "0.375", "0.5", "0.625", "0.75", "0.875", "1")
    ]
    text = spoken(page, "detail")
    assert not PX.findall(re.sub(PIXELS_OF_THE_PICTURE, "", text))
    assert re.search(PIXELS_OF_THE_PICTURE, text)
    for words in ("Smallest adversarial norm0.212", f"Radius{content.gallery.radius[0]:.3f}", "2.000: "):
        assert words in text


def test_files_name_the_unit(page, downloads):
    button = page.find_element(By.CSS_SELECTOR, "#suspects button[data-kind=label]")
    assert saved(page, downloads, button)[1][0][-1] == "radius_l2"


def test_without_scripts_there_is_no_px_either():
    text = render(only_in_l2(count=60))
    bare = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not PX.findall(bare)
    assert "Attacked within 0.188: robust," in " ".join(bare.split())
    assert "Radius (L2)" in bare


def test_the_content_has_no_field_in_px(content):
    def names(value):
        if isinstance(value, dict):
            return {*value, *(name for each in value.values() for name in names(each))}
        return {name for each in value for name in names(each)} if isinstance(value, list) else set()

    assert not [name for name in names(json.loads(content_json(content))) if name.endswith("_px")]
