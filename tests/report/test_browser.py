"""The page in a real browser, offline: what it shows, what it asks for, and that no name of the user's becomes code."""

import base64
import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.browser import box, media, resized, saved, severe, wait
from helpers.report_content import CLASSES, FORMULA, HOSTILE_PATH, MARKUP, minimal, rich
from iaat.report.detail_pictures import attacked_uri
from iaat.report.page import write_page
from iaat.report.wall import sentence_of

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
from selenium.webdriver import ActionChains, Keys  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def content():
    return rich()


@pytest.fixture
def page(browser):
    """The page with no filter set and no dialog open."""
    if not browser.current_url.startswith(browser.home):
        browser.get(browser.home)
        wait(browser, lambda: thumbs(browser))
    browser.execute_script("document.getElementById('detail').close()")
    wait(browser, lambda: "image=" not in browser.current_url)
    browser.execute_script("document.getElementById('filters').reset()")
    wait(browser, lambda: count(browser) == 300)
    return browser


def count(browser):
    return int(browser.find_element(By.CSS_SELECTOR, "#gallery .count").text.split()[0])


def thumbs(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#gallery .thumb")


def choose(browser, name, value):
    Select(browser.find_element(By.NAME, name)).select_by_value(str(value))


def dialog(browser):
    return browser.find_element(By.ID, "detail")


def focused(browser):
    return browser.switch_to.active_element.get_attribute("aria-label")


def wall(browser):
    """The canvas of the wall, drawn, with all images in view."""
    canvas = browser.find_element(By.CSS_SELECTOR, "#wall canvas")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    wait(browser, lambda: sum(in_view(browser)) > 0)
    browser.execute_script(
        "[...document.querySelectorAll('#wall button')].find((one) => one.textContent === 'Fit').click()"
    )
    wait(browser, lambda: sum(in_view(browser)) == 450)
    return canvas


def in_view(browser):
    """Points and thumbnails that the wall has drawn."""
    canvas = browser.find_element(By.CSS_SELECTOR, "#wall canvas")
    return [int(canvas.get_attribute(f"data-{name}") or 0) for name in ("points", "thumbnails")]


def open_address(browser, query):
    browser.get("about:blank")
    browser.get(f"{browser.home}#{query}")
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#gallery .count"))


def drag_over(browser, start, end):
    """Drag over the histogram of the gallery, between fractions of its width."""
    area = browser.find_element(By.CSS_SELECTOR, "#gallery .nsewdrag")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
    width = area.size["width"]
    actions = ActionChains(browser, duration=50)
    actions.move_to_element_with_offset(area, (start - 0.5) * width, 0).click_and_hold()
    actions.move_by_offset((end - start) / 2 * width, 5).move_by_offset(
        (end - start) / 2 * width, 5
    ).release().perform()


def test_every_section_is_drawn(page):
    for section in ("tradeoff", "radii", "gallery", "surfaces", "corruptions", "training"):
        figures = page.find_elements(By.CSS_SELECTOR, f"#{section} figure.chart:not([hidden])")
        assert figures
        for figure in figures:
            page.execute_script("arguments[0].scrollIntoView()", figure)
            wait(page, lambda figure=figure: figure.find_elements(By.CSS_SELECTOR, ".main-svg"))
            assert len(figure.find_element(By.CSS_SELECTOR, ".alt").text) > 20
            assert "undefined" not in figure.text
            assert "NaN" not in figure.text
    assert not page.find_elements(By.CSS_SELECTOR, ".error")


def test_charts_are_drawn_when_they_come_near(browser):
    page = browser
    page.get(page.home)
    wait(page, lambda: count(page) == 300)
    drawn = "return ['.plot', '.main-svg'].map((name) => document.querySelectorAll(name).length)"
    charts, drawings = page.execute_script(drawn)
    assert charts > 10
    assert drawings == 0
    assert not page.execute_script("return 'Plotly' in window")
    assert len(page.find_element(By.CSS_SELECTOR, "#training figure .alt").text) > 20
    page.execute_script("document.querySelector('#training figure').scrollIntoView()")
    wait(page, lambda: page.find_elements(By.CSS_SELECTOR, "#training .main-svg"))
    assert not page.find_elements(By.CSS_SELECTOR, "#tradeoff .main-svg")


def test_what_is_hidden_is_not_shown(page):
    shown = """return [...document.querySelectorAll("[hidden]")].filter((node) => node.offsetParent !== null).length"""
    choose(page, "kind", "label")
    assert page.find_element(By.CSS_SELECTOR, "#gallery .pager").get_attribute("hidden")
    assert page.execute_script(shown) == 0


def test_the_page_is_no_wider_than_the_window(page):
    try:
        for width in (360, 420, 800, 1600):
            metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            wait(page, lambda width=width: page.execute_script("return document.documentElement.scrollWidth") <= width)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_first_sentences_are_in_view(page, content):
    page.execute_script("scrollTo(0, 0)")
    try:
        resized(page, 1024, 768)
        found = page.find_elements(By.CSS_SELECTOR, ".answer > p:first-child bdi")
        assert [each.text for each in found] == [answer.sentence for answer in content.opening.answers]
        assert len(found) == 3
        assert all(0 < box(page, each)["bottom"] < 600 and box(page, each)["right"] <= 1024 for each in found)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_pooled_row_unfolds_into_its_evaluations(page):
    (first, *_) = page.find_elements(By.CSS_SELECTOR, "#verdicts tbody")
    members = first.find_elements(By.CSS_SELECTOR, "tr.member")
    assert len(members) == 2
    assert not any(row.is_displayed() for row in members)
    summary = first.find_element(By.TAG_NAME, "summary")
    page.execute_script("arguments[0].click()", summary)
    wait(page, lambda: all(row.is_displayed() for row in members))
    page.execute_script("arguments[0].click()", summary)


def test_accuracies_are_in_view_on_a_phone(page):
    try:
        resized(page, 390)
        for label in ("Clean", "autoattack"):
            cell = page.find_element(By.CSS_SELECTOR, f'#verdicts tbody tr:first-child td[data-label="{label}"]')
            assert cell.is_displayed()
            assert 0 <= box(page, cell)["left"] < box(page, cell)["right"] <= 390
            assert re.match(r"[\d.]+", cell.text)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_first_column_stays_where_a_table_is_scrolled(page):
    try:
        resized(page, 700)
        table = page.find_element(By.ID, "verdicts")
        name = table.find_element(By.CSS_SELECTOR, "tbody th")
        before = box(page, name)["left"]
        page.execute_script("arguments[0].parentNode.scrollLeft = 200", table)
        assert page.execute_script("return arguments[0].parentNode.scrollLeft", table) > 50
        assert box(page, name)["left"] == pytest.approx(before, abs=1)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_class_leads_to_its_attacked_images(page, content):
    images = content.under_attack.images
    link = page.find_element(By.CSS_SELECTOR, '#classes a[href="#attacked-3"]')
    page.execute_script("arguments[0].click()", link)
    shown = page.find_element(By.ID, "attacked-3").find_elements(By.TAG_NAME, "li")
    wait(page, lambda: all(each.is_displayed() for each in shown))
    assert len(shown) == images.label.count(3)
    place = images.label.index(3)
    assert f"#{images.index[place]}" in shown[0].text
    sprite = shown[0].find_element(By.CSS_SELECTOR, ".sprite")
    assert sprite.value_of_css_property("background-image").startswith('url("data:image')


def test_a_confusion_leads_to_its_attacked_images(page, content):
    images = content.under_attack.images
    place = images.label.index(3)
    to = images.adversarial[place]
    link = page.find_element(By.CSS_SELECTOR, f'#confusion a[href="#attacked-3-{to}"]')
    page.execute_script("arguments[0].click()", link)
    items = page.find_element(By.ID, "attacked-3").find_elements(By.TAG_NAME, "li")
    pairs = [images.adversarial[k] == to for k in range(len(images.label)) if images.label[k] == 3]
    wait(page, lambda: [each.is_displayed() for each in items] == pairs)
    folded = page.find_element(By.ID, "attacked-3").find_element(By.XPATH, "..")
    assert f"The {sum(pairs)} predicted as {content.classes[to]}." in folded.text
    page.execute_script("arguments[0].click()", folded.find_element(By.TAG_NAME, "button"))
    assert all(each.is_displayed() for each in items)
    linked = {one.get_attribute("href").split("#")[1] for one in page.find_elements(By.CSS_SELECTOR, "#confusion a")}
    shown = {f"attacked-{label}-{other}" for label, other in zip(images.label, images.adversarial, strict=True)}
    assert linked == shown & {f"attacked-{label}-{other}" for label, other, _ in confusion(content)}


def confusion(content):
    return content.under_attack.results[0].confusion


def test_without_scripts_tables_suspects_and_attacked_images_are_there(page, content):
    try:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        page.get(page.home)
        assert content.opening.answers[0].sentence in page.find_element(By.ID, "opening").text
        assert page.find_element(By.CSS_SELECTOR, "#verdicts td.number strong").is_displayed()
        assert page.find_elements(By.CSS_SELECTOR, "#suspects tbody tr")
        summary = page.find_element(By.CSS_SELECTOR, "details.attacked summary")
        summary.click()
        assert page.find_element(By.CSS_SELECTOR, "details.attacked .sprite").is_displayed()
        attacked = page.find_elements(By.CSS_SELECTOR, ".attacked-details li")
        assert len(attacked) == len(content.gallery.details)
        assert "Attacked within 3.00 px: robust, " in attacked[0].text
        assert sentence_of(content.wall, 0, content.classes) in attacked[0].text
        assert attacked[0].find_element(By.TAG_NAME, "img").get_property("naturalWidth") == 32
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        page.get(page.home)


def test_filters(page, content):
    gallery = content.gallery
    assert len(thumbs(page)) == 120
    choose(page, "label", 3)
    assert count(page) == sum(label == 3 for label in gallery.label)
    choose(page, "outcome", "misclassified")
    both = [k for k in range(300) if gallery.label[k] == 3 != gallery.prediction[k]]
    assert count(page) == len(both)
    assert {thumb.get_attribute("aria-label").split(":")[0] for thumb in thumbs(page)} == {
        f"Image {gallery.index[k]}" for k in both
    }
    assert f"{len(both)} of 300" in page.find_element(By.CSS_SELECTOR, "#gallery .alt").text
    choose(page, "label", "")
    choose(page, "outcome", "")
    choose(page, "kind", "label")
    assert count(page) == gallery.kind.count("label")
    assert all("suspected of a label error" in thumb.get_attribute("aria-label") for thumb in thumbs(page))


def test_orders(page, content):
    gallery = content.gallery

    def first():
        return int(thumbs(page)[0].get_attribute("aria-label").split(":")[0].removeprefix("Image "))

    keys = {"smallest": gallery.radius, "largest": [-radius for radius in gallery.radius], "index": gallery.index}
    for order, key in keys.items():
        choose(page, "sort", order)
        assert first() == gallery.index[key.index(min(key))]
    choose(page, "sort", "suspicion")
    assert gallery.rank[gallery.index.index(first())] == 1


def test_a_range_of_radii(page, content):
    page.find_element(By.NAME, "low").send_keys("2")
    page.find_element(By.NAME, "high").send_keys("4.5")
    assert count(page) == sum(2 <= radius <= 4.5 for radius in content.gallery.radius)


def test_brushing_the_histogram_chooses_images(page, content):
    drag_over(page, 0.25, 0.5)
    wait(page, lambda: count(page) < 300)
    low, high = (float(page.find_element(By.NAME, name).get_attribute("value")) for name in ("low", "high"))
    most = max(content.gallery.radius)
    box = "return document.querySelector('#gallery .selectionlayer path').getBBox().height"
    plot = "return document.querySelector('#gallery .nsewdrag').getBBox().height"
    # As high as the chart, not a line.
    assert page.execute_script(box) == pytest.approx(page.execute_script(plot), rel=0.1)
    assert low == pytest.approx(0.25 * most, abs=0.5)
    assert high == pytest.approx(0.5 * most, abs=0.5)
    assert count(page) == sum(low <= radius <= high for radius in content.gallery.radius)
    page.find_element(By.CSS_SELECTOR, "#filters [type=reset]").click()
    wait(page, lambda: count(page) == 300)


def test_the_wall_draws_every_image(page):
    wall(page)
    points, _ = in_view(page)
    assert points >= 146  # outside the gallery, but for four neighbours
    note = page.find_element(By.CSS_SELECTOR, "#wall-keys").text
    assert "Enter opens" in note
    assert f"{points} points" in page.find_element(By.ID, "wall").text
    assert "146 of all 450 have no thumbnail" in page.find_element(By.ID, "wall").text


def test_keys_zoom_and_move_the_wall_and_open_an_image(page):
    canvas = wall(page)
    page.execute_script("arguments[0].focus()", canvas)
    canvas.send_keys("+++++")
    wait(page, lambda: in_view(page)[1] > 0 and sum(in_view(page)) < 450)
    canvas.send_keys(Keys.ARROW_RIGHT)
    status = page.find_element(By.CSS_SELECTOR, "#wall .visually-hidden")
    first = status.get_attribute("textContent")
    canvas.send_keys(Keys.ARROW_DOWN)
    assert first.startswith("Image ")
    assert status.get_attribute("textContent") != first
    canvas.send_keys(Keys.ENTER)
    assert (
        dialog(page).find_element(By.TAG_NAME, "h2").text.startswith(status.get_attribute("textContent").split(":")[0])
    )
    page.execute_script("document.getElementById('detail').close()")
    canvas.send_keys("0")
    wait(page, lambda: sum(in_view(page)) == 450)


def test_a_box_on_the_wall_chooses_for_gallery_and_radii(page, content):
    canvas = wall(page)
    size = canvas.size
    actions = ActionChains(page, duration=50)
    actions.move_to_element_with_offset(canvas, -0.3 * size["width"], -0.45 * size["height"]).click_and_hold()
    actions.move_by_offset(60, 40).move_by_offset(0.2 * size["width"], 0.3 * size["height"]).release().perform()
    wait(page, lambda: count(page) < 300)
    low, high = (float(page.find_element(By.NAME, name).get_attribute("value")) for name in ("low", "high"))
    labels = set(map(int, page.find_element(By.NAME, "label").get_attribute("value").split(",")))
    gallery = content.gallery
    kept = [k for k in range(300) if gallery.label[k] in labels and low <= gallery.radius[k] <= high]
    assert len(labels) > 1
    assert count(page) == len(kept)
    page.execute_script("document.querySelector('#radii').scrollIntoView()")
    assert "are chosen by the filters" in page.find_element(By.CSS_SELECTOR, "#radii .alt").text
    assert f"low={low:g}" in page.current_url
    page.back()
    wait(page, lambda: count(page) == 300)


def test_one_epoch_for_wall_and_radii(page):
    wall(page)
    slider = page.find_element(By.CSS_SELECTOR, "#wall input[type=range]")
    slider.send_keys(Keys.HOME)
    assert page.find_element(By.CSS_SELECTOR, "#wall output").text == "after epoch 1"
    assert page.find_element(By.CSS_SELECTOR, "#radii output").text == "after epoch 1"
    assert "epoch=1" in page.current_url
    wait(page, lambda: sum(in_view(page)) == 450)
    slider.send_keys(Keys.END)
    assert "epoch" not in page.current_url


def test_the_wheel_zooms_where_the_pointer_is(page):
    canvas = wall(page)
    turn = (
        "const [canvas, held] = arguments; const {left, top} = canvas.getBoundingClientRect();"
        "return canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: -120, ctrlKey: held, cancelable: true,"
        " bubbles: true, clientX: left + 200, clientY: top + 60}))"
    )
    page.execute_script("document.activeElement.blur()")
    assert page.execute_script(turn, canvas, False), "the wheel scrolls the page while the wall has no focus"
    assert sum(in_view(page)) == 450
    assert not page.execute_script(turn, canvas, True)
    wait(page, lambda: sum(in_view(page)) < 450)


def test_two_fingers_zoom_the_wall(page):
    canvas = wall(page)
    middle = page.execute_script(
        "const {x, y, width, height} = arguments[0].getBoundingClientRect(); return [x + width / 2, y + height / 2]",
        canvas,
    )

    def touch(kind, *apart):
        points = [
            {"x": middle[0] + side * each, "y": middle[1], "id": k} for each in apart for k, side in enumerate((-1, 1))
        ]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 40)
    for apart in range(50, 170, 10):
        touch("touchMove", apart)
    touch("touchEnd")
    wait(page, lambda: 0 < sum(in_view(page)) < 450)
    assert count(page) == 300, "two fingers choose nothing"
    assert not dialog(page).is_displayed()


