"""Review of suspects in a real browser: decisions, keys, what is kept, and the table that training reads."""

from dataclasses import replace
from pathlib import Path

import pytest

from helpers.browser import box, resized, saved, severe, wait
from helpers.report_content import rich
from iaat.data.decisions_file import read_decisions

pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

CARD = "#review .card"


@pytest.fixture(scope="module")
def content():
    """With extra images of the indices from 40,500 on, suspects among them, and two classes of one name."""
    content = rich()
    gallery = replace(content.gallery, extra_from=40_500)
    first, second = suspects_of(gallery)[:2]
    one, other = gallery.label[first], gallery.suggested[second]
    assert one != other
    shared = [content.classes[one] if number == other else name for number, name in enumerate(content.classes)]
    return replace(content, gallery=gallery, classes=shared)


def written(content, number):
    """A class as `data.relabel` takes it: of those that share a name the number."""
    name = content.classes[number]
    return str(number) if content.classes.count(name) > 1 else name


def suspects_of(gallery, kind="label"):
    """Places of the suspects that can be relabelled, the most suspect first."""
    places = [k for k, own in enumerate(gallery.kind) if own == kind and gallery.index[k] < gallery.extra_from]
    return sorted(places, key=gallery.rank.__getitem__)


def loaded(browser):
    browser.get("about:blank")
    browser.get(browser.home)
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, CARD))


@pytest.fixture
def page(browser):
    """The page as it is opened for the first time."""
    loaded(browser)
    browser.execute_script("localStorage.clear()")
    loaded(browser)
    return browser


def status(browser):
    return browser.find_element(By.CSS_SELECTOR, "#review [role=status]").text


def card(browser):
    return browser.find_element(By.CSS_SELECTOR, CARD)


def place(browser):
    return int(card(browser).get_attribute("data-place"))


def named(browser, text):
    return next(each for each in browser.find_elements(By.CSS_SELECTOR, "#review button") if each.text == text)


def click(browser, text):
    browser.execute_script("arguments[0].click()", named(browser, text))


def test_the_first_card_is_the_most_suspect_with_its_classes_rank_and_neighbours(page, content):
    gallery, first = content.gallery, suspects_of(content.gallery)[0]
    shown = card(page)
    assert place(page) == first
    title = shown.find_element(By.TAG_NAME, "h4").text
    assert content.classes[gallery.label[first]][:10] in title
    assert content.classes[gallery.suggested[first]][:10] in title
    assert f"rank {gallery.rank[first]} of 45,000" in shown.text
    assert shown.find_element(By.CSS_SELECTOR, ".card-picture .sprite").is_displayed()
    own, other = shown.find_elements(By.CSS_SELECTOR, ".near")
    near = gallery.neighbours
    for side, rows in ((own, near.own), (other, near.other)):
        names = [each.get_attribute("title") for each in side.find_elements(By.CSS_SELECTOR, "[role=img]")]
        assert names == [f"Image {near.index[at]}" for at in rows[near.of.index(first)]]
        assert (
            side.find_element(By.CSS_SELECTOR, ".sprite").value_of_css_property("background-image").startswith("url(")
        )


def test_extra_images_have_no_card_and_no_row(page, content, downloads):
    gallery = content.gallery
    extra = [k for k, kind in enumerate(gallery.kind) if kind and gallery.index[k] >= gallery.extra_from]
    labels = [k for k in extra if gallery.kind[k] == "label"]
    assert labels
    assert f"{len(extra)} suspects are extra images" in page.find_element(By.ID, "suspects").text
    for k in labels:
        page.execute_script(
            """const { folder, name, seconds } = arguments[0];
            const key = `iaat review ${JSON.stringify([arguments[1], folder, name, arguments[2], seconds])}`;
            const found = JSON.parse(localStorage.getItem(key) ?? "{}");
            found[arguments[3]] = { decision: "keep", label: arguments[4], to: "" };
            localStorage.setItem(key, JSON.stringify(found));""",
            {key: getattr(content.runs[gallery.run], key) for key in ("folder", "name", "seconds")},
            *(content.dataset, gallery.total, gallery.index[k], content.classes[gallery.label[k]]),
        )
    loaded(page)
    assert status(page).startswith(f"0 of {len(suspects_of(gallery))} reviewed")
    click(page, "Keep")
    name, rows = saved(page, downloads, named(page, "Download relabel.csv"))
    (downloads / name).unlink()  # the next table has the same name
    assert [int(row[0]) for row in rows[1:]] == [gallery.index[suspects_of(gallery)[0]]]


