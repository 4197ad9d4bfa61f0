"""The wall in a real browser where its radii have 8 bits."""

from functools import partial

import numpy as np
import pytest

from helpers.browser import wait
from helpers.report_content import rich
from iaat.report.wall import pack_wall

pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By


@pytest.fixture(scope="module")
def content():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("helpers.report_content.pack_wall", partial(pack_wall, budget=10_000))
        return rich()


@pytest.mark.parametrize(("start", "end"), [(-0.36, -0.2), (-0.3, -0.1), (-0.25, 0.1), (-0.2, 0.05)])
def test_a_box_chooses_all_images_of_its_radii_in_the_gallery_too(browser, content, start, end):
    assert content.wall.bits == 8
    browser.get("about:blank")
    browser.get(browser.home)
    canvas = wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#wall canvas"))[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    wait(browser, lambda: int(canvas.get_attribute("data-points") or 0) > 0)
    width, height = canvas.size["width"], canvas.size["height"]
    actions = ActionChains(browser, duration=50)
    actions.move_to_element_with_offset(canvas, start * width, -0.48 * height).click_and_hold()
    actions.move_by_offset((end - start) * width, 0.9 * height).release().perform()
    wait(browser, lambda: "low=" in browser.current_url)
    low, high = (float(browser.find_element(By.NAME, name).get_attribute("value")) for name in ("low", "high"))
    step = content.wall.step
    rounded = np.rint(np.array(content.gallery.radius) / step) * step
    chosen = int(browser.find_element(By.CSS_SELECTOR, "#gallery .count").text.split()[0])
    # Ends have two digits, so that radii a hundredth beyond are chosen, too.
    assert 0 <= chosen - ((low <= rounded) & (rounded <= high)).sum() <= 1