def test_play_goes_through_the_epochs_once(page):
    wall(page)
    button = next(one for one in page.find_elements(By.CSS_SELECTOR, "#wall button") if one.text == "Play")
    seen = page.execute_async_script(
        "const [button, done] = arguments; const output = document.querySelector('#wall output'); const seen = [];"
        "new MutationObserver(() => { if (seen.at(-1) !== output.textContent) seen.push(output.textContent);"
        " if (output.textContent === 'after epoch 20') setTimeout(() => done(seen), 300); })"
        ".observe(output, {childList: true}); button.click();",
        button,
    )
    assert seen == [f"after epoch {epoch}" for epoch in range(1, 21)]
    assert button.text == "Play"


def test_no_more_thumbnails_are_drawn_than_the_limit(browser, content, tmp_path):
    file = tmp_path / "few.html"
    write_page(content, file)
    text = file.read_text(encoding="utf-8")
    limit = "const mostThumbnails = 3000;"
    assert text.count(limit) == 1
    file.write_text(text.replace(limit, "const mostThumbnails = 30;"), encoding="utf-8")
    try:
        browser.get(file.as_uri())
        (canvas,) = wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#wall canvas"))
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", canvas)
        wait(browser, lambda: sum(in_view(browser)) == 450)
        drawn = set()
        for _ in range(6):
            canvas.send_keys("+")
            time.sleep(0.3)
            drawn.add(in_view(browser)[1])
        assert max(drawn) == 30, drawn
    finally:
        browser.get(browser.home)


