"""Hooks run in order, and the journal and Consul get the verdict of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.config.blueprint import combine
from release_agent.deploy.run import Ending, Run
from release_agent.errors import Code, Failed, Refused
from release_agent.health import Health
from release_agent.journal.journal import HookRun
from release_agent.model import Action, Request
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.contexts import context
from support.repositories import source_of
from support.roots import release

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.config.sections import Config
    from release_agent.journal.journal import StateDatabase

TWO = '[[repository]]\nname = "api"\npath = "/r/a"\ninto = "api"\n[[repository]]\nname = "web-ui"\npath = "/r/w"\ninto = "web"\n'


def a_run(tmp_path: Path, journal: StateDatabase, config: Config, **environ: str) -> Run:
    """Return a rollback that has begun."""
    parts = Parts(config, SystemClock(), environ)
    root = Root(tmp_path / "root", SystemClock())
    root.prepare()
    return Run.begin(parts.context(root, journal, source_of(tmp_path)), Request("d-1", Action.ROLLBACK))


def two(tmp_path: Path, hooks: str = "") -> Config:
    app = f'[app]\nname = "api"\nenvironment = "test"\nhost = "blue"\nroot = "{tmp_path}/root"\n'
    return configuration(f"[consul]\nenabled = false\n{hooks}", app=app, repository=TWO)


HOOKS = """[hooks]
build = [{ run = "echo first; touch first" }, { run = "seq 30; echo the password is hunter2; exit 3" }, { run = "touch third" }]
after_deploy = [{ run = "exec sleep 1000", timeout = "50ms" }]
"""


def test_hooks_run_in_order_until_one_fails_and_are_kept_without_secrets(tmp_path: Path, journal: StateDatabase) -> None:
    config = two(tmp_path, HOOKS)
    run = a_run(tmp_path, journal, config, PATH="/usr/bin:/bin", SUPERVISOR_PASSWORD="hunter2")

    with pytest.raises(Failed) as failed:
        run.hooks("build", release(42), tmp_path, combine(config, {}))

    assert failed.value.code is Code.HOOK_FAILED
    assert failed.value.message.splitlines() == [
        "the build hook `seq 30; echo the password is hunter2; exit 3` exited with 3",
        *(f"  | {number}" for number in range(12, 31)),
        "  | the password is [secret]",
    ]
    assert "history d-1" in failed.value.hint
    assert [(hook.run, hook.ended) for hook in journal.hooks_of("d-1")] == [
        ("echo first; touch first", "exited with 0"),
        ("seq 30; echo the password is hunter2; exit 3", "exited with 3"),
    ]
    assert "hunter2" not in journal.hooks_of("d-1")[1].output
    assert ((tmp_path / "first").exists(), (tmp_path / "third").exists()) == (True, False)
    assert list(run.record.phases) == ["hooks"]


def test_a_hook_that_takes_too_long_has_a_code_of_its_own(tmp_path: Path, journal: StateDatabase) -> None:
    config = two(tmp_path, HOOKS)
    run = a_run(tmp_path, journal, config, PATH="/usr/bin:/bin")

    with pytest.raises(Failed, match=r"`exec sleep 1000` was still running after 0\.05 s") as failed:
        run.hooks("after_deploy", release(42), tmp_path, combine(config, {}))

    assert failed.value.code is Code.HOOK_TIMED_OUT
    assert journal.hooks_of("d-1") == [
        HookRun("after_deploy", "exec sleep 1000", "was still running after 0.05 s and was stopped", "")
    ]


def test_without_hooks_there_is_no_such_phase(tmp_path: Path, journal: StateDatabase) -> None:
    config = two(tmp_path)
    run = a_run(tmp_path, journal, config)

    run.hooks("build", release(42), tmp_path, combine(config, {}))

    assert run.record.phases == {}


class Noted:
    """A journal and a reporter that keep the verdict they are given."""

    def __init__(self) -> None:
        self.told: list[Health | None] = []

    def found(self, health: Health) -> None:
        self.told.append(health)

    def finish(self, _told: object, _live: object, health: Health | None) -> None:
        self.told.append(health)


class NothingLive:
    def current(self) -> None:
        """Nothing is live."""


def concluded(ending: Ending, *, looked: Health | None = None) -> list[Health | None]:
    """Conclude a run that may have looked before; return what the journal and then Consul are told."""
    noted = Noted()
    there = context(journal=noted, reporter=noted, store=NothingLive(), redact=lambda text: text.replace("hunter2", "[secret]"))
    run = Run(there, Request("d-1"), journaled=False)
    run.health = looked
    run.conclude(ending)
    return noted.told


SICK, WELL = Health.of("web: no connection"), Health.of()
REFUSED = Refused(Code.NO_VERSION, "no tag")


@pytest.mark.parametrize(
    ("ending", "looked", "told"),
    [
        pytest.param(Ending("deployed", WELL), None, [WELL, WELL], id="proved"),
        pytest.param(Ending("unchanged"), WELL, [WELL, WELL], id="looked-at"),
        pytest.param(Ending("deployed", WELL), SICK, [WELL, WELL], id="looked-at-and-then-proved"),
        pytest.param(Ending.failed(REFUSED), None, [None], id="nobody-looked"),
        pytest.param(Ending.failed(REFUSED), SICK, [SICK, SICK], id="looked-at-and-then-refused"),
    ],
)
def test_the_journal_and_consul_are_told_the_last_verdict(
    ending: Ending, looked: Health | None, told: list[Health | None]
) -> None:
    assert concluded(ending, looked=looked) == told


def test_no_secret_is_told_with_a_verdict() -> None:
    sick = Health.of("web: wrong password hunter2", "worker is FATAL")

    assert concluded(Ending("deployed", sick)) == [Health.of("web: wrong password [secret]", "worker is FATAL")] * 2


def test_an_error_that_no_variable_could_hold_is_told_all_the_same(tmp_path: Path, journal: StateDatabase) -> None:
    config = two(tmp_path, f"""[hooks]\nafter_failure = [{{ run = 'printf %s "$RELEASE_ERROR" > {tmp_path}/told' }}]\n""")
    run = a_run(tmp_path, journal, config, PATH="/usr/bin:/bin")
    run.changes(release(42), combine(config, {}))

    # The end of a C string, half of a character, more than the kernel takes.
    run.conclude(Ending.failed(Refused(Code.NO_VERSION, "a\0b\n\ud800c" + 200_000 * "x")))

    told = (tmp_path / "told").read_text()
    assert (told[:6], len(told)) == ("a?b\n?c", 8192)


def test_hooks_and_the_record_name_who_asked(tmp_path: Path, journal: StateDatabase) -> None:
    config = two(tmp_path, '[hooks]\nbuild = [{ run = "echo asked by $RELEASE_BY" }]\n')
    root = Root(tmp_path / "root", SystemClock())
    root.prepare()
    parts = Parts(config, SystemClock(), {"PATH": "/usr/bin:/bin"})
    run = Run.begin(parts.context(root, journal, source_of(tmp_path)), Request("d-1", by="ada"))

    run.hooks("build", release(42), tmp_path, combine(config, {}))

    assert journal.hooks_of("d-1")[0].output == "asked by ada\n"
    assert run.record.to_json()["by"] == "ada"
