"""Write the pictures of the page in `docs/`: run this after a change of its looks.

PYTHONPATH=functions:codat-sandbox .venv/bin/python -m tests.page.screenshots
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from freshness.app.page.read import page_view
from freshness.app.page.render import Frame, Medium, render
from tests.page.browser import ROOT, chromium
from tests.page.scenarios import links_lapsed

HEIGHTS = {360: 800, 1280: 1240, 2560: 1060}


def main() -> None:
    """Picture a fleet in which two links have lapsed and a few reads have failed."""
    world = links_lapsed()
    html = render(page_view(world.queries, world.now()), Frame(Medium.SERVER, nonce="n"))
    world.close()
    with TemporaryDirectory() as folder, chromium() as browser:
        file = Path(folder, "page.html")
        file.write_text(html, encoding="utf-8")
        for width, height in HEIGHTS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(file.as_uri())
            page.screenshot(path=ROOT / "docs" / f"page-{width}.png")
            page.close()


if __name__ == "__main__":
    main()