def test_the_address_restores_filters_epoch_and_image(page, content):
    gallery = content.gallery
    open_address(page, f"gallery?label=3&low=1.5&sort=largest&epoch=4&image={gallery.index[7]}")
    assert count(page) == sum(gallery.label[k] == 3 and gallery.radius[k] >= 1.5 for k in range(300))
    assert dialog(page).find_element(By.TAG_NAME, "h2").text.startswith(f"Image {gallery.index[7]}")
    assert page.find_element(By.CSS_SELECTOR, "#wall output").get_attribute("textContent") == "after epoch 4"
    assert page.find_element(By.NAME, "sort").get_attribute("value") == "largest"
    page.refresh()
    wait(page, lambda: dialog(page).is_displayed())
    page.execute_script("document.getElementById('detail').close()")
    wait(page, lambda: "image=" not in page.current_url)
    assert count(page) == sum(gallery.label[k] == 3 and gallery.radius[k] >= 1.5 for k in range(300))


def test_an_opened_image_is_one_step_in_the_history(page, content):
    """Back closes it; closing it leaves no step behind; forward opens it again."""
    index = content.gallery.index
    choose(page, "label", 3)
    steps, address = page.execute_script("return history.length"), page.current_url
    page.execute_script("arguments[0].click()", thumbs(page)[0])
    assert page.execute_script("return history.length") == steps + 1
    ActionChains(page).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT).perform()
    assert page.execute_script("return history.length") == steps + 1
    page.back()
    wait(page, lambda: not dialog(page).is_displayed())
    assert page.current_url == address
    page.forward()
    wait(page, lambda: dialog(page).is_displayed())
    assert "image=" in page.current_url
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    wait(page, lambda: page.current_url == address)
    page.back()  # to before the filter, not to the image
    wait(page, lambda: count(page) == 300)
    assert not dialog(page).is_displayed()
    # One that the address opened has nothing to go back to.
    open_address(page, f"gallery?image={index[2]}")
    page.execute_script("document.getElementById('detail').close()")
    wait(page, lambda: page.current_url.endswith("#gallery"))


