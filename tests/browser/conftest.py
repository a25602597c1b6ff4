"""One JupyterLab server and one browser for all tests of this folder."""

import os

import pytest

if not os.environ.get("CI"):  # there, a missing browser is a failure
    pytest.importorskip("playwright", reason="the extra `browser` is not installed")

from lab_page import browser_page, close_kernels, serve


@pytest.fixture(scope="session")
def server():
    """JupyterLab on a copy of the course."""
    with serve() as running:
        yield running


@pytest.fixture(scope="session")
def browser():
    """One page for all tests."""
    with browser_page() as opened:
        yield opened


@pytest.fixture
def page(browser, server):
    """The page; the kernels are ended after each test."""
    yield browser
    close_kernels(server)
