"""examples/notifications: real receivers get the messages of an after_failure hook."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller

from release_agent.variables import Variable
from support.environment import PROJECT
from support.host import Host
from support.servers import answering, free_port
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TELL = PROJECT / "examples" / "notifications" / "tell"


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    made.repository.release("v1.0.0")
    made.start()
    assert made.deploy().code == 0
    yield made
    made.close()


@contextmanager
def web_hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Receive what is posted; yields the URL and the bodies."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/T0/secret", received
    server.shutdown()
    server.server_close()


OUTPUT = 'no "good"\\n <!channel> & all'


def fail(host: Host, told: str, output: str = OUTPUT, **environment: str) -> None:
    """Let a deployment fail after it was published; people are told by a command."""
    refuse = f"echo '{output}'; exit 3"
    host.configure(
        f"[hooks]\nafter_failure = [{{ run = '''{told}''', timeout = \"20s\" }}]\nafter_deploy = [{{ run = '''{refuse}''' }}]"
    )
    host.repository.release("v1.1.0")
    failed = host.deploy(**environment)
    assert failed.code == 20, failed
    assert failed.events("hook.ignored") == []


@pytest.mark.parametrize("form", ["slack", "json"])
def test_failure_is_posted_to_a_web_hook_whose_address_is_told_nowhere(host: Host, tmp_path: Path, form: str) -> None:
    place = tmp_path / "url"
    with web_hook() as (url, received):
        place.write_text(url + "\n")
        fail(host, f"python3 {TELL} {form} {place}")

    (body,) = received
    if form == "slack":
        assert body["text"].startswith("*api (test) on host-1: v1.1.0 rolled-back*\n")
        assert 'no "good"' in body["text"]
        assert "&lt;!channel&gt; &amp; all" in body["text"]
        assert "<" not in body["text"]  # what a hook says calls nobody
    else:
        assert (body["app"], body["revision"], body["outcome"], body["error_code"]) == (
            "api",
            "v1.1.0",
            "rolled-back",
            "hook-failed",
        )
        assert "<!channel> & all" in body["error"]
    assert "T0/secret" not in host.agent("history", "--json").out


def test_variables_of_others_are_not_posted(host: Host, tmp_path: Path) -> None:
    """RELEASE_COOKIE is the secret of an Elixir release."""
    place = tmp_path / "url"
    with web_hook() as (url, received):
        place.write_text(url)
        fail(host, f"python3 {TELL} json {place}", RELEASE_COOKIE="secret")

    ours = [variable for variable in Variable if variable.reader in ("hooks", "deploy.run")]
    assert received[0].keys() == {"commit_api", *(variable.removeprefix("RELEASE_").lower() for variable in ours)}


def test_message_to_a_channel_calls_nobody_and_is_short_enough_for_discord(host: Host, tmp_path: Path) -> None:
    place = tmp_path / "url"
    with web_hook() as (url, received):
        place.write_text(url)
        fail(host, f"python3 {TELL} slack {place}", "@everyone " + "x" * 3000)

    text = received[0]["text"]
    assert "@\u200beveryone" in text
    assert len(text) == 2000


@pytest.mark.parametrize(
    "held", ["example.org/T0/secret", "http://127.0.0.1:1/T0/secret\nmore", "http://agent:T0/secret@127.0.0.1/"]
)
def test_file_without_a_usable_url_is_told_and_its_content_is_not(host: Host, tmp_path: Path, held: str) -> None:
    place = tmp_path / "url"
    place.write_text(held)
    host.configure(f"[hooks]\nafter_failure = [{{ run = 'python3 {TELL} slack {place}' }}]\nafter_deploy = [{{ run = 'false' }}]")
    host.repository.release("v1.1.0")

    failed = host.deploy()

    (ignored,) = failed.events("hook.ignored")
    assert f"tell: {place} has no URL" in ignored["why"]
    assert "T0/secret" not in failed.err


def test_web_hook_that_leads_elsewhere_is_no_receiver(host: Host, tmp_path: Path) -> None:
    """A redirected POST would become a GET without the message."""
    place = tmp_path / "url"
    with answering(200) as (elsewhere, others), answering(302, Location=f"{elsewhere}/T0/secret") as (url, asked):
        place.write_text(url)
        host.configure(
            f"[hooks]\nafter_failure = [{{ run = 'python3 {TELL} slack {place}' }}]\nafter_deploy = [{{ run = 'false' }}]"
        )
        host.repository.release("v1.1.0")
        failed = host.deploy()

    (ignored,) = failed.events("hook.ignored")
    assert ("HTTP Error 302" in ignored["why"], len(asked), others) == (True, 1, [])


def test_failure_is_mailed(host: Host) -> None:
    mails: list[Any] = []

    class Receiver:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
            mails.append(envelope)
            return "250 OK"

    server = Controller(Receiver(), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        fail(host, f"python3 {TELL} mail 127.0.0.1:{server.port} agent@example.org team@example.org")
        eventually(lambda: mails)
    finally:
        server.stop()
    assert mails[0].rcpt_tos == ["team@example.org"]
    text = mails[0].content.decode()
    assert "Subject: api (test) on host-1: v1.1.0 rolled-back" in text
    assert "code: hook-failed" in text


def test_receiver_that_is_away_does_not_count(host: Host, tmp_path: Path) -> None:
    place = tmp_path / "url"
    place.write_text(f"http://127.0.0.1:{free_port()}/")
    host.configure(f"[hooks]\nafter_failure = [{{ run = 'python3 {TELL} slack {place}' }}]\nafter_deploy = [{{ run = 'false' }}]")
    host.repository.release("v1.1.0")

    failed = host.deploy()

    assert (failed.code, len(failed.events("hook.ignored"))) == (20, 1)
