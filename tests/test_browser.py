"""The notebooks in JupyterLab, worked by keyboard, and the report from disk without a network: in a real browser, Debian's chromium.

Where there is no chromium these tests skip; with DFDC_REQUIRE_BROWSER=1 they fail instead. Screenshots: outputs/test_screenshots/.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from whole_run import FAST

from dfdc_lib.pipeline import runner

pytestmark = [pytest.mark.browser, pytest.mark.notebooks, pytest.mark.slow]

# Notebook → the slider that is moved.
SLIDERS = {
    "03_ssim_masks": "frame",
    "05_augmentation_preview": "draw",
    "07_predict": "frame",
    "11_inspect_video": "frame",
}
VIDEO = "dfdc_train_part_0/small_256x192_fake.mp4"  # of the sample, for notebook 11
SCREENSHOTS = Path(__file__).resolve().parents[1] / "outputs" / "test_screenshots"
SETTINGS = {  # of JupyterLab: nothing pops up, and every cell is on the page whether it can be seen or not
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
LAB_SECONDS, CELLS_SECONDS, MOVE_SECONDS = 60, 180, 20  # at most, on a busy machine


def chromium_path() -> str:
    """Find chromium, or say that it is missing: as a failure where DFDC_REQUIRE_BROWSER=1 asks for it, else as the reason to skip."""
    path = shutil.which("chromium")
    if path:
        return path
    reason = "no chromium on PATH: apt-get install chromium"
    if os.environ.get("DFDC_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{reason} (DFDC_REQUIRE_BROWSER=1 wants the browser tests to run)")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(
    chromium: Browser, finished: Path, sample_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """JupyterLab with copies of the notebooks that are set to the finished run: its address, where `{}` stands for a notebook."""
    root, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    for name in SLIDERS:
        copy_notebook(name, root, finished, sample_root / VIDEO)
    for name, settings in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    environment = {name: value for name, value in os.environ.items() if name != "DFDC_HEADLESS"}
    environment |= {name: str(home / folder) for name, folder in folders.items()}
    port, token = free_port(), secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={root}"]
    command += [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
    ]
    with (home / "lab.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/api", process, home / "lab.log")
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}.ipynb?reset&token={token}"
    finally:
        process.terminate()
        process.wait(30)


def copy_notebook(name: str, folder: Path, run: Path, video: Path) -> None:
    """Copy a notebook and give its parameters the values of the finished run; notebook 11 gets a video and the run's model."""
    path = runner.NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    given: dict[str, object] = FAST | {"RUN": str(run)}
    if name == runner.INSPECT.name:
        given = {
            "RUN": str(run.parent / "inspect"),
            "VIDEO": str(video),
            "MODELS": [str(run / "models" / "sample")],
            "WORKERS": 1,
        }
    values = {key: value for key, value in given.items() if key in runner.read_parameters(path)}
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in values.items())
    nbformat.write(notebook, folder / path.name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_server(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + LAB_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab does not answer on {url}:\n{log.read_text()[-2000:]}")


# The notebooks --------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "slider"), SLIDERS.items())
def test_notebook_runs_in_jupyterlab_and_its_slider_follows_the_keyboard(
    name: str, slider: str, lab: str, chromium: Browser
) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    try:
        page.goto(lab.format(name))
        run_all_cells(page)
        expect(page.locator('[data-mime-type="application/vnd.jupyter.error"]')).to_have_count(0)
        move_slider(page, slider)
    finally:
        screenshot(page, name)
        page.close()


def run_all_cells(page: Page) -> None:
    """Run all cells, and wait until each has its number or one of them an error."""
    idle = page.get_by_text("Python 3 (ipykernel) | Idle")
    expect(idle).to_be_visible(timeout=1000 * LAB_SECONDS)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    prompts = page.locator(".jp-CodeCell .jp-InputArea-prompt")
    numbered = prompts.filter(has_text=re.compile(r"\[\d+\]"))
    errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    deadline = time.monotonic() + CELLS_SECONDS
    while time.monotonic() < deadline and numbered.count() < prompts.count() and not errors.count():
        page.wait_for_timeout(200)
    expect(idle).to_be_visible(timeout=1000 * MOVE_SECONDS)
    assert errors.count() or numbered.count() == prompts.count(), f"cells still run after {CELLS_SECONDS} s"


def move_slider(page: Page, name: str) -> None:
    """Press the right arrow on a viewer's slider: its picture and the words above the picture must change."""
    slider = page.locator(".widget-hslider").filter(has=page.get_by_text(name, exact=True))
    expect(slider).to_have_count(1)
    viewer = page.locator(".widget-vbox").filter(has=slider)
    image, words = viewer.locator("img.widget-image"), viewer.locator(".widget-html-content")
    before, text = pixels(page, image.get_attribute("src")), words.inner_text()
    assert text
    slider.locator(".noUi-handle").click()
    page.keyboard.press("ArrowRight")
    expect(words).not_to_have_text(text, timeout=1000 * MOVE_SECONDS)
    assert pixels(page, image.get_attribute("src")) != before


def pixels(page: Page, source: str | None) -> str:
    """Read the picture that an address of the page stands for."""
    assert source
    return page.evaluate("source => fetch(source).then(answer => answer.blob()).then(blob => blob.text())", source)


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


# The report -----------------------------------------------------------------------------------------------------------------------------
def test_report_is_whole_without_a_network(chromium: Browser, finished: Path) -> None:
    """Every page from disk: every picture is there, nothing else is asked for, and the console is silent."""
    pages = sorted((finished / "report").glob("*.html"))
    assert [path.stem for path in pages] == [*(stage.name for stage in runner.STAGES), "index"]
    complaints, pictures = open_offline(chromium, {f"report_{path.stem}": path for path in pages})
    assert complaints == []
    assert pictures >= 10


def open_offline(chromium: Browser, pages: Mapping[str, Path]) -> tuple[list[str], int]:
    """Open pages from disk without a network: what the browser complains of, and how many pictures there are; each is kept as a picture."""
    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 1000})
    complaints: list[str] = []
    context.on("console", lambda message: complaints.append(f"console: {message.text}"))
    context.on("weberror", lambda error: complaints.append(f"error: {error.error}"))
    context.on(
        "request",
        lambda request: request.url.startswith(("file:", "data:")) or complaints.append(f"asked for {request.url}"),
    )
    pictures = 0
    for name, path in pages.items():
        page = context.new_page()
        page.goto(path.as_uri())
        widths = page.locator("img").evaluate_all(
            "images => images.map(image => image.complete ? image.naturalWidth : 0)"
        )
        complaints += (
            [f"{path.name}: {widths.count(0)} of {len(widths)} pictures are missing"] if not all(widths) else []
        )
        pictures += len(widths)
        screenshot(page, name)
        page.close()
    context.close()
    return complaints, pictures


