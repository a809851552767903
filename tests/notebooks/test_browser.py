"""A learner's way through a lesson, in a real browser: JupyterLab opens it, runs it, and a prediction answers a click.

The browser is Debian's chromium, or where there is no such package the one that playwright fetched (`make browser`).
Screenshots stay in build/screenshots.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from minidocker.course.lessons import NOTEBOOKS, lesson

CHROMIUM = "/usr/bin/chromium" if os.path.exists("/usr/bin/chromium") else None  # None: playwright's own
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
SHOTS = NOTEBOOKS.parent / "build" / "screenshots"
FIRST = lesson("00")
SECONDS = 1000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_setting(folder: Path, plugin: str, values: dict[str, object]) -> None:
    path = folder / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(values))


@pytest.fixture
def lab_url(tmp_path: Path) -> Iterator[str]:
    """JupyterLab on loopback over a copy of the notebooks, with settings and runtime files of its own."""
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks", ignore=shutil.ignore_patterns("source", "kept", ".*"))
    write_setting(tmp_path, "notebook-extension/tracker", {"windowingMode": "none"})  # else cells outside the window are not in the page
    write_setting(tmp_path, "apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False})  # no internet here
    runtime = tempfile.TemporaryDirectory(prefix="lab")  # a short path: a socket's name ends at 107 bytes
    token, port = secrets.token_hex(16), free_port()
    environment = os.environ | {
        "JUPYTER_TOKEN": token,
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_RUNTIME_DIR": runtime.name,
        "MINIDOCKER_LAB": os.environ["MINIDOCKER_TEST"],
    }
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        str(tmp_path / "notebooks"),
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
    ]
    command += ["--no-browser", "--allow-root", "--KernelManager.transport=ipc"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert server.stderr is not None
    log = ""
    for line in server.stderr:
        log += line
        if "is running at" in line:
            break
    else:
        pytest.fail(f"JupyterLab did not start:\n{log}")
    drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}/lab/tree/{FIRST.notebook.name}?token={token}"
    server.send_signal(signal.SIGTERM)
    server.wait(20)
    drain.wait(20)
    server.stderr.close()
    runtime.cleanup()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        made = browser.new_page(viewport={"width": 1300, "height": 1000})
        made.set_default_timeout(60 * SECONDS)
        expect.set_options(timeout=60 * SECONDS)
        yield made
        made.screenshot(path=SHOTS / "00_last.png")
        browser.close()


def cells_with(page: Page, text: str) -> Locator:
    return page.locator(".jp-CodeCell").filter(has_text=text)


@pytest.mark.timeout(180)
def test_a_learner_opens_the_first_lesson_and_runs_it(lab_url: str, page: Page):
    errors: list[Any] = []
    page.on("pageerror", lambda error: errors.append(error))
    SHOTS.mkdir(parents=True, exist_ok=True)

    page.goto(lab_url)
    expect(page.locator(".jp-Notebook h1").first).to_contain_text("00 ·")
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
    page.screenshot(path=SHOTS / "00_opened.png")

    # Clear first, so that what appears afterwards is this run's and not the committed output.
    run_from_menu(page, "Edit", "Clear Outputs of All Cells")
    expect(page.locator(".jp-OutputArea-output")).to_have_count(0)
    run_from_menu(page, "Run", "Run All Cells")
    expect(page.locator(".jp-CodeCell").last).to_contain_text("lesson 00 ended: nothing left behind")
    expect(page.locator(".jp-RenderedImage img").first).to_be_visible()

    question = page.locator(".lab-question").first
    choice = question.locator("details").first
    expect(choice.locator("p")).to_be_hidden()
    choice.locator("summary").click()
    expect(choice.locator("p")).to_be_visible()
    choice.locator("summary").press("Enter")
    expect(choice.locator("p")).to_be_hidden()
    choice.locator("summary").press("Enter")
    question.scroll_into_view_if_needed()
    page.screenshot(path=SHOTS / "00_prediction.png")

    solution = page.locator(".jp-MarkdownCell details").filter(has_text="Solution").first
    expect(solution.locator("pre")).to_be_hidden()
    solution.locator("summary").click()
    expect(solution.locator("pre")).to_be_visible()
    solution.scroll_into_view_if_needed()
    page.screenshot(path=SHOTS / "00_exercise.png")
    assert errors == []


def run_from_menu(page: Page, menu: str, entry: str) -> None:
    page.locator(".lm-MenuBar-itemLabel").get_by_text(menu, exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text(entry, exact=True).click()
