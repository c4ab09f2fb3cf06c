"""The agent refuses bad input completely, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import release_agent
from support.repositories import Repository

if TYPE_CHECKING:
    from support.host import Host

_OTHER_USER = 12345
# A Python that every user may run; the tests' own may lie in somebody's home.
_SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.mark.parametrize("revision", ["--upload-pack=x", "../..", "v1;id", "", "v1\nv2", "-x", "v1..v2", "HEAD", "v1.0.0^{}"])
def test_hostile_revision_is_refused(host: Host, revision: str) -> None:
    # "--": what begins with a dash must not become an option of ours either.
    ran = host.agent("deploy", "--json", "--", revision)

    assert (ran.code, ran.json["outcome"]) == (12, "refused")
    assert ran.json["error"]["code"] in ("revision-invalid", "revision-unknown")
    assert host.live() is None
    assert host.releases() == {}


def test_tag_missing_in_one_repository_refuses_the_whole_and_names_it(host: Host) -> None:
    library = Repository(host.path / "repos" / "library")
    library.release("v1.0.0")
    host.configure(
        repository=f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\ninto = "app"\n'
        f'[[repository]]\nname = "library"\npath = "{library.path}"\ninto = "library"',
    )

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (12, "repository-incomplete")
    assert f"v1.1.0 is missing in repository library ({library.path})" in ran.json["error"]["message"]
    assert host.live() is None


def test_tag_that_was_deployed_and_now_names_another_commit_is_refused(host: Host) -> None:
    live = host.deploy("v1.1.0").json["release"]
    moved = host.repository.release(None)
    host.repository.git("tag", "-f", "v1.1.0")

    refused = host.deploy("v1.1.0")
    accepted = host.deploy("v1.1.0", "--accept-moved-tag")
    again = host.deploy("v1.1.0")

    assert (refused.code, refused.json["error"]["code"], refused.json["previous"]) == (12, "tag-moved", live)
    assert (accepted.code, accepted.json["commits"]) == (0, {"api": moved})
    assert (again.code, again.json["outcome"]) == (0, "unchanged")


def test_repository_that_is_gone_is_refused(host: Host) -> None:
    host.configure(repository='[[repository]]\nname = "api"\npath = "/nowhere"')

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (12, "repository-unreadable")
    assert "/nowhere" in ran.json["error"]["message"]


def test_release_toml_with_mistakes_is_the_revisions_fault(host: Host) -> None:
    host.repository.release("v1.2.0", **{"release.toml": '[hook]\nbuild = []\n[health]\ndeadline = "soon"\n'})

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (12, "release-toml-invalid")
    assert 'hook: is not a key here; did you mean "hooks"?' in ran.json["error"]["message"]
    assert "health.deadline" in ran.json["error"]["message"]


def test_release_toml_that_became_a_symlink_does_not_take_the_services_out_of_the_release(host: Host) -> None:
    host.configure(service="")
    service = host.probed("60s")
    host.repository.release("v1.2.0", **{"release.toml": service})
    assert host.deploy().code == 0
    _, pid = host.process()
    (host.repository.path / "release.toml").unlink()
    (host.repository.path / "release.toml").symlink_to("deploy/release.toml")
    host.repository.commit({"deploy/release.toml": service}, tag="v1.3.0")

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (12, "release-toml-invalid")
    assert "release.toml of repository api is a symlink" in ran.json["error"]["message"]
    assert host.process()[1] == pid


def test_release_toml_that_a_build_hook_spoils_is_refused_before_it_is_published(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    _, pid = host.process()
    host.configure("""[hooks]\nbuild = [{ run = "echo '[nonsense]' > release.toml" }]""")

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["error"]["code"]) == (12, "release-toml-invalid")
    assert (host.live(), host.process()[1]) == (live, pid)


@pytest.mark.parametrize("stage", ["build", "before_publish"])
@pytest.mark.parametrize(
    "hook", ["rm release.toml", "ln -sf version release.toml", "echo >> release.toml; sed -i s/60s/61s/ release.toml"]
)
def test_release_toml_that_a_hook_takes_away_does_not_take_the_services_out_of_the_release(
    host: Host, stage: str, hook: str
) -> None:
    host.configure(service="")
    service = host.probed("60s")
    host.repository.release("v1.2.0", **{"release.toml": service})
    host.repository.release("v1.3.0", **{"release.toml": f"{service}\n[hooks]\n{stage} = [{{ run = '{hook}' }}]"})
    live = host.deploy("v1.2.0").json["release"]
    before = host.process()

    ran = host.deploy("v1.3.0")

    assert (ran.code, ran.json["error"]["code"]) == (13, "build-failed")
    assert "release.toml of 000002" in ran.json["error"]["message"]
    assert (host.live(), host.process(), list(host.releases())) == (live, before, [live])


def test_release_toml_that_git_itself_converts_is_that_of_its_commit(host: Host) -> None:
    host.configure(service="")
    service = host.probed("60s") + "\n[[service.probe]]\nexec = \"true '$Id$'\"\n"
    host.repository.release("v1.2.0", **{"release.toml": service, ".gitattributes": "* ident\n"})

    ran = host.deploy("v1.2.0")

    assert ran.code == 0, ran.err


def test_release_toml_that_a_hook_makes_is_refused_although_git_ignores_it(host: Host) -> None:
    repository = host.repository
    repository.release(None, **{".gitignore": "release.toml\n"})
    repository.git("rm", "-q", "release.toml")
    repository.git("commit", "-qm", "without")
    repository.git("tag", "v1.2.0")
    hook = """echo '[[service]]' > release.toml; echo 'name = \\"nothing\\"' >> release.toml"""
    host.configure(f'[hooks]\nbuild = [{{ run = "{hook}" }}]', service="")

    ran = host.deploy("v1.2.0")

    assert (ran.code, ran.json["error"]["code"], host.live()) == (13, "build-failed", None)


def test_staged_release_without_its_release_toml_is_not_published(host: Host) -> None:
    host.configure(service="")
    service = host.probed("60s")
    for version in ("v1.2.0", "v1.3.0"):
        host.repository.release(version, **{"release.toml": service})
    live = host.deploy("v1.2.0").json["release"]
    before = host.process()
    staged = host.agent("stage", "--json", "v1.3.0").json["release"]
    (host.root / "releases" / staged / "release.toml").unlink()

    ran = host.deploy("v1.3.0")

    assert (ran.code, ran.json["error"]["code"], host.live(), host.process()) == (13, "build-failed", live, before)
    assert host.deploy("--force", "v1.3.0").code == 0


def test_five_mistakes_in_the_configuration_are_reported_together(host: Host) -> None:
    host.config.write_text(
        '[app]\nnmae = "api"\nenvironment = "test"\nroot = "relative"\nkeep = 0\n'
        '[[repository]]\nname = "api"\npath = "/r"\n[health]\ndeadline = "soon"\n[[service]]\nname = "web"\nrestart = "reload"\n'
    )

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"]) == (10, "misconfigured")
    for path in ("app.nmae", "app.name", "app.root", "app.keep", "health.deadline", "service[0].restart"):
        assert f"  {path}: " in ran.json["error"]["message"]
    assert 'did you mean "name"?' in ran.json["error"]["message"]


def _listing(place: Path) -> list[str]:
    return sorted(
        f"{os.path.join(folder, name)} {os.lstat(os.path.join(folder, name)).st_mtime_ns}"  # noqa: PTH118 - text
        for folder, directories, files in os.walk(place)
        for name in [*directories, *files]
    )


@pytest.mark.needs("mount")
def test_read_only_repository_of_another_owner_works_and_stays_as_it_is(host: Host) -> None:
    path = host.repository.path
    subprocess.run(["chown", "-R", f"{_OTHER_USER}:{_OTHER_USER}", path], check=True)
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        before = _listing(path)
        ran = host.deploy(HOME=str(host.path))
        assert ran.code == 0, ran.err
        assert host.agent("verify").code == 0
        assert _listing(path) == before
        assert not (host.path / ".gitconfig").exists()
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def test_request_of_the_plugin_outranks_the_command_line(host: Host) -> None:
    request = {"id": "r-1", "action": "deploy", "revision": "v1.0.0", "trigger": "rpc"}

    ran = host.deploy("v1.1.0", RELEASE_AGENT_REQUEST=json.dumps(request))

    assert (ran.json["id"], ran.json["revision"]) == ("r-1", "v1.0.0")
    assert host.history()[0]["trigger"] == "rpc"


def test_usage_error_is_two_and_prints_no_json(host: Host) -> None:
    ran = host.agent("deploy", "--json", "--frobnicate")

    assert (ran.code, ran.out) == (2, "")


def test_secret_of_the_agent_shows_nowhere(host: Host) -> None:
    (host.path / "leak").write_text("hunter2-hunter2")
    host.configure(f'[hooks]\nbuild = [{{ run = "echo token=${{CONSUL_HTTP_TOKEN-}}; cat {host.path}/leak; exit 1" }}]')

    ran = host.deploy(CONSUL_HTTP_TOKEN="hunter2-hunter2")

    assert ran.code == 13
    assert "hunter2" not in ran.out + ran.err
    assert "token=\n" in host.agent("history", ran.json["id"], "--json").json["hooks"][0]["output"]
    assert b"hunter2" not in (host.root / ".release-agent" / "state.db").read_bytes()


@pytest.mark.parametrize("verb", ["deploy", "boot"])
def test_an_agent_that_the_owner_of_the_root_cannot_read_does_not_go_on_as_root(host: Host, tmp_path: Path, verb: str) -> None:
    host.root.mkdir()
    os.chown(host.root, _OTHER_USER, _OTHER_USER)
    installed = Path(release_agent.__file__).parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(installed, closed / "release_agent")

    done = subprocess.run(
        [_SYSTEM_PYTHON, "-m", "release_agent", verb, "--json"],
        env=host.environment | {"PYTHONPATH": f"{closed}:{installed.parent}", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip

    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (13, "user-not-changed")
    assert f"{_OTHER_USER}, who owns {host.root}" in error["message"]
    assert list(host.root.iterdir()) == []
