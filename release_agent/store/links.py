"""Replace the link ``current``, and prepare a link for a rollback."""

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
        """``back``: the prepared link for a rollback. ``incoming``: links are made in it."""
        self.path = path
        self._back = back
        self._incoming = incoming
        self._ready: Path | None = None

    def name(self) -> str | None:
        """Return the name of the live release, or None."""
        return _target(self.path)

    def require_link(self) -> None:
        """Raise Failed (root-unusable) if ``current`` is not a link."""
        if self.path.exists() and not self.path.is_symlink():
            raise Failed(
                Code.ROOT_UNUSABLE,
                f"{self.path} is not a symlink, and the agent does not replace it",
                hint="move it away: the agent makes the link `current`",
            )

    def prepare(self, name: str) -> None:
        """Make the link to a release before the release is made durable: the same sync makes the link durable.

        Raises Failed (disk-full, build-failed).
        """
        self.forget()
        with explained(self._incoming):
            self._ready = self._made("current", name)

    def forget(self) -> None:
        """Remove the unneeded prepared link; raises OSError."""
        if self._ready:
            self._ready.unlink(missing_ok=True)
        self._ready = None

    def publish(self, release: Path) -> None:
        """Swap the link by rename(2), so that it always names a complete release. Raises Failed (root-unusable, disk-full)."""
        self.require_link()  # a hook may have made a directory there
        try:
            require_directory(release)
            self._to(release.name).replace(self.path)
            sync_directory(self.path.parent.resolve())  # the root may be a link that a person has made
        except OSError as error:
            raise unusable(self.path, error) from error

    def prepare_return(self, name: str) -> None:
        """Prepare the link to a release, so that publishing it again takes only one rename(2), without an inode or a block.

        Raises Failed (disk-full, root-unusable).
        """
        if _target(self._back) == name:
            return
        with explained(self._back):
            if not self._back.is_symlink():
                remove(self._back)
            self._made("back", name).replace(self._back)

    def _to(self, name: str) -> Path:
        """Return a link to a release: a prepared one, or a new one."""
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
