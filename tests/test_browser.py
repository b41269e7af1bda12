"""The notebooks in JupyterLab and the report from disk, in a real browser: Debian's chromium.

Without chromium these tests are skipped, or fail if DFDC_REQUIRE_BROWSER=1. Screenshots: outputs/test_screenshots/.
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

from dfdc_lib.pipeline.parameters import read_parameters
from dfdc_lib.pipeline.runner import Request, run_stages
from dfdc_lib.pipeline.stage_table import INSPECT, NOTEBOOKS, STAGES

pytestmark = [pytest.mark.browser, pytest.mark.notebooks, pytest.mark.slow]

# Notebook -> the slider to move.
SLIDERS = {"05_augmentation_preview": "draw"}
SLIDERS |= dict.fromkeys(("03_ssim_masks", "07_predict", "11_inspect_video"), "frame")
VIDEO = "dfdc_train_part_0/small_256x192_fake.mp4"  # of the sample, for notebook 11
SCREENSHOTS = Path(__file__).resolve().parents[1] / "outputs" / "test_screenshots"
SETTINGS = {  # of JupyterLab: no pop-ups, and all cells on the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
LAB_FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
LAB_SECONDS, CELLS_SECONDS, MOVE_SECONDS = 60, 180, 20  # time limits on a busy machine
DESKTOP, PHONE = {"width": 1280, "height": 1000}, {"width": 400, "height": 800}
ERROR_OUTPUT = '[data-mime-type="application/vnd.jupyter.error"]'


def chromium_path() -> str:
    """Return the path of chromium; skip or fail if there is none."""
    path = shutil.which("chromium")
    if path:
        return path
    if os.environ.get("DFDC_REQUIRE_BROWSER") == "1":
        pytest.fail("no chromium on PATH, but DFDC_REQUIRE_BROWSER=1: apt-get install chromium")
    pytest.skip("no chromium on PATH: apt-get install chromium")


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
    """The address of JupyterLab, with `{}` for a notebook's name; its notebooks are set to the finished run."""
    root, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    for name in SLIDERS:
        copy_notebook(name, root, finished, sample_root / VIDEO)
    for name, settings in SETTINGS.items():
        path = home / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    environment = {name: value for name, value in os.environ.items() if name != "DFDC_HEADLESS"}
    environment |= {name: str(home / name) for name in LAB_FOLDERS}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    options = {"root_dir": root, "ip": "127.0.0.1", "port": port, "port_retries": 0}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.{name}={value}" for name, value in options.items()]
    with (home / "lab.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/api", process, home / "lab.log")
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}.ipynb?reset&token={token}"
    finally:
        process.terminate()
        process.wait(30)


def copy_notebook(name: str, folder: Path, run: Path, video: Path) -> None:
    """Copy a notebook and set its parameters to the finished run; notebook 11 gets a video and the run's model."""
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    values: dict[str, object] = FAST | {"RUN": str(run)}
    if name == INSPECT.name:
        values = inspect_parameters(run, video) | {"RUN": str(run.parent / "inspect")}
    known = read_parameters(path)
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in values.items() if key in known)
    nbformat.write(notebook, folder / path.name)


def inspect_parameters(run: Path, video: Path) -> dict[str, object]:
    return {"VIDEO": str(video), "ORIGINAL": "", "MODELS": [str(run / "models" / "sample")], "WORKERS": 1}


