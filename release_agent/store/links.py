"""The link ``current``, and the link that is made beforehand for the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed
from release_agent.store.files import unused_name
from release_agent.system.disk import explained, remove, require_directory, sync_directory, unusable

if TYPE_CHECKING:
    from pathlib import Path


class CurrentLink:
    """``<root>/current``, which names the live release."""

    def __init__(self, path: Path, back: Path, incoming: Path) -> None:
        """``back``: the link that is kept for the way back; ``incoming``: where links are made."""
        self.path = path
        self._back = back
        self._incoming = incoming
        self._ready: Path | None = None

    def name(self) -> str | None:
        """Return the name of the release that it names, or None."""
        return _target(self.path)

    def require_link(self) -> None:
        """Raise Failed (root-unusable) if something else lies in its place."""
        if self.path.exists() and not self.path.is_symlink():
            raise Failed(
                Code.ROOT_UNUSABLE,
                f"{self.path} is not a symlink; the agent would have to replace it",
                hint="move it away: the agent makes `current` itself",
            )

    def prepare(self, name: str) -> None:
        """Make the link to a release before that is made durable, so that the link is durable, too, when it is renamed.

        Raises Failed (disk-full, build-failed).
        """
        self.forget()
        with explained(self._incoming):
            self._ready = self._made("current", name)

    def forget(self) -> None:
        """Remove the link that was prepared and is not needed; raises OSError."""
        if self._ready:
            self._ready.unlink(missing_ok=True)
        self._ready = None

    def publish(self, release: Path) -> None:
        """Swap it by rename(2): at every instant it names a complete release. Raises Failed (root-unusable, disk-full)."""
        self.require_link()  # a hook may have put a directory there
        try:
            require_directory(release)
            self._to(release.name).replace(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            raise unusable(self.path, error) from error

    def prepare_return(self, name: str) -> None:
        """Make the link to a release beforehand, so that publishing it again takes one rename(2) and no inode or block.

        Raises Failed (disk-full, root-unusable).
        """
        if _target(self._back) == name:
            return
        with explained(self._back):
            if not self._back.is_symlink():
                remove(self._back)
            self._made("back", name).replace(self._back)

    def _to(self, name: str) -> Path:
        """Return a link to a release: one that was made beforehand, or a new one."""
        prepared = [link for link in (self._back, self._ready) if link and _target(link) == name]
        return prepared[0] if prepared else self._made("current", name)

    def _made(self, what: str, name: str) -> Path:
        fresh = unused_name(self._incoming, what)
        fresh.symlink_to(f"releases/{name}")
        return fresh


def _target(link: Path) -> str | None:
    """Return the name of the release that a link names, or None."""
    try:
        target = link.readlink()
    except OSError:
        return None
    return target.name if target.parent.name == "releases" else None
