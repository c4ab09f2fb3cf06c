"""Draw the root directory: its entries, and who may remove them."""

from __future__ import annotations

from svg import Picture

_NEW, _OLD = "000042-1f3c9ab2d4e5", "000041-9c07d1e6a3b8"
_TITLE = "The root directory"
_DESCRIPTION = f"""The root directory, for example /srv/app, has four entries. current is a link to the live release, such as
releases/{_NEW}; services run from it. releases has one directory per release: the live one, the previous one, which a rollback
publishes, and older ones, up to [app] keep. shared has files that outlive a release, such as uploads and databases. Each release
has links to them. Only the agent writes to .release-agent. It has the lock, the journal state.db, the description of each
release, and files that the agent can make again: unfinished releases, parked ones, and the outputs of build hooks."""


def draw() -> str:
    """Return the picture."""
    picture = Picture(330, _TITLE, _DESCRIPTION)
    picture.text(20, 34, "/srv/app/", "mono")
    for middle in (73, 139, 205, 279):
        picture.arrow((32, 42), (32, middle), (53, middle))
    picture.card("step", (54, 50, 206, 46), "current", "a link, swapped by one rename")
    picture.card("zone", (54, 116, 206, 46), "releases/", "the agent writes, services read")
    picture.card("zone", (54, 182, 206, 46), "shared/", "your data: back it up")
    picture.card("zone", (54, 248, 206, 62), ".release-agent/", "the agent's own", "state.db: back it up")
    picture.arrow((260, 73), (420, 73), (420, 92))
    picture.card("good", (330, 94, 220, 46), f"{_NEW}/", "live")
    picture.card("plain", (560, 94, 220, 46), f"{_OLD}/", "rollback goes here")
    picture.arrow((260, 139), (295, 139), (295, 117), (328, 117))
    picture.arrow((440, 140), (440, 204), (262, 204))
    picture.text(452, 172, "links of [shared] into it", "")
    picture.card("plain", (330, 248, 140, 62), "lock, state.db", "one run at a time,", "the history")
    picture.card("plain", (485, 248, 140, 62), "releases/*.json", "description of", "each release")
    picture.card("plain", (640, 248, 140, 62), "incoming, parked", "cache: made", "again if lost")
    picture.arrow((260, 279), (328, 279))
    return picture.svg()
