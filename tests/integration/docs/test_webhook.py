"""examples/webhook, run by gunicorn as its page says: pushes of GitHub, GitLab and Gitea, and other requests."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from support.environment import BIN, PROJECT, clean_environment
from support.servers import free_port
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KNOWN = "known to both"


class Hook:
    """A running web hook whose commands write down how they were called."""

    def __init__(self, place: Path, secret: str = KNOWN) -> None:
        self.port = free_port()
        self.done, self.log = place / "done", place / "log"
        self.done.touch()
        self.blocked = place / "blocked"
        (place / "secret").write_text(secret + "\n")
        self.note = note = place / "note"
        note.write_text(f'#!/bin/sh\nwhile [ -e {self.blocked} ]; do sleep 0.01; done\necho "$@" >> {self.done}\n')
        note.chmod(0o755)
        environment = clean_environment() | {
            "WEBHOOK_SECRET_FILE": str(place / "secret"),
            "WEBHOOK_FETCH": f"{note} fetch {{name}}",
            "WEBHOOK_DEPLOY": f"{note} deploy {{tag}}",
        }
        command = [BIN / "gunicorn", "--workers", "1", "--threads", "4", "--bind", f"127.0.0.1:{self.port}", "webhook:app"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=PROJECT / "examples" / "webhook", env=environment, stderr=log)
        eventually(lambda: self.push(b"{}", {}) == 403, "the web hook answers")

    def push(self, body: bytes, headers: dict[str, str]) -> int:
        """Post an event; returns the answer's status, 0 if there is none."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/push", body, {"Content-Type": "application/json", **headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def ran(self) -> list[str]:
        return self.done.read_text().splitlines()


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Hook]:
    made = Hook(tmp_path)
    yield made
    made.process.terminate()
    made.process.wait()


def signed(body: bytes, secret: str = KNOWN) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def event(name: object = "api", ref: object = "refs/tags/v1.2.0", after: object = "c0ffee", **more: object) -> bytes:
    """Return what GitHub and Gitea send, as far as it matters."""
    return json.dumps({"ref": ref, "after": after, "repository": {"name": name, "full_name": f"shop/{name}"}, **more}).encode()


def of_gitlab(path: object = "shop/backend/api") -> bytes:
    """Return what GitLab sends: there `name` is a title."""
    return event("The API", project={"name": "The API", "path_with_namespace": path})


@pytest.mark.parametrize("sender", ["GitHub", "GitLab", "Gitea"])
def test_push_of_a_tag_is_fetched_and_deployed(hook: Hook, sender: str) -> None:
    body = of_gitlab() if sender == "GitLab" else event()
    headers = {
        "GitHub": {"X-Hub-Signature-256": f"sha256={signed(body)}"},
        "GitLab": {"X-Gitlab-Token": KNOWN},
        "Gitea": {"X-Gitea-Signature": signed(body)},
    }[sender]

    assert hook.push(body, headers) == 202
    eventually(lambda: hook.ran() == ["fetch api", "deploy v1.2.0"], "both commands have run")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (event(), {}, 403),
        (event(), {"X-Hub-Signature-256": f"sha256={signed(event(), 'guessed')}"}, 403),
        (event(), {"X-Gitlab-Token": "guessed"}, 403),
        (event(), {"X-Gitlab-Token": "", "X-Gitea-Signature": ""}, 403),
        (event(ref="refs/heads/main"), {"X-Gitlab-Token": KNOWN}, 200),
        (event(after="0" * 40), {"X-Gitlab-Token": KNOWN}, 200),
        (event(name="../../etc"), {"X-Gitlab-Token": KNOWN}, 400),
        (event(ref="refs/tags/--force"), {"X-Gitlab-Token": KNOWN}, 400),
        (event(ref="refs/tags/v1; rm -rf"), {"X-Gitlab-Token": KNOWN}, 400),
        (b"no json", {"X-Gitlab-Token": KNOWN}, 400),
        (b"[]", {"X-Gitlab-Token": KNOWN}, 400),
        (b"[" * 100_000, {"X-Gitlab-Token": KNOWN}, 400),
        (b'{"ref": ' + b"1" * 5_000 + b"}", {"X-Gitlab-Token": KNOWN}, 400),
        (b"\xff", {"X-Gitlab-Token": KNOWN}, 400),
        (event(name=["api"]), {"X-Gitlab-Token": KNOWN}, 400),
        (event(ref=["refs/tags/v1"]), {"X-Gitlab-Token": KNOWN}, 200),
        (of_gitlab(path="shop/.."), {"X-Gitlab-Token": KNOWN}, 400),
        (of_gitlab(path=["shop/api"]), {"X-Gitlab-Token": KNOWN}, 400),
        (of_gitlab(path=""), {"X-Gitlab-Token": KNOWN}, 400),
        (b'{"repository": "api", "ref": "refs/tags/v1"}', {"X-Gitlab-Token": KNOWN}, 400),
        (b" " * (2 << 20), {"X-Gitlab-Token": KNOWN}, 413),
    ],
)
def test_what_is_no_push_of_a_tag_by_somebody_who_knows_the_secret_runs_nothing(
    hook: Hook, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert (hook.push(body, headers), hook.ran()) == (status, [])


def test_pushes_are_deployed_one_after_the_other_in_their_order(hook: Hook) -> None:
    """Otherwise the fleet would end with an older tag."""
    tags = [f"v1.{number}.0" for number in range(30)]
    hook.blocked.touch()
    for tag in tags:
        assert hook.push(event(ref=f"refs/tags/{tag}"), {"X-Gitlab-Token": KNOWN}) == 202
    hook.blocked.unlink()

    eventually(lambda: hook.ran() == [line for tag in tags for line in ("fetch api", f"deploy {tag}")], "all have run in order")


def test_command_that_is_not_there_is_in_the_log_and_later_pushes_go_on(hook: Hook) -> None:
    away = hook.note.with_name("away")
    hook.note.rename(away)
    assert hook.push(event(), {"X-Gitlab-Token": KNOWN}) == 202
    eventually(lambda: f"{hook.note} fetch api: [Errno 2] No such file" in hook.log.read_text(), "the log has it")
    away.rename(hook.note)

    assert hook.push(event(), {"X-Gitlab-Token": KNOWN}) == 202
    eventually(lambda: hook.ran() == ["fetch api", "deploy v1.2.0"], "both commands have run")


def test_secret_may_have_any_characters(tmp_path: Path) -> None:
    made = Hook(tmp_path, "gehört zu uns")
    answered = made.push(event(), {"X-Gitlab-Token": "gehört zu uns".encode().decode("latin-1")})
    made.process.terminate()
    made.process.wait()

    assert answered == 202


@pytest.mark.parametrize("secret", ["", "\n"])
def test_web_hook_with_an_empty_secret_does_not_start(tmp_path: Path, secret: str) -> None:
    (tmp_path / "secret").write_text(secret)
    settings = {"WEBHOOK_SECRET_FILE": str(tmp_path / "secret"), "WEBHOOK_FETCH": "", "WEBHOOK_DEPLOY": ""}

    refused = subprocess.run(
        [BIN / "gunicorn", "--check-config", "webhook:app"],
        cwd=PROJECT / "examples" / "webhook",
        env=clean_environment() | settings,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (refused.returncode != 0, "WEBHOOK_SECRET_FILE is empty" in refused.stderr) == (True, True), refused
