"""The pictures of docs/inspect.md: every view of the inspector in light, in dark and on a phone, of the quick start.

Run, when `gateflow quickstart` has made its runs: `python docs/inspect_screenshots.py quickstart-runs docs/inspect`.
It needs playwright and Chromium. Look at each picture before it is committed.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

LOOKS = {"light": ("light", 1180), "dark": ("dark", 1180), "phone": ("light", 390)}
VIEWS = {
    "reaches-back": "Reaches back",
    "memory": "Memory",
    "gates": "Gates",
    "agreement": "Agreement",
    "intervene": "Intervene",
    "reach": "Reach",
    "training": "Training",
}
# Colours of a picture: plots have few, and a file is half as large.
COLOURS = 256


def main(runs: Path, out: Path) -> None:
    """All pictures, from one server."""
    command = [sys.executable, "-m", "gateflow", "inspect", str(runs / "lstm"), str(runs / "lstm-chrono")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        subprocess.Popen([*command, "--no-browser"], stdout=subprocess.PIPE, text=True, env=environment) as server,
        sync_playwright() as playwright,
    ):
        assert server.stdout is not None
        link = server.stdout.readline().strip()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(link)
        page.wait_for_selector("[data-ready]")
        everything(page)
        for look, (scheme, width) in LOOKS.items():
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            # Plots are drawn again for another width.
            page.wait_for_timeout(1500)
            pictures(page, out / look)
        browser.close()
        server.terminate()


def everything(page: Page) -> None:
    """Ask for what is done on demand."""
    page.get_by_role("button", name="measure").click()
    page.get_by_role("button", name="try each unit by itself").click()
    page.wait_for_selector("text=1 % is left")
    page.locator("text=when one unit is held").nth(1).wait_for()
    page.get_by_role("button", name="spans that look alike").click()
    page.wait_for_selector(".found li")


def pictures(page: Page, folder: Path) -> None:
    """A picture of each view."""
    folder.mkdir(parents=True, exist_ok=True)
    # What stays in sight would lie over the views.
    page.add_style_tag(content=".gateflow-inspector .bar { position: static; }")
    save(page.locator(".bar").screenshot(), folder / "sentence.png")
    for name, title in VIEWS.items():
        section = page.locator("section", has=page.get_by_role("heading", name=title, exact=True))
        section.scroll_into_view_if_needed()
        save(section.screenshot(), folder / f"{name}.png")


def save(png: bytes, path: Path) -> None:
    """A picture with few colours."""
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