def test_keys_decide_undo_and_go_on(page, content):
    places = suspects_of(content.gallery)
    count = len(places)
    documented = page.find_element(By.CSS_SELECTOR, "#review > p").text
    assert all(f"{key} " in documented for key in "KRUZ")
    assert status(page).startswith(f"0 of {count} reviewed")
    page.execute_script("arguments[0].focus()", card(page))
    for key, at in (("k", 1), ("r", 2), ("u", 3)):
        page.switch_to.active_element.send_keys(key)
        assert place(page) == places[at]
    assert status(page) == f"3 of {count} reviewed: 1 kept, 1 relabelled, 1 unsure"
    assert page.find_element(By.CSS_SELECTOR, "#review progress").get_property("value") == 3
    page.switch_to.active_element.send_keys("z")
    assert place(page) == places[2]
    assert status(page) == f"2 of {count} reviewed: 1 kept, 1 relabelled, 0 unsure"
    page.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert place(page) == places[1]
    assert "Decided: relabelled as" in card(page).text
    page.switch_to.active_element.send_keys("k")
    assert status(page) == f"2 of {count} reviewed: 2 kept, 0 relabelled, 0 unsure"
    # What has been decided is passed over.
    assert place(page) == places[2]
    click(page, "Undo")
    assert status(page) == f"2 of {count} reviewed: 1 kept, 1 relabelled, 0 unsure"


def test_the_table_is_what_training_reads(page, content, downloads):
    gallery, places = content.gallery, suspects_of(content.gallery)
    click(page, "Keep")
    click(page, "Relabel as")
    select = Select(card(page).find_element(By.TAG_NAME, "select"))
    other = next(k for k in range(10) if k not in (gallery.label[places[2]], gallery.suggested[places[2]]))
    select.select_by_value(str(other))
    click(page, "Relabel as")
    click(page, "Unsure")
    name, rows = saved(page, downloads, named(page, "Download relabel.csv"))
    assert name.startswith("relabel")
    assert rows[0] == ["index", "path", "label", "new_label", "decision"]
    found = read_decisions(Path(downloads) / name)
    assert [int(each.index) for each in found] == [gallery.index[k] for k in places[:4]]
    assert [each.decision for each in found] == ["keep", "relabel", "relabel", "unsure"]
    bare = [each.new_label.removeprefix("'") for each in found]
    assert bare == ["", written(content, gallery.suggested[places[1]]), written(content, other), ""]
    assert bare[1] == str(gallery.suggested[places[1]])
    assert [each.label.removeprefix("'") for each in found] == [written(content, gallery.label[k]) for k in places[:4]]
    assert [each.path.removeprefix("'") for each in found] == [gallery.path[k] for k in places[:4]]


def test_a_decision_for_one_of_two_classes_of_one_name_is_read_back(page, content):
    gallery, places = content.gallery, suspects_of(content.gallery)
    to = gallery.suggested[places[1]]
    click(page, "Keep")
    click(page, "Relabel as")
    loaded(page)
    assert status(page).startswith(f"2 of {len(places)} reviewed: 1 kept, 1 relabelled")
    click(page, "Next")
    text = f"Decided: relabelled as {content.classes[to]} ({to})"
    assert card(page).find_element(By.CSS_SELECTOR, ".outcome").get_property("textContent") == text
    assert Select(card(page).find_element(By.TAG_NAME, "select")).first_selected_option.get_attribute("value") == str(
        to
    )


def test_decisions_outlive_the_page_but_not_their_label(page, content):
    places = suspects_of(content.gallery)
    click(page, "Keep")
    click(page, "Unsure")
    loaded(page)
    assert status(page).startswith(f"2 of {len(places)} reviewed: 1 kept")
    change = """const key = Object.keys(localStorage).find((name) => name.startsWith("iaat review"));
      const found = JSON.parse(localStorage[key]);
      Object.values(found)[0].label = "another";
      localStorage[key] = JSON.stringify(found)"""
    page.execute_script(change)
    loaded(page)
    assert status(page).startswith(f"1 of {len(places)} reviewed")
    page.execute_script("for (const key of Object.keys(localStorage)) localStorage[key] = '[{'")
    loaded(page)
    assert status(page).startswith(f"0 of {len(places)} reviewed")


def test_keys_work_on_a_card_in_view_before_anything_is_focused(page, content):
    page.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", card(page))
    assert page.switch_to.active_element.tag_name == "body"
    ActionChains(page).send_keys("k").perform()
    assert "1 kept" in status(page)
    page.execute_script("document.activeElement.blur(); scrollTo({top: 0, behavior: 'instant'})")
    ActionChains(page).send_keys("k").perform()
    assert "1 kept" in status(page)


KEY = "const key = Object.keys(localStorage).find((name) => name.startsWith('iaat review'));"