def wait_for_server(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + LAB_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab does not answer on {url}:\n{log.read_text(encoding='utf-8')[-2000:]}")


@pytest.mark.parametrize(("name", "slider"), SLIDERS.items())
def test_a_notebook_runs_and_its_slider_moves(name: str, slider: str, lab: str, chromium: Browser) -> None:
    page = chromium.new_page(viewport=DESKTOP)
    try:
        page.goto(lab.format(name))
        run_all_cells(page)
        expect(page.locator(ERROR_OUTPUT)).to_have_count(0)
        move_slider(page, slider)
    finally:
        screenshot(page, name)
        page.close()


def run_all_cells(page: Page) -> None:
    """Run all cells and wait until each has its number or one has an error."""
    idle = page.get_by_text("Python 3 (ipykernel) | Idle")
    expect(idle).to_be_visible(timeout=1000 * LAB_SECONDS)
    for entry in ("Run", "Run All Cells"):
        page.get_by_role("menuitem", name=entry, exact=True).click()
    prompts, errors = page.locator(".jp-CodeCell .jp-InputArea-prompt"), page.locator(ERROR_OUTPUT)
    numbered = prompts.filter(has_text=re.compile(r"\[\d+\]"))
    deadline = time.monotonic() + CELLS_SECONDS
    while time.monotonic() < deadline and numbered.count() < prompts.count() and not errors.count():
        page.wait_for_timeout(200)
    expect(idle).to_be_visible(timeout=1000 * MOVE_SECONDS)
    assert errors.count() or numbered.count() == prompts.count(), f"cells still run after {CELLS_SECONDS} s"


def move_slider(page: Page, name: str) -> None:
    """Press the right arrow key on a viewer's slider: its picture and the text above it must change."""
    slider = page.locator(".widget-hslider").filter(has=page.get_by_text(name, exact=True))
    expect(slider).to_have_count(1)
    viewer = page.locator(".widget-vbox").filter(has=slider)
    image, label = viewer.locator("img.widget-image"), viewer.locator(".widget-html-content")
    before, text = pixels(page, image.get_attribute("src")), label.inner_text()
    assert text
    slider.locator(".noUi-handle").click()
    page.keyboard.press("ArrowRight")
    expect(label).not_to_have_text(text, timeout=1000 * MOVE_SECONDS)
    assert pixels(page, image.get_attribute("src")) != before


def pixels(page: Page, source: str | None) -> str:
    """Return the bytes of a picture, as text."""
    assert source
    return page.evaluate("source => fetch(source).then(answer => answer.blob()).then(blob => blob.text())", source)


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def test_the_report_works_offline(chromium: Browser, finished: Path) -> None:
    pages = sorted((finished / "report").glob("*.html"))
    assert [path.stem for path in pages] == [*(stage.name for stage in STAGES), "index"]
    problems, pictures = open_offline(chromium, {f"report_{path.stem}": path for path in pages})
    assert problems == [] and pictures >= 10


def open_offline(chromium: Browser, pages: Mapping[str, Path]) -> tuple[list[str], int]:
    """Open pages (screenshot -> path) without a network, save screenshots, and return problems and number of pictures.

    Problems are console messages, script errors, requests to a network and missing pictures.
    """
    context = chromium.new_context(offline=True, viewport=DESKTOP)
    problems: list[str] = []
    requests: list[str] = []
    context.on("console", lambda message: problems.append(f"console: {message.text}"))
    context.on("weberror", lambda error: problems.append(f"error: {error.error}"))
    context.on("request", lambda request: requests.append(request.url))
    pictures = 0
    for name, path in pages.items():
        page = context.new_page()
        page.goto(path.as_uri())
        page.wait_for_timeout(100)  # for scripts, which should not be there
        widths = page.locator("img").evaluate_all("all => all.map(image => image.complete ? image.naturalWidth : 0)")
        problems += [f"{path.name}: a picture is missing" for width in widths if not width]
        pictures += len(widths)
        screenshot(page, name)
        page.close()
    context.close()
    return problems + [f"request: {url}" for url in requests if not url.startswith(("file:", "data:"))], pictures


def assert_fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_report_fits_a_phone(chromium: Browser, finished: Path) -> None:
    page = chromium.new_page(viewport=PHONE)
    for path in sorted((finished / "report").glob("*.html")):
        page.goto(path.as_uri())
        assert_fits(page)
    screenshot(page, "report_phone")
    page.close()


def test_the_page_of_dfdc_inspect(chromium: Browser, finished: Path, sample_root: Path) -> None:
    """The page works offline, fits a phone, and starts with the answer and a warning."""
    folder, video = finished.parent / "inspect", sample_root / VIDEO  # notebook 11 has scored it in JupyterLab
    index = run_stages(Request(folder, video, [INSPECT], inspect_parameters(finished, video)))
    problems, pictures = open_offline(chromium, {"examination": index})
    assert problems == []
    # The judged person, people over time, the table of people, the decisive frames, the viewer's sheet, the versions.
    assert pictures == 6
    page = chromium.new_page(viewport=PHONE)
    page.goto(index.as_uri())
    assert_fits(page)
    expect(page.locator("h2").first).to_contain_text(video.name)
    expect(page.locator(".warning")).to_contain_text("sample")
    screenshot(page, "examination_phone")
    page.close()


def test_a_tap_enlarges_a_picture(chromium: Browser, finished: Path) -> None:
    """The picture scrolls in its box; the page stays as wide as the screen."""
    page = chromium.new_page(viewport=PHONE, has_touch=True)
    page.goto((finished / "report" / "01_detect_faces.html").as_uri())
    picture = page.locator(".picture img").first
    widths = [picture.evaluate("image => image.clientWidth")]
    for _ in range(2):
        picture.tap(position={"x": 50, "y": 20})
        widths.append(picture.evaluate("image => image.clientWidth"))
        assert_fits(page)
    assert widths[2] == widths[0] <= 400 < 900 < widths[1]
    page.close()


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_a_missing_chromium(required: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DFDC_REQUIRE_BROWSER", required)
    with pytest.raises(outcome, match="chromium"):
        chromium_path()


def test_a_broken_page_has_problems(tmp_path: Path, chromium: Browser) -> None:
    script = '<script>fetch("http://127.0.0.1:9/"); throw Error("oops")</script>'
    (tmp_path / "page.html").write_text(f'<img src="lost.png">{script}')
    problems, pictures = open_offline(chromium, {"broken_page": tmp_path / "page.html"})
    assert pictures == 1
    for keyword in ("picture is missing", "oops", "http://127.0.0.1:9/"):
        assert [problem for problem in problems if keyword in problem]
