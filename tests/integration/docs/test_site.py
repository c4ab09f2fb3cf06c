"""The site has every page, and no dead link or anchor."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.environment import PROJECT
from support.markdown import pages


def test_site_is_built_of_all_pages_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run([PROJECT / "scripts" / "site", "--site-dir", tmp_path], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.html")}
    assert {str(Path(name).with_suffix(".html")).replace("README", "index") for name in pages()} <= made
