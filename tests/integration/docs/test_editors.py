"""An editor shows problems in the files, by a language server that reads their `#:schema`."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.environment import BIN, PROJECT
from support.markdown import page

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(path for name in ("release-agent.toml", "release.toml") for path in (PROJECT / "examples").rglob(name))
REFERENCE = page("docs/reference/configuration.md").section("The whole file").examples("toml")[0]


def lint(file: Path) -> subprocess.CompletedProcess[str]:
    # --offline: it would also look for schemas on the web, by the names of files.
    return subprocess.run(
        [BIN / "tombi", "lint", "--offline", file], cwd=file.parent, check=False, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_editor_has_nothing_to_say_of_an_example(path: Path) -> None:
    done = lint(path)

    assert done.returncode == 0, done.stderr


def test_editor_has_nothing_to_say_of_the_reference(tmp_path: Path) -> None:
    (tmp_path / "release-agent.toml").write_text(f"#:schema {PROJECT}/docs/schemas/agent.json\n{REFERENCE}")

    done = lint(tmp_path / "release-agent.toml")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("keep = 5", "kep = 5", '"kep" is not allowed'),
        ('restart = "restart"', 'restart = "signal:KILL"', "restart"),
        ('deadline = "60s"', 'deadline = "1 minute"', "does not match the pattern"),
        ('name = "web"\n', "", '"name" is required'),
    ],
)
def test_editor_says_what_is_wrong(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    assert right in REFERENCE
    text = REFERENCE.replace(right, wrong)
    (tmp_path / "release-agent.toml").write_text(f"#:schema {PROJECT}/docs/schemas/agent.json\n{text}")

    done = lint(tmp_path / "release-agent.toml")

    assert done.returncode == 1
    assert said in done.stdout + done.stderr
