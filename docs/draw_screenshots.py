"""Draws the two pictures of the README from the real thing.

Run ``python docs/draw_screenshots.py`` when they are out of date. It runs ``orchestrator demo --keep`` on a terminal of
its own (Linux, Chromium): what that shows at its end becomes ``screenshots/demo.svg``, and the dashboard while the new
member replays ``screenshots/dashboard.png``.
"""

import asyncio
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from playwright.async_api import Page, async_playwright
from rich.console import Console
from rich.text import Text

PICTURES: Final = Path(__file__).with_name("screenshots")
COLUMNS: Final = 88
LINES_SHOWN: Final = 27
WIDTH: Final = 960
HEIGHT: Final = 720
PATIENCE_SECONDS: Final = 180
_CONTROL: Final = re.compile(r"\x1b\[\??([0-9;]*)([A-Za-z])")


def shown(output: str) -> list[str]:
    """Return the lines that stand on the screen after what was printed: bars that were redrawn stand there once."""
    lines, row = [""], 0
    for piece in re.split(r"(\x1b\[\??[0-9;]*[A-Za-z]|\r|\n)", output):
        control = _CONTROL.fullmatch(piece)
        if piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif control is None:
            lines[row] = lines[row] + piece if piece != "\r" else lines[row]
        elif control.group(2) == "A":
            row = max(0, row - int(control.group(1) or 1))
        elif control.group(2) == "K":
            lines[row] = ""
        elif control.group(2) == "m":
            lines[row] += piece
    return [line.rstrip() for line in lines]


def draw_terminal(output: str, target: Path) -> None:
    """Write the end of what a terminal shows as SVG, without fonts from elsewhere."""
    lines = [line for line in shown(output) if Text.from_ansi(line).plain.strip()]
    (done,) = [number for number, line in enumerate(lines) if "done in" in line]
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        for line in ("$ orchestrator demo", "…", *lines[max(0, done + 1 - LINES_SHOWN) : done + 1]):
            console.print(Text.from_ansi(line), soft_wrap=True)
        svg = console.export_svg(title="orchestrator demo", unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    target.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", "utf-8")


class Demo:
    """The demo on a terminal of its own, and what it has printed."""

    def __init__(self) -> None:
        self.output = ""
        self._leader, follower = pty.openpty()
        environment = {**os.environ, "COLUMNS": str(COLUMNS), "LINES": "60", "TERM": "xterm-256color"}
        command = [sys.executable, "-m", "orchestrator", "demo", "--keep"]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=follower, stdout=follower, stderr=follower, env=environment
        )
        os.close(follower)
        asyncio.get_running_loop().add_reader(self._leader, self._read)
        self._moved = asyncio.Event()

    def _read(self) -> None:
        self.output += os.read(self._leader, 65536).decode("utf-8", "replace")
        self._moved.set()

    async def until(self, pattern: str) -> str:
        """Return what the pattern's group found, once it stands in the output."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := re.search(pattern, self.output)) is None:
                self._moved.clear()
                await self._moved.wait()
        return found.group(1)

    async def end(self) -> None:
        """Stop it as a person does."""
        asyncio.get_running_loop().remove_reader(self._leader)
        self._process.send_signal(signal.SIGINT)
        await asyncio.to_thread(self._process.wait, 60)


async def draw_page(demo: Demo, page: Page) -> None:
    """Write the dashboard as it is while the third member replays."""
    await page.goto(await demo.until(r"dashboard (http://[\d.:]+)"))
    await demo.until(r"(member3 replays)")
    await page.locator("progress").first.wait_for(state="visible")
    await page.screenshot(path=PICTURES / "dashboard.png")


async def main() -> None:
    """Draw both."""
    PICTURES.mkdir(exist_ok=True)
    demo = Demo()
    try:
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = await chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            await draw_page(demo, page)
            await demo.until("(Everything is left running)")
            await chromium.close()
    finally:
        await demo.end()
    draw_terminal(demo.output, PICTURES / "demo.svg")


if __name__ == "__main__":
    asyncio.run(main())
