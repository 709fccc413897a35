"""What messages and pages say about installing can be done: the package is on no registry, and its extras are there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PACKAGES = ("cascade", "cascade_cli", "cloud_service", "edge_agent", "fog_gateway")
PAGES = (
    "README.md",
    "docs/run.md",
    "docs/calibration.md",
    "docs/commands.md",
    "docs/early_exit.md",
    "examples/bring_your_own/README.md",
)
PLACES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")] + [ROOT / page for page in PAGES]


def test_nothing_says_that_the_package_can_be_downloaded():
    name = re.compile(r"pip install[^\n]*cascade-runtime|cascade-runtime\[")
    assert [str(path.relative_to(ROOT)) for path in PLACES if name.search(path.read_text())] == []


def test_extras_that_are_named_are_there():
    naming = re.compile(r"""how_to_install\(["']([a-z,-]+)|pip install[^\n]*'[./]*\[([a-z,-]+)""")
    said = {extra for path in PLACES for groups in naming.findall(path.read_text()) for extra in groups if extra}
    assert said
    assert {each for extras in said for each in extras.split(",")} <= set(EXTRAS)
