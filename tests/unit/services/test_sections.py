"""The agent finds supervisord's configuration by the command line of a process, and reads it as supervisord does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from release_agent.services.sections import Sections, UnknownSectionsError
from support.supervisors import own, started_as

if TYPE_CHECKING:
    from pathlib import Path

DEPLOY = own("deploy")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("", "unexpected"),
        ("autorestart=true", "true"),
        ("autorestart = Yes ; a comment", "true"),
        ("autorestart=unexpected", "unexpected"),
        ("autorestart=false", "false"),
        ("autorestart=off", "false"),
    ],
)
def test_autorestart_is_read_as_supervisor_reads_it(tmp_path: Path, given: str, read: str) -> None:
    (tmp_path / "s.conf").write_text(f"[supervisord]\n[program:deploy]\ncommand=release-agent deploy\n{given}\n")

    with started_as(tmp_path, "-c", tmp_path / "s.conf") as pid:
        assert Sections(pid).autorestart(DEPLOY) == read


def test_a_section_that_is_given_again_in_an_included_file_wins(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "s.conf").write_text(
        "[program:deploy]\nautorestart=false\n[include]\nfiles=%(here)s/more/*.conf nothing/*.conf\n"
    )
    (tmp_path / "more/b.conf").write_text("[program:deploy]\nautorestart=true\n")
    (tmp_path / "more/a.conf").write_text("[program:deploy]\nautorestart=unexpected\n")

    with started_as(tmp_path, "-c", tmp_path / "s.conf") as pid:
        assert Sections(pid).autorestart(DEPLOY) == "true"


def test_the_included_places_of_a_relative_configuration_have_their_own_paths(tmp_path: Path) -> None:
    (tmp_path / "s.conf").write_text("[include]\nfiles=a/*.conf %(here)s/b/*.conf\n")

    with started_as(tmp_path, "-c", "s.conf", cwd=tmp_path) as pid:
        assert Sections(pid).include == [tmp_path / "a/*.conf", tmp_path / "b/*.conf"]


def test_an_included_place_may_be_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "s.conf").write_text("[include]\nfiles=%(ENV_WHERE)s.conf\n")
    (tmp_path / "x.conf").write_text("[program:deploy]\nautorestart=true\n")

    with started_as(tmp_path, "-c", tmp_path / "s.conf") as pid:
        assert Sections(pid, {"WHERE": "x"}).autorestart(DEPLOY) == "true"


def test_a_program_whose_processes_have_another_name_is_found_by_its_command(tmp_path: Path) -> None:
    (tmp_path / "s.conf").write_text("[program:release]\ncommand=release-agent deploy\nautorestart=true\n")

    with started_as(tmp_path, "-c", tmp_path / "s.conf") as pid:
        assert Sections(pid).autorestart(DEPLOY) == "true"


def test_without_an_option_the_file_is_looked_for_where_supervisord_looks(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/supervisord.conf").write_text("[program:deploy]\nautorestart=true\n")

    with started_as(tmp_path) as pid:
        assert Sections(pid).autorestart(DEPLOY) == "true"
    with started_as(tmp_path / "etc", cwd=tmp_path) as pid:
        assert Sections(pid).autorestart(DEPLOY) == "true"


@pytest.mark.parametrize("option", ["-c{}", "--configuration={}", "--configuration {}"])
def test_every_spelling_of_the_option_is_known(tmp_path: Path, option: str) -> None:
    (tmp_path / "s.conf").write_text("[program:deploy]\nautorestart=true\n")
    words = option.format("s.conf").split()

    with started_as(tmp_path, "-n", *words, cwd=tmp_path) as pid:
        assert Sections(pid).autorestart(DEPLOY) == "true"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot read .*: No such file or directory"),
        ("[program:deploy\n", "cannot be understood"),
        ("[program:other]\n", r"no \[program:deploy\] in the configuration"),
        ("[program:deploy]\nautorestart=%(ENV_IT)s\n", r"autorestart=%\(ENV_IT\)s cannot be understood"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / "s.conf").write_text(text)

    with (
        started_as(tmp_path, "-c", tmp_path / "s.conf") as pid,
        pytest.raises(UnknownSectionsError, match=why),
    ):
        Sections(pid).autorestart(DEPLOY)


@pytest.mark.parametrize("pipe", ["s.conf", "more/x.conf"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, pipe: str) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "s.conf").write_text("[include]\nfiles=more/*.conf\n")
    (tmp_path / pipe).unlink(missing_ok=True)
    os.mkfifo(tmp_path / pipe)

    with (
        started_as(tmp_path, "-c", tmp_path / "s.conf") as pid,
        pytest.raises(UnknownSectionsError, match=f"cannot read .*/{pipe}: it is not a regular file"),
    ):
        Sections(pid)


def test_a_process_that_is_no_supervisord_is_said() -> None:
    with pytest.raises(UnknownSectionsError, match=f"process {os.getpid()} does not look like supervisord"):
        Sections(os.getpid())
