"""Make people with SSH keys, who sign tags."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from support.repositories import Repository


class Signer:
    """A person with a key."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.key = directory / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.key], check=True)

    @property
    def line(self) -> str:
        """Return the line of an allowed_signers file that allows this signer."""
        return f"{self.name}@example.org {self.key.with_suffix('.pub').read_text()}"

    def sign(self, repo: Repository, tag: str, *options: str) -> str:
        """Make a signed tag; returns the tag object's id."""
        how = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={self.key}"]
        repo.git(*how, "tag", "--sign", "--message", f"release {tag}", *options, tag)
        return repo.git("rev-parse", f"refs/tags/{tag}")
