"""What hooks and exec probes see, and what becomes of a hook that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.config.blueprint import combine
from release_agent.deploy.run import Run
from release_agent.errors import Code, Failed
from release_agent.journal.journal import HookRun
from release_agent.model import Action, Request
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.repositories import source_of
from support.roots import release

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.config.sections import Config
    from release_agent.journal.journal import StateDatabase

TWO = '[[repository]]\nname = "api"\npath = "/r/a"\ninto = "api"\n[[repository]]\nname = "web-ui"\npath = "/r/w"\ninto = "web"\n'
SECRETS = {
    "SUPERVISOR_USERNAME": "bob",
    "SUPERVISOR_PASSWORD": "hunter2",
    "CONSUL_HTTP_TOKEN": "s3cr3t",
    "CONSUL_HTTP_TOKEN_FILE": "/run/secrets/token",
    "RELEASE_AGENT_REQUEST": "{}",
}


def a_run(tmp_path: Path, journal: StateDatabase, config: Config, **environ: str) -> Run:
    """Return a rollback that has begun."""
    parts = Parts(config, SystemClock(), environ)
    root = Root(tmp_path / "root", SystemClock())
    root.prepare()
    context = parts.context(root, journal, source_of(tmp_path))
    return Run(context, Request("d-1", Action.ROLLBACK))


def two(tmp_path: Path, hooks: str = "") -> Config:
    app = f'[app]\nname = "api"\nenvironment = "test"\nhost = "blue"\nroot = "{tmp_path}/root"\n'
    return configuration(f"[consul]\nenabled = false\n{hooks}", app=app, repository=TWO)


def test_a_hook_sees_what_is_done_to_what_and_where(tmp_path: Path, journal: StateDatabase) -> None:
    run = a_run(tmp_path, journal, two(tmp_path), PATH="/bin", LANG="C")
    run.record.previous = "000041-aaaaaaaaaaaa"
    what = release(42)

    seen = run.environment(what, tmp_path / "incoming", "web")

    assert seen == {
        "PATH": "/bin",
        "LANG": "C",
        "RELEASE_ACTION": "rollback",
        "RELEASE_ID": "d-1",
        "RELEASE_APP": "api",
        "RELEASE_ENVIRONMENT": "test",
        "RELEASE_HOST": "blue",
        "RELEASE_NAME": what.name,
        "RELEASE_NUMBER": "42",
        "RELEASE_REVISION": "v42.0.0",
        "RELEASE_COMMIT": "",
        "RELEASE_COMMIT_API": what.commits["api"],
        "RELEASE_PREVIOUS": "000041-aaaaaaaaaaaa",
        "RELEASE_ROOT": f"{tmp_path}/root",
        "RELEASE_SHARED": f"{tmp_path}/root/shared",
        "RELEASE_DIRECTORY": f"{tmp_path}/incoming",
        "RELEASE_PATH": f"{tmp_path}/root/releases/{what.name}",
    }


def test_a_repositorys_hook_sees_its_own_commit(tmp_path: Path, journal: StateDatabase) -> None:
    run = a_run(tmp_path, journal, two(tmp_path))

    assert run.environment(release(42), tmp_path, "api")["RELEASE_COMMIT"] == release(42).commits["api"]


def test_a_hook_does_not_see_the_agents_secrets(tmp_path: Path, journal: StateDatabase) -> None:
    seen = a_run(tmp_path, journal, two(tmp_path), **SECRETS).environment(release(42), tmp_path)

    assert not {name for name in seen if name in SECRETS}
    assert not [value for value in seen.values() if value in SECRETS.values()]


HOOKS = """[hooks]
build = [{ run = "echo first; touch first" }, { run = "seq 7; echo the password is hunter2; exit 3" }, { run = "touch third" }]
after_deploy = [{ run = "exec sleep 1000", timeout = "50ms" }]
"""


def test_hooks_run_in_order_until_one_fails_and_are_kept_without_secrets(tmp_path: Path, journal: StateDatabase) -> None:
    config = two(tmp_path, HOOKS)
    run = a_run(tmp_path, journal, config, PATH="/usr/bin:/bin", SUPERVISOR_PASSWORD="hunter2")

    with pytest.raises(Failed) as failed:
        run.hooks("build", release(42), tmp_path, combine(config, {}))

    assert failed.value.code is Code.HOOK_FAILED
    assert failed.value.message.splitlines() == [
        "the build hook `seq 7; echo the password is hunter2; exit 3` exited with 3",
        *("  | 4", "  | 5", "  | 6", "  | 7", "  | the password is [secret]"),
    ]
    assert "history d-1" in failed.value.hint
    assert [(hook.run, hook.ended) for hook in journal.hooks_of("d-1")] == [
        ("echo first; touch first", "exited with 0"),
        ("seq 7; echo the password is hunter2; exit 3", "exited with 3"),
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