def test_a_neighbour_opens_its_own_detail(page, content):
    gallery = content.gallery
    page.execute_script("arguments[0].click()", thumbs(page)[0])
    steps, title = page.execute_script("return history.length"), dialog(page).find_element(By.TAG_NAME, "h2")
    near = dialog(page).find_elements(By.CSS_SELECTOR, "button.picture")
    assert [each.get_attribute("ariaLabel").split(":")[0] for each in near] == [
        f"Open image {number}" for number in [*gallery.index[10:14], *range(45000, 45004)]
    ]
    assert len(dialog(page).find_elements(By.CSS_SELECTOR, "button.picture .sprite")) == 8
    page.execute_script("arguments[0].click()", near[7])  # in no gallery, and with a thumbnail
    title = dialog(page).find_element(By.TAG_NAME, "h2")
    assert title.text == f"Image 45003 neighbour of image {gallery.index[0]}"
    assert dialog(page).find_elements(By.CSS_SELECTOR, ".big .sprite")
    assert dialog(page).find_element(By.CSS_SELECTOR, ".reason").text
    assert page.execute_script("return history.length") == steps + 1
    (back,) = [each for each in dialog(page).find_elements(By.TAG_NAME, "button") if "←" in each.text]
    assert back.text == f"← Image {gallery.index[0]}"
    back.click()
    wait(page, lambda: dialog(page).get_attribute("data-image") == str(gallery.index[0]))
    page.forward()
    wait(page, lambda: dialog(page).get_attribute("data-image") == "45003")
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    wait(page, lambda: "image=" not in page.current_url)
    assert not dialog(page).is_displayed()


