"""Passwords in URLs: they appear in no output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.servers import free_port, refusing

if TYPE_CHECKING:
    from support.host import Host

PASSWORD, OTHER = "hunter2-of-supervisor", "hunter2-of-consul"
COMMANDS = [
    ["deploy", "--json"],
    ["deploy", "--force", "v1.0.0"],
    ["deploy", "--dry-run"],
    ["rollback"],
    ["boot"],
    ["status"],
    ["status", "--json"],
    ["releases"],
    ["pin", "v1.0.0"],
    ["unpin"],
    ["verify"],
    ["prune"],
    ["doctor"],
    ["doctor", "--json"],
    ["monitor"],
    ["rollout", "list"],
    ["history", "--json"],
]


def test_no_password_of_a_url_is_shown_or_kept_by_any_command(cold_host: Host) -> None:
    host, port = cold_host, free_port()
    host.services.append(f"[inet_http_server]\nport=127.0.0.1:{port}\nusername=bob\npassword={PASSWORD}")
    host.configure("[hooks]\nbuild = [{ run = 'env; echo $SUPERVISOR_SERVER_URL' }]", consul="enabled = true")
    for version in ("v1.0.0", "v1.1.0"):
        host.repository.release(version)
    host.start()
    with refusing() as closed:
        consul = f"http://bob:{OTHER}@{closed}"
        said = []
        for at in (f"127.0.0.1:{port}", closed, f"127.0.0.1:{host.port}"):
            for command in COMMANDS:
                url = f"http://bob:{PASSWORD}@{at}"
                ran = host.agent(*command, SUPERVISOR_SERVER_URL=url, CONSUL_HTTP_ADDR=consul)
                said.append(ran.out + ran.err)
                if at.endswith(str(port)) and command[0] == "deploy":
                    assert ran.code == 0, ran.err
        said += [host.agent("history", entry["id"]).out for entry in host.history()]

    kept = [path.read_bytes() for path in (host.root / ".release-agent").rglob("*") if path.is_file()]

    assert [words for words in said if PASSWORD in words or OTHER in words] == []
    assert kept
    assert [content for content in kept if PASSWORD.encode() in content or OTHER.encode() in content] == []