def test_decisions_of_another_page_of_the_run_stay(page, content):
    click(page, "Keep")
    page.execute_script(
        KEY
        + """const found = JSON.parse(localStorage[key]);
      found[987654] = { decision: "unsure", label: "x", to: "" };
      localStorage[key] = JSON.stringify(found)"""
    )
    click(page, "Unsure")
    click(page, "Undo")
    kept = page.execute_script(KEY + "return JSON.parse(localStorage[key])")
    assert sorted(each["decision"] for each in kept.values()) == ["keep", "unsure"]
    assert "987654" in kept


def test_forged_decisions_are_left_out(page, content):
    click(page, "Keep")
    for forged in (
        {"decision": "constructor", "to": ""},
        {"decision": "relabel", "to": "no class"},
        {"decision": "relabel", "to": {"x": 1}},
        {"decision": "keep", "to": "<b>"},
    ):
        page.execute_script(
            KEY
            + """const found = JSON.parse(localStorage[key]);
          for (const each of Object.values(found)) Object.assign(each, arguments[0]);
          localStorage[key] = JSON.stringify(found)""",
            forged,
        )
        loaded(page)
        assert status(page).startswith("0 of")
    for text in ("null", "7", "[]"):
        page.execute_script(KEY + "localStorage[key] = arguments[0]", text)
        loaded(page)
        click(page, "Keep")
        assert "1 kept" in status(page)
        assert not severe(page)


def test_a_browser_that_keeps_nothing_says_so_and_goes_on(page, content):
    refuse = (
        "for (const name of ['getItem', 'setItem']) Storage.prototype[name] = () => { throw new Error('refused'); };"
    )
    script = page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": refuse})
    try:
        loaded(page)
        assert not page.find_elements(By.CSS_SELECTOR, "#suspects .error")
        click(page, "Keep")
        assert status(page).startswith("1 of")
        assert "download relabel.csv before you close it" in page.find_element(By.CSS_SELECTOR, "#review .note").text
    finally:
        page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": script["identifier"]})


def test_a_grid_of_cards_each_with_its_own_keys(page, content):
    places = suspects_of(content.gallery)
    click(page, "Grid")
    cards = page.find_elements(By.CSS_SELECTOR, CARD)
    assert [int(each.get_attribute("data-place")) for each in cards] == places[:12]
    page.execute_script("arguments[0].focus()", cards[5])
    page.switch_to.active_element.send_keys("u")
    fifth = page.find_elements(By.CSS_SELECTOR, CARD)[5]
    assert fifth.get_attribute("data-decision") == "unsure"
    assert int(page.switch_to.active_element.get_attribute("data-place")) == places[6]
    click(page, "Next")
    assert int(card(page).get_attribute("data-place")) == places[12]
    click(page, "One at a time")
    assert len(page.find_elements(By.CSS_SELECTOR, CARD)) == 1


def test_ambiguous_images_need_a_class_before_they_are_relabelled(page, content):
    gallery = content.gallery
    Select(page.find_element(By.CSS_SELECTOR, "#review .controls select")).select_by_value("ambiguous")
    first = next(k for k in suspects_of(gallery, "ambiguous") if gallery.suggested[k] < 0)
    while place(page) != first:
        click(page, "Next")
    assert not named(page, "Relabel as").is_enabled()
    page.execute_script("arguments[0].focus()", card(page))
    page.switch_to.active_element.send_keys("r")
    assert status(page) == "Choose a new label first."
    Select(card(page).find_element(By.TAG_NAME, "select")).select_by_value(str((gallery.label[first] + 1) % 10))
    click(page, "Relabel as")
    assert "1 relabelled" in status(page)


def test_buttons_have_names_keys_and_room_on_a_phone(page):
    assert [
        named(page, text).get_attribute("aria-keyshortcuts") for text in ("Keep", "Relabel as", "Unsure", "Undo")
    ] == [*("K", "R", "U", "Z")]
    assert "Not decided" in card(page).get_attribute("aria-label")
    try:
        resized(page, 390)
        wait(page, lambda: page.execute_script("return document.documentElement.scrollWidth") <= 390)
        for layout in ("Grid", "One at a time"):
            for text in ("Keep", "Relabel as", "Unsure"):
                area = box(page, named(page, text))
                assert 0 <= area["left"] < area["right"] <= 390
                assert area["height"] >= 44
            click(page, layout)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_what_is_withheld_and_what_was_measured_is_said_with_and_without_scripts(page, content):
    for off in (False, True):
        try:
            page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": off})
            page.get(page.home)
            said = page.find_element(By.ID, "suspects").text
            assert all(note in said for note in content.gallery.notes)
        finally:
            page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_nothing_of_the_review_fails_or_becomes_code(page):
    for text in ("Keep", "Relabel as", "Grid", "Undo"):
        click(page, text)
    assert not severe(page)
    assert page.execute_script("return window.alerts") == []
