"""A browser for the tests of the page, which give the fixture `content`."""

import pytest


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(content, downloads, tmp_path_factory):
    from helpers.browser import opened  # skips where there is no selenium

    yield from opened(content, downloads, tmp_path_factory.mktemp("browser"))