def test_report_fits_a_phone(chromium: Browser, finished: Path) -> None:
    page = chromium.new_page(viewport={"width": 400, "height": 800})
    for path in sorted((finished / "report").glob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, f"{path.name} is wider than the screen"
    screenshot(page, "report_phone")
    page.close()


def test_the_page_of_an_examination(chromium: Browser, finished: Path, sample_root: Path) -> None:
    """What `dfdc inspect` writes is whole without a network, fits a phone, and opens with the answer."""
    folder, video = finished.parent / "inspect", sample_root / VIDEO  # JupyterLab's examination: its scores hold
    given = {"VIDEO": str(video), "ORIGINAL": "", "MODELS": [str(finished / "models" / "sample")], "WORKERS": 1}
    index = runner.run_stages(folder, video, [runner.INSPECT], given, command="dfdc inspect")
    complaints, pictures = open_offline(chromium, {"examination": index})
    assert complaints == []
    assert pictures == 4  # people over time, the frames that carry the answer, the viewer's sheet, the versions
    page = chromium.new_page(viewport={"width": 400, "height": 800})
    page.goto(index.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    expect(page.locator("h2").first).to_contain_text(f"{video.name}: ")
    expect(page.locator(".warning")).to_contain_text("knows one face only")
    screenshot(page, "examination_phone")
    page.close()


def test_a_picture_grows_when_it_is_tapped(chromium: Browser, finished: Path) -> None:
    """Small text of a figure can be read on a phone, and the page itself stays as wide as the screen."""
    page = chromium.new_page(viewport={"width": 400, "height": 800}, has_touch=True)
    page.goto((finished / "report" / "01_detect_faces.html").as_uri())
    picture = page.locator(".picture img").first
    widths = [picture.evaluate("image => image.clientWidth")]
    for _ in range(2):
        picture.tap(position={"x": 50, "y": 20})
        widths.append(picture.evaluate("image => image.clientWidth"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert widths[0] <= 400 < 900 < widths[1] and widths[2] == widths[0]
    page.close()


# That the checks can fail ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_a_missing_chromium_skips_or_fails(
    required: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DFDC_REQUIRE_BROWSER", required)
    with pytest.raises(outcome, match="no chromium on PATH: apt-get install chromium"):
        chromium_path()


def test_a_broken_report_is_noticed(tmp_path: Path, chromium: Browser) -> None:
    """The way in which the report is examined sees a lost picture, a script's error and a call to the network."""
    (tmp_path / "page.html").write_text(
        '<img src="lost.png"><script>fetch("http://127.0.0.1:9/"); throw Error("oops")</script>'
    )
    complaints: list[str] = []
    with chromium.new_context(offline=True) as context:
        context.on("console", lambda message: complaints.append(message.text))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("request", lambda request: complaints.append(request.url))
        page = context.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_timeout(500)
        assert page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)") == [0]
    assert [text for text in complaints if "oops" in text] and "http://127.0.0.1:9/" in complaints
