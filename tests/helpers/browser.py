"""A page in a headless Chromium, for tests: the browser, and what they ask of it."""

import csv
import io
import shutil

import pytest

from helpers.report_content import TAG
from iaat.report.page import write_page

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def opened(content, downloads, folder):
    """Yield a browser that shows the page of a content, offline; `home` is its address."""
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium and chromedriver are needed on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    file = folder / f"report {TAG.replace('/', '')} #1.html"
    write_page(content, file)
    session = webdriver.Chrome(options=options, service=Service(driver))
    session.set_script_timeout(180)
    try:
        session.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        media(session, scheme="light")
        watch = "window.alerts = []; window.alert = (text) => window.alerts.push(text);"
        session.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": watch})
        session.home = file.as_uri()
        session.get(session.home)
        yield session
    finally:
        session.quit()


def media(browser, kind="", scheme="light"):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": features})


def wait(browser, condition):
    return WebDriverWait(browser, 20, poll_frequency=0.05).until(lambda _: condition())


def severe(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def resized(browser, width, height=800):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wait(browser, lambda: browser.execute_script("return innerWidth") == width)


def box(browser, node):
    return browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", node)


def saved(browser, downloads, button):
    """Rows of the CSV file that a click on a button saves."""
    before = set(downloads.glob("*.csv"))
    browser.execute_script("arguments[0].click()", button)
    (file,) = wait(browser, lambda: set(downloads.glob("*.csv")) - before)
    text = wait(browser, lambda: file.read_text(encoding="utf-8-sig"))
    return file.name, list(csv.reader(io.StringIO(text)))