def frame_of(page):
    """The frame that is drawn, what the slider says, and the widths of the bars."""
    canvas, slider = (dialog(page).find_element(By.CSS_SELECTOR, name) for name in (".frames canvas", "[type=range]"))
    wait(page, lambda: canvas.get_attribute("data-frame") == slider.get_attribute("value"))
    bars = page.execute_script(
        "return [...document.querySelectorAll('#detail .bar-fill')].map((bar) => parseFloat(bar.style.width))"
    )
    return int(slider.get_attribute("value")), slider.get_attribute("aria-valuetext"), bars


def pixels_of(page, place):
    """The bytes `[H, W, 3]` of a canvas of the attack: the attacked image or its perturbation."""
    values = page.execute_script(
        "const canvas = document.querySelectorAll('#detail .frames canvas')[arguments[0]];"
        "return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]",
        place,
    )
    return np.array(values).reshape(32, 32, 4)[:, :, :3]


def decoded(uri):
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_the_slider_moves_picture_perturbation_and_probabilities(page, content):
    detail = content.gallery.details["0"]
    frames = detail["frames"]
    page.execute_script("arguments[0].click()", thumbs(page)[0])
    at, words, bars = frame_of(page)
    assert at == detail["own_at"] == 2
    assert words.startswith("3.00 px: robust, ")
    slider = dialog(page).find_element(By.CSS_SELECTOR, "[type=range]")
    assert slider.accessible_name == "Radius of the attack (px)"
    for key, place in ((Keys.ARROW_RIGHT, 3), (Keys.END, 9), (Keys.HOME, 0), (Keys.ARROW_RIGHT, 1)):
        slider.send_keys(key)
        at, words, bars = frame_of(page)
        frame = frames[place]
        assert at == place
        outcome = "misclassified as" if frame["succeeded"] else "robust, " if place else "correct, "
        assert words.startswith(f"{frame['radius']:.2f} px: {outcome}")
        probabilities = dict(zip(frame["reading"]["classes"], frame["reading"]["probabilities"], strict=True))
        assert bars[0] == pytest.approx(100 * probabilities[detail["label"]], abs=0.01)
        assert bars[1] == pytest.approx(100 * probabilities[detail["confused"]], abs=0.01)
        assert np.array_equal(pixels_of(page, 0), decoded(attacked_uri(detail, place)))
        captions = [each.text for each in dialog(page).find_elements(By.CSS_SELECTOR, ".frames figcaption")]
        if place:
            # White and black are the largest change, so that nothing is cut off.
            assert f"white is +{frame['radius']:.2f} px" in captions[1]
            assert (pixels_of(page, 1).min(), pixels_of(page, 1).max()) == (0, 255)
        else:
            assert captions == ["Not attacked", "No perturbation"]
    assert dialog(page).get_attribute("data-image") == str(content.gallery.index[0])  # arrows moved the slider alone


def test_marks_of_the_slider(page):
    page.execute_script("arguments[0].click()", thumbs(page)[0])
    shown = dialog(page)
    jumps = shown.find_elements(By.CSS_SELECTOR, ".attack button")
    assert [each.text for each in jumps] == [
        "○ own radius, 3.00 px",
        "◆ the evaluation's radius, 8.00 px",
        "✗ smallest radius at which it succeeds, 4.00 px",
    ]
    for jump, place, sign in zip(jumps, (2, 5, 3), "○◆✗", strict=True):
        page.execute_script("arguments[0].click()", jump)
        assert frame_of(page)[0] == place
        ticks = shown.find_elements(By.CSS_SELECTOR, ".ticks b")
        assert [n for n, tick in enumerate(ticks) if sign in tick.get_attribute("textContent")] == [place]


