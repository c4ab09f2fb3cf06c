"""The recipes of docs/guides/hooks.md build once, and the restored outputs work in the live release."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING

from support.markdown import page

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host, Ran

PAGE = page("docs/guides/hooks.md")
GREETING = "greeting-1.0-py3-none-any.whl"


def example(title: str, language: str) -> str:
    """Return the only example of a language under a heading of the page."""
    (text,) = PAGE.section(title).examples(language)
    return text


def deploy(host: Host, tag: str, files: dict[str, str | bytes], program: str = "") -> Ran:
    """Deploy a version with these files, one of them a program."""
    host.configure(service="", health='[health]\nstable_for = "0s"\n')
    for name, content in files.items():
        place = host.repository.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    if program:
        (host.repository.path / program).chmod(0o755)
    host.repository.commit({"version": tag}, tag=tag)
    ran = host.deploy(tag, HOME=str(host.path))
    assert ran.code == 0, ran.err
    return ran


def printed(host: Host, *command: str) -> str:
    """Return what a command prints that runs in the live release."""
    return subprocess.run(command, cwd=host.root / "current", check=True, capture_output=True, text=True).stdout


def npm_files() -> dict[str, str | bytes]:
    """Return an application with one package, which comes from no registry."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        contents = {"package.json": '{"name": "greeting", "version": "1.0.0"}', "index.js": 'module.exports = "hello"'}
        for name, text in contents.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
    application = {"name": "app", "version": "1.0.0", "dependencies": {"greeting": "file:greeting.tgz"}}
    installed = {"version": "1.0.0", "resolved": "file:greeting.tgz", "integrity": integrity}
    lock = {**application, "lockfileVersion": 3, "packages": {"": application, "node_modules/greeting": installed}}
    return {
        "package.json": json.dumps(application),
        "package-lock.json": json.dumps(lock),
        "greeting.tgz": packed.getvalue(),
        "release.toml": example("npm", "toml"),
    }


def test_npm_installs_once(host: Host) -> None:
    first = deploy(host, "v2.0.0", npm_files())
    second = deploy(host, "v2.1.0", {})

    assert (len(first.events("hook.cached")), len(second.events("hook.cached"))) == (0, 1)
    assert printed(host, "node", "-p", "require('greeting')") == "hello\n"
    assert host.agent("verify").code == 0
    third = deploy(host, "v2.2.0", {".npmrc": "fund=false\n"})
    assert third.events("hook.cached") == []


def wheel(place: Path) -> bytes:
    """Return a package for pip."""
    about = "greeting-1.0.dist-info"
    files = {
        "greeting.py": "import sys\nif __name__ == '__main__':\n    print('hello from', sys.prefix)\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\ngreet = greeting:main\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{about}/RECORD"))
    with zipfile.ZipFile(place, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return place.read_bytes()


def test_virtual_environment_is_made_once_and_moves(host: Host) -> None:
    files: dict[str, str | bytes] = {
        GREETING: wheel(host.path / GREETING),
        "requirements.txt": f"./{GREETING}\n",
        "make-environment": example("A virtual environment", "sh"),
        "release.toml": example("A virtual environment", "toml"),
    }
    first = deploy(host, "v2.0.0", files, program="make-environment")
    deploy(host, "v2.1.0", {})
    second = deploy(host, "v2.2.0", {})

    assert (first.events("cache.skipped"), len(second.events("hook.cached"))) == ([], 1)
    # The release that it was made in is of no importance to it.
    said = printed(host, str(host.root / "current/.venv/bin/python"), "-m", "greeting")
    assert said == f"hello from {host.root}/current/.venv\n"
    assert host.agent("verify").code == 0


# Imports what its environment has when it is asked.
LATE = """\
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        import greeting
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.path.relpath(greeting.__file__, os.getcwd()).partition("/")[0].encode())
    log_message = print
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""


def test_process_of_a_virtual_environment_imports_late_what_its_own_release_has(cold_host: Host) -> None:
    """Between the swap and its end it serves requests beside a release that may lack the package."""
    host = cold_host
    (python,) = re.findall(r"`command=(.*) -m gunicorn app:app`", PAGE.section("A virtual environment").text)
    command = f"{python.replace('/srv/app', str(host.root))} server.py"
    host.services = [
        f'[program:web]\ncommand={command}\ndirectory={host.root}/current\nenvironment=PORT="{host.port}"\nautostart=false'
    ]
    host.start()
    service, gate = '[[service]]\nname = "web"\n', f'after_publish = [{{ run = "{host.gate("published")}" }}]\n'
    toml = example("A virtual environment", "toml")
    files: dict[str, str | bytes] = {
        GREETING: wheel(host.path / GREETING),
        "requirements.txt": f"./{GREETING}\n",
        "make-environment": example("A virtual environment", "sh"),
        "release.toml": f"{toml}\n{service}",
        "server.py": LATE,
    }
    deploy(host, "v2.0.0", files, program="make-environment")
    host.repository.commit({"requirements.txt": "", "release.toml": f"{toml}\n{gate}{service}"}, tag="v2.1.0")

    run = host.begin("deploy", "--json", HOME=str(host.path))
    host.reached("published")
    served = host.serves()
    host.open("published")

    assert (served, run.wait()) == (".venv", 0)


def test_virtual_environment_with_scripts_that_would_not_work_elsewhere_is_not_kept(host: Host) -> None:
    files: dict[str, str | bytes] = {
        GREETING: wheel(host.path / GREETING),
        "requirements.txt": f"./{GREETING}\n",
        "make-environment": example("A virtual environment", "sh").replace("find ", ": "),
        "release.toml": example("A virtual environment", "toml"),
    }
    ran = deploy(host, "v2.0.0", files, program="make-environment")

    assert ["which is gone when the release is live" in event["why"] for event in ran.events("cache.skipped")] == [True]


def test_assets_are_compiled_once(host: Host) -> None:
    compiler = "#!/bin/sh -e\nmkdir -p public/assets\ncat assets/*.css | tr -d '\\n' > public/assets/all.css\n"
    files: dict[str, str | bytes] = {
        "assets/a.css": "a {}\n",
        "assets/b.css": "b {}\n",
        "public/index.html": "<p>",
        "compile-assets": compiler,
        "release.toml": example("Compiled assets", "toml"),
    }
    deploy(host, "v2.0.0", files, program="compile-assets")
    second = deploy(host, "v2.1.0", {})
    made = printed(host, "cat", "public/assets/all.css")
    third = deploy(host, "v2.2.0", {"assets/c.css": "c {}\n"})
    fourth = deploy(host, "v2.3.0", {"compile-assets": f"{compiler}: newer\n"}, program="compile-assets")

    assert (len(second.events("hook.cached")), made) == (1, "a {}b {}")
    assert third.events("hook.cached") == fourth.events("hook.cached") == []
    assert printed(host, "cat", "public/assets/all.css") == "a {}b {}c {}"
