"""Watch processes from inside supervisord's event loop."""

from __future__ import annotations

import contextlib
import os

from supervisor.medusa import asyncore_25 as asyncore


class PidWatch:
    """A dispatcher in supervisord's event loop for a pidfd, which is readable once the process has ended.

    Supervisord catches an exception of handle_read_event, and calls handle_error. It would end if another method raised.
    """

    def __init__(self, descriptor: int) -> None:
        """Join the loop; ``descriptor``: a pidfd, which this object closes."""
        self._descriptor = descriptor
        self._file = os.fstat(descriptor)
        asyncore.socket_map[descriptor] = self

    def readable(self) -> bool:
        """Return whether to wait for the descriptor; false if other code closed it, because the loop would spin."""
        if self._descriptor >= 0 and not self._is_own(self._descriptor):
            self.close()
        return self._descriptor >= 0

    def writable(self) -> bool:
        """Return False: a pidfd is not written to."""
        return False

    def handle_read_event(self) -> None:
        """Act on the process' end; called in each turn of the loop until close()."""
        raise NotImplementedError

    def handle_write_event(self) -> None:
        """Do nothing: a pidfd is not written to."""

    def handle_error(self) -> None:
        """Leave the loop rather than disturb it."""
        self.close()

    def close(self) -> None:
        """Leave the loop and close the descriptor, unless its number now belongs to another file."""
        descriptor, self._descriptor = self._descriptor, -1
        if asyncore.socket_map.get(descriptor) is self:
            del asyncore.socket_map[descriptor]
        if self._is_own(descriptor):
            with contextlib.suppress(Exception):
                os.close(descriptor)

    def _is_own(self, descriptor: int) -> bool:
        with contextlib.suppress(Exception):
            return os.path.samestat(os.fstat(descriptor), self._file)
        return False