def test_without_motion_the_bars_jump(page):
    look = "return getComputedStyle(document.querySelector('#detail .bar-fill')).transitionDuration"
    page.execute_script("arguments[0].click()", thumbs(page)[0])
    assert page.execute_script(look) == "0.12s"
    try:
        features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert page.execute_script(look) == "0s"
    finally:
        media(page)


def test_what_an_address_cannot_mean_is_left_out(page):
    open_address(page, "gallery?low=much&sort=__proto__&kind=%3Cimg%3E&image=-4&page=99&epoch=x")
    assert count(page) == 300
    assert "Page 3 of 3" in page.find_element(By.CSS_SELECTOR, ".pager").text
    open_address(page, "gallery?run=77&page=-3&at=1.5")
    assert "Page 1 of 3" in page.find_element(By.CSS_SELECTOR, ".pager").text
    assert not dialog(page).is_displayed()
    assert not page.find_elements(By.CSS_SELECTOR, ".error")
    assert severe(page) == []


def test_links_within_the_page_keep_what_is_chosen(page, content):
    choose(page, "label", 3)
    page.execute_script("document.querySelector('.bar a[href=\"#training\"]').click()")
    assert page.current_url.endswith("#training?label=3")
    assert count(page) == content.gallery.label.count(3)


def test_copy_link(page):
    page.execute_script("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    choose(page, "label", 3)
    page.find_element(By.ID, "copy-link").click()
    wait(page, lambda: page.find_element(By.ID, "copied").text == "Link copied")
    assert page.execute_script("return window.copied") == page.current_url
    assert page.current_url.endswith("?label=3")


def test_without_motion_images_jump(page):
    try:
        features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        wall(page)
        page.execute_script(
            "window.frames_ = 0; const ask = requestAnimationFrame;"
            "window.requestAnimationFrame = (call) => { window.frames_ += 1; return ask(call); }"
        )
        page.find_element(By.CSS_SELECTOR, "#wall input[type=range]").send_keys(Keys.HOME)
        time.sleep(0.7)
        assert page.execute_script("return window.frames_") <= 2
    finally:
        page.get(page.home)
        media(page)


def test_pages_of_the_gallery(page):
    page.execute_script("arguments[0].click()", page.find_elements(By.CSS_SELECTOR, ".pager button")[1])
    assert "Page 2 of 3" in page.find_element(By.CSS_SELECTOR, ".pager").text
    assert len(thumbs(page)) == 120


def test_thumbnails_show_their_part_of_the_sheet(page):
    look = """const style = getComputedStyle(arguments[0]);
        return [style.backgroundImage.slice(0, 15), style.backgroundPosition]"""
    sprites = page.find_elements(By.CSS_SELECTOR, "#gallery .sprite")
    columns = 2048 // 32
    assert page.execute_script(look, sprites[0]) == ['url("data:image', "0px 0px"]
    assert page.execute_script(look, sprites[columns + 1])[1] == "-64px -64px"


def test_detail_by_click(page, content):
    thumb = thumbs(page)[0]
    words = thumb.get_attribute("aria-label")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", thumb)
    thumb.click()
    shown = dialog(page)
    assert shown.is_displayed()
    assert f"Image {content.gallery.index[0]}" in shown.text
    assert HOSTILE_PATH in shown.text
    assert len(shown.find_elements(By.CSS_SELECTOR, ".picture canvas")) == 2 + 3
    assert len(shown.find_elements(By.CSS_SELECTOR, ".picture .sprite")) == 8
    assert len(shown.find_elements(By.CSS_SELECTOR, "figure.chart")) == 2
    drawn = "return [...arguments[0].querySelectorAll('canvas')].every((canvas) => canvas.width === 32)"
    wait(page, lambda: page.execute_script(drawn, shown))
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    wait(page, lambda: not shown.is_displayed())
    assert focused(page) == words


def test_detail_by_keyboard(page, content):
    page.execute_script("arguments[0].focus()", thumbs(page)[0])
    ActionChains(page).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ENTER).perform()
    shown = dialog(page)
    assert shown.is_displayed()
    title = shown.find_element(By.TAG_NAME, "h2")
    assert title.text == f"Image {content.gallery.index[1]} 2 of 300"
    ActionChains(page).send_keys(Keys.ARROW_RIGHT).perform()
    assert title.text == f"Image {content.gallery.index[2]} 3 of 300"
    ActionChains(page).send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT).perform()
    assert title.text == f"Image {content.gallery.index[0]} 1 of 300"
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    wait(page, lambda: not shown.is_displayed())
    assert focused(page).startswith(f"Image {content.gallery.index[1]}:")


@pytest.mark.parametrize("place", [0, 20, 299, 449])
def test_every_image_has_the_sentence_on_its_radius(page, content, place):
    """With details and without, in the gallery and on the wall alone."""
    index = content.gallery.index[place] if place < 300 else 45000 + place - 300
    open_address(page, f"wall?image={index}")
    reason = dialog(page).find_element(By.CSS_SELECTOR, ".reason").get_attribute("textContent")
    assert reason == sentence_of(content.wall, place, content.classes)


