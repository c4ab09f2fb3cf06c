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
import threading

from flask import Flask, abort, request

app = Flask(__name__)
SECRET = pathlib.Path(os.environ["WEBHOOK_SECRET_FILE"]).read_text(encoding="utf-8").strip().encode()
if not SECRET:
    sys.exit("WEBHOOK_SECRET_FILE is empty: anybody would know the secret")
FETCH, DEPLOY = os.environ["WEBHOOK_FETCH"], os.environ["WEBHOOK_DEPLOY"]
LONGEST_BODY = 1 << 20  # bytes
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # of a repository or a tag: never an option or a path in a command
app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY
one_at_a_time = threading.Lock()


def is_signed(body: bytes) -> bool:
    """Return whether the sender knows the secret. GitLab sends the secret itself, the others sign the body with it."""
    token = request.headers.get("X-Gitlab-Token", "")
    ours = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    theirs = request.headers.get("X-Hub-Signature-256", "").removeprefix("sha256=") or request.headers.get(
        "X-Gitea-Signature", ""
    )
    return hmac.compare_digest(token.encode(), SECRET) or hmac.compare_digest(theirs.encode(), ours.encode())


@app.post("/push")
def push() -> tuple[str, int]:
    """Deploy a pushed tag; answer other events, and ignore them."""
    if not is_signed(request.get_data()):
        abort(403)
    event = request.get_json(silent=True)
    if not isinstance(event, dict):
        abort(400)
    repository = event.get("repository") or event.get("project")
    name = str(repository.get("name", "")) if isinstance(repository, dict) else ""
    ref = str(event.get("ref", ""))
    tag = ref.removeprefix("refs/tags/")
    if tag == ref or set(str(event.get("after", ""))) == {"0"}:  # a branch, or a tag that was deleted
        return "no new tag\n", 200
    if not (NAME.fullmatch(name) and NAME.fullmatch(tag)):
        abort(400)
    threading.Thread(target=ship, args=(name, tag)).start()  # the sender waits at most ten seconds
    return f"{tag} of {name} is on its way\n", 202


def ship(name: str, tag: str) -> None:
    """Fetch and deploy. The rollout refuses a tag until all repositories have it, so the last push deploys it."""
    with one_at_a_time:
        for command in (FETCH, DEPLOY):
            words = [word.format(name=name, tag=tag) for word in shlex.split(command)]
            done = subprocess.run(words, check=False)
            app.logger.warning("%s: exit %s", shlex.join(words), done.returncode)
            if done.returncode:
                return
