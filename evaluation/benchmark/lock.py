"""Locks between processes that vanish with the process that holds them.

``flock`` on Unix (through the server on NFS, so it also holds between machines), ``msvcrt.locking`` on Windows. Where
a file system knows no locks, ``acquire`` succeeds without one and ``is_real`` is False: two runs at once then do the
same work twice, and the files of the later one stay, each still whole.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


class FileLock:
    """One lock, named by a file. The file is made when it is taken and goes when it is given back; one that a killed
    process left behind locks nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_real = True
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Takes it at once, or returns False when another process (or another lock of this one) has it.

        Raises OSError when the file cannot be made.
        """
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(handle)
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    self.is_real, self._handle = False, handle
                    return True
                os.close(handle)
                if error.errno in _TAKEN:
                    return False
                raise
            if self._still_names(handle):
                self._handle = handle
                return True
            os.close(handle)  # its last holder removed the file between our opening and locking it

    def release(self) -> None:
        """Gives it back. Does nothing when it is not held."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(handle)
            _unlink(self.path)
        else:  # removed while it is locked: nobody can have taken it in between
            _unlink(self.path)
            os.close(handle)

    def _still_names(self, handle: int) -> bool:
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            return False
        ours = os.fstat(handle)
        return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)


def _unlink(path: Path) -> None:
    try:
        os.unlink(path)
    except OSError:  # a left-over file locks nothing
        return


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