def test_an_image_without_details(page, content):
    page.execute_script("arguments[0].click()", thumbs(page)[20])
    shown = dialog(page)
    assert "has no details" in shown.text
    index = content.gallery.index[20]
    assert (
        shown.find_element(By.CSS_SELECTOR, "pre code").text == f"iaat report run-0 -o report.html --details-of {index}"
    )
    assert shown.find_elements(By.CSS_SELECTOR, ".big .sprite")
    assert "Radius over the training" in shown.text
    page.execute_script("document.getElementById('detail').close()")
    open_address(page, "wall?image=45100")  # on the wall alone
    assert "The page has no picture of it." in dialog(page).text
    assert dialog(page).find_element(By.CSS_SELECTOR, "pre code").text.endswith("--details-of 45100")


def test_the_page_says_how_many_have_details(page, content):
    kinds = content.gallery.kind
    words = page.find_element(By.ID, "computed").text
    assert words.startswith("Attacks, smallest adversarial norms and neighbours are computed for 8 of these 300 images")
    assert f"some of the {sum(map(bool, kinds))} suspects first." in words
    assert words.endswith("--details N changes how many.")


def test_suspects_open_their_images(page, content):
    gallery = content.gallery
    places = sorted((k for k in range(300) if gallery.kind[k] == "label"), key=lambda k: gallery.rank[k])
    cell = page.find_element(By.CSS_SELECTOR, "#suspects .cell")
    page.execute_script("arguments[0].focus(); arguments[0].click()", cell)
    assert f"Image {gallery.index[places[0]]} 1 of {len(places)}" in dialog(page).text


