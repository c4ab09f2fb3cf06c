"""Deploy pushed tags: GitHub, GitLab and Gitea call this program when somebody pushes a tag.

The program refuses a push whose sender does not know the secret in WEBHOOK_SECRET_FILE. For other pushes of tags it runs the
commands WEBHOOK_FETCH and WEBHOOK_DEPLOY, with {name} and {tag} replaced. README.md beside this file has an example.
"""

import hashlib
import hmac
import os
import pathlib
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from flask import Flask, abort, request

app = Flask(__name__)
SECRET = pathlib.Path(os.environ["WEBHOOK_SECRET_FILE"]).read_text(encoding="utf-8").strip().encode()
if not SECRET:
    sys.exit("WEBHOOK_SECRET_FILE is empty: anybody would know the secret")
FETCH, DEPLOY = (shlex.split(os.environ[name]) for name in ("WEBHOOK_FETCH", "WEBHOOK_DEPLOY"))
LONGEST_BODY = 1 << 20  # bytes
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # of a repository or a tag: never an option or a path in a command
app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY
one_at_a_time = ThreadPoolExecutor(max_workers=1)  # and in their order: the last push decides what the fleet runs


def is_signed(body: bytes) -> bool:
    """Return whether the sender knows the secret. GitLab sends the secret itself, the others sign the body with it."""
    token = request.headers.get("X-Gitlab-Token", "").encode("latin-1")  # as WSGI decodes headers
    ours = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    theirs = request.headers.get("X-Hub-Signature-256", "").removeprefix("sha256=") or request.headers.get(
        "X-Gitea-Signature", ""
    )
    return hmac.compare_digest(token, SECRET) or hmac.compare_digest(theirs.encode(), ours.encode())


@app.post("/push")
def push() -> tuple[str, int]:
    """Deploy a pushed tag; answer other events, and ignore them."""
    if not is_signed(request.get_data()):
        abort(403)
    try:
        event = request.get_json(silent=True)
    except RecursionError:  # from deep nesting
        event = None
    if not isinstance(event, dict):
        abort(400)
    name, ref = name_of(event), text_of(event, "ref")
    tag = ref.removeprefix("refs/tags/")
    if tag == ref or set(text_of(event, "after")) == {"0"}:  # a branch, or a tag that was deleted
        return "no new tag\n", 200
    if not (NAME.fullmatch(name) and NAME.fullmatch(tag)):
        abort(400)
    one_at_a_time.submit(ship, name, tag)  # the sender waits at most ten seconds
    return f"{tag} of {name} is on its way\n", 202


def name_of(event: dict[str, object]) -> str:
    """Return the name of the repository in its address. GitLab's own "name" is a title, such as "My Shop"."""
    project, repository = event.get("project"), event.get("repository")
    if isinstance(project, dict):
        return text_of(project, "path_with_namespace").rpartition("/")[2]
    return text_of(repository, "name") if isinstance(repository, dict) else ""


def text_of(table: dict[str, object], key: str) -> str:
    """Return a text of the event, empty if it has none."""
    value = table.get(key)
    return value if isinstance(value, str) else ""


def ship(name: str, tag: str) -> None:
    """Fetch and deploy. The rollout refuses a tag until all repositories have it, so the last push deploys it."""
    for command in (FETCH, DEPLOY):
        words = [word.replace("{name}", name).replace("{tag}", tag) for word in command]
        try:
            ended = f"exit {subprocess.run(words, check=False).returncode}"
        except OSError as error:
            ended = str(error)
        app.logger.warning("%s: %s", shlex.join(words), ended)
        if ended != "exit 0":
            return