def test_pages_of_suspects(page, content):
    ranks = sorted(
        rank for rank, kind in zip(content.gallery.rank, content.gallery.kind, strict=True) if kind == "label"
    )
    assert len(ranks) > 10
    seen = []
    for number in range(-(-len(ranks) // 10)):
        table = page.find_element(By.CSS_SELECTOR, "#suspects table")
        seen += [
            int(row.find_element(By.CSS_SELECTOR, ":nth-child(2)").get_attribute("textContent").replace(",", ""))
            for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")
        ]
        pager = page.find_element(
            By.XPATH,
            "//*[@id='suspects']//h3[starts-with(., 'Suspected')]/following-sibling::*[contains(@class, 'pager')][1]",
        )
        assert f"Page {number + 1} of " in pager.get_attribute("textContent")
        after = pager.find_elements(By.TAG_NAME, "button")[1]
        page.execute_script("arguments[0].focus(); arguments[0].click()", after)
    assert seen == ranks
    assert page.switch_to.active_element.text == "Previous"


def test_the_example_page_is_whole(browser):
    """docs/example.html, as `make example-page` writes it."""
    file = Path(__file__).parents[2] / "docs" / "example.html"
    assert file.stat().st_size < 3e6
    severe(browser)
    try:
        browser.get(file.as_uri())
        wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#gallery .count"))
        assert count(browser) == 1295
        names = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert [name for name in names if not name.startswith(("file:", "data:", "blob:"))] == []
        assert severe(browser) == []
    finally:
        browser.get(browser.home)


def test_suspects_as_csv(page, content, downloads):
    gallery = content.gallery
    name, (head, *rows) = saved(page, downloads, page.find_element(By.CSS_SELECTOR, "#suspects [data-kind=label]"))
    assert name == "suspected-label-errors.csv"
    assert head == ["rank", "index", "path", "label", "suggested", "radius_px"]
    assert len(rows) == gallery.kind.count("label")
    ranks = [rank for rank, kind in zip(gallery.rank, gallery.kind, strict=True) if kind == "label"]
    assert [int(row[0]) for row in rows] == sorted(ranks)
    for row in rows:
        k = gallery.index.index(int(row[1]))
        names = [CLASSES[number] for number in (gallery.label[k], gallery.suggested[k])]
        assert row[3:5] == [f"'{name}" if name == FORMULA else name for name in names]
    assert any(f"'{FORMULA}" in row for row in rows)


def test_data_of_a_chart(page, content, downloads):
    details = page.find_element(By.CSS_SELECTOR, "#tradeoff details")
    page.execute_script("arguments[0].open = true", details)
    wait(page, lambda: details.find_elements(By.TAG_NAME, "table"))
    assert len(details.find_elements(By.CSS_SELECTOR, "tbody tr")) == len(content.evaluations)
    _, (head, *rows) = saved(page, downloads, details.find_element(By.TAG_NAME, "button"))
    assert head[:2] == ["run", "checkpoint"]
    assert [float(row[4]) for row in rows] == [evaluation.clean for evaluation in content.evaluations]


def test_epochs_of_the_histogram(page):
    slider = page.find_element(By.CSS_SELECTOR, "#radii input[type=range]")
    assert "epoch 20" in page.find_element(By.CSS_SELECTOR, "#radii output").text
    slider.send_keys(Keys.HOME)
    assert page.find_element(By.CSS_SELECTOR, "#radii output").text == "after epoch 1"
    assert "After epoch 1 of 20" in page.find_element(By.CSS_SELECTOR, "#radii .alt").text


def test_choosing_a_run_changes_its_charts(page):
    before = page.find_element(By.CSS_SELECTOR, "#radii .alt").text
    Select(page.find_element(By.ID, "radii-run")).select_by_value("2")
    assert page.find_element(By.CSS_SELECTOR, "#radii .alt").text != before


def test_dark_and_light(page):
    look = """const text = document.querySelector("#tradeoff .xtick text");
        return [getComputedStyle(document.body).backgroundColor, getComputedStyle(text).fill]"""
    light = page.execute_script(look)
    toggle = page.find_element(By.ID, "theme")
    toggle.click()
    dark = page.execute_script(look)
    assert dark[0] == "rgb(20, 23, 26)"
    assert light[0] == "rgb(255, 255, 255)"
    assert light[1] != dark[1]
    toggle.click()
    assert page.execute_script(look) == light


@pytest.mark.skipif(not AXE.exists(), reason="make lint-scripts installs npm's packages")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(page, scheme):
    try:
        media(page, scheme=scheme)
        page.execute_script(AXE.read_text(encoding="utf-8"))
        for figure in page.find_elements(By.CSS_SELECTOR, "figure.chart:not([hidden])"):
            page.execute_script("arguments[0].scrollIntoView()", figure)
        found = page.execute_async_script("axe.run().then((results) => arguments[0](results.violations))")
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []
        page.execute_script("arguments[0].click()", thumbs(page)[0])
        found = page.execute_async_script("axe.run('#detail').then((results) => arguments[0](results.violations))")
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []
    finally:
        media(page)


def test_print(page):
    look = """const hidden = (name) => getComputedStyle(document.querySelector(name)).display === "none";
        return [hidden(".bar"), hidden("#filters"), hidden("figure details"), hidden("#verdicts"),
            document.querySelector("#tradeoff .main-svg").getBoundingClientRect().width,
            getComputedStyle(document.querySelector("figure.chart")).breakInside,
            getComputedStyle(document.body).backgroundColor]"""
    try:
        media(page, "print", "dark")
        wait(page, lambda: page.execute_script(look)[4] == 660)
        assert page.execute_script(look) == [True, True, True, False, 660, "avoid", "rgb(255, 255, 255)"]
    finally:
        media(page)
    wait(page, lambda: page.execute_script(look)[4] != 660)


def test_skip_link_is_first(page):
    page.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.execute_script("document.body.tabIndex = -1; document.body.focus()")
    ActionChains(page).send_keys(Keys.TAB).perform()
    assert page.switch_to.active_element.text == "Skip to the content"
    page.switch_to.active_element.send_keys(Keys.ENTER)
    wait(page, lambda: page.execute_script("return document.activeElement.id") == "main")


def test_every_control_has_a_name(page):
    unnamed = """return [...document.querySelectorAll("button, select, input")]
        .filter((control) => !(control.ariaLabel || control.textContent.trim() || control.labels?.length))
        .map((control) => control.outerHTML)"""
    assert page.execute_script(unnamed) == []


def test_names_are_text(page):
    hostile = """return document.querySelectorAll('img[src="x"], [onerror], main script').length"""
    page.execute_script("arguments[0].click()", thumbs(page)[0])
    assert page.execute_script(hostile) == 0
    assert page.execute_script("return window.alerts") == []
    labels = page.execute_script(
        "return [...document.querySelectorAll('#radii .ytick text')].map((t) => t.textContent)"
    )
    assert CLASSES[3] in labels
    assert CLASSES[7] in labels
    assert MARKUP in labels


def test_nothing_was_asked_for_and_nothing_complained(page):
    names = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in names if not name.startswith(("file:", "data:", "blob:"))] == []
    assert severe(page) == []


def test_the_policy_refuses_requests(page):
    assert severe(page) == []
    refused = """const done = arguments[0];
        document.addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective), { once: true });
        fetch("https://example.invalid/").catch(() => null);"""
    assert page.execute_async_script(refused) == "connect-src"
    time.sleep(0.1)
    page.get_log("browser")  # what this test provoked is no other's


def other_page(browser, content, folder):
    write_page(content, folder / "other.html")
    browser.get((folder / "other.html").as_uri())


def test_inputs_that_are_no_pictures(browser, tmp_path):
    page = browser
    other_page(page, rich(count=40, runs=1, pictures=False), tmp_path)
    wait(page, lambda: len(page.find_elements(By.CSS_SELECTOR, "#gallery tbody tr")) == 40)
    page.execute_script("arguments[0].click()", page.find_element(By.CSS_SELECTOR, "#gallery tbody button"))
    assert dialog(page).is_displayed()
    assert not page.find_elements(By.CSS_SELECTOR, ".error")
    assert severe(page) == []


def test_next_to_nothing_to_show(browser, tmp_path):
    page = browser
    other_page(page, minimal(), tmp_path)
    assert page.find_element(By.TAG_NAME, "h1").text == "One run"
    assert not page.find_elements(By.TAG_NAME, "figure")
    assert severe(page) == []
