"""The ground of an agency's folder: it is a stranger's, so everything in it is opened by handle and never by a path.

    with open_ground(root) as ground:
        di = ground.place("di")            a folder, opened beneath its parent's handle
        handle = di.open("a.edxml")        a regular file, opened without waiting

Whoever may write in the folder may put a link, a pipe, a device or a socket under any name, and change it between two
calls of ours.  So no link is followed, no open waits, and what was opened is asked for its kind before it is used:
anything else is OddThing.  What is made, moved or removed is named by the handle of its folder and one name.

No other module opens, moves or removes anything in an agency's folder.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

__all__ = ["Ground", "OddThing", "Place", "folder_mode", "open_ground"]

_SAFE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_AS_PLACE: Final = os.O_RDONLY | os.O_DIRECTORY | _SAFE
_NOT_A_PLACE: Final = frozenset({errno.ENOTDIR, errno.ELOOP})
_NO_MODES: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})


class OddThing(OSError):
    """Something else stands where a folder or a regular file belongs: a link, a pipe, a device, a socket.

    `strerror` is its place under the root.
    """

    def __init__(self, where: str) -> None:
        super().__init__(errno.EINVAL, where or ".")


def folder_mode(file_mode: int) -> int:
    """The mode of a folder for files of this one: the group that may read them works in it, others who may look."""
    return 0o700 | (0o070 if file_mode & 0o040 else 0) | (0o005 if file_mode & 0o004 else 0)


class Place:
    """One folder of the ground, by its handle. Every `name` is one name in it, never a path."""

    def __init__(self, handle: int, where: str) -> None:
        """`where`: its path under the root, for people; "" is the root itself."""
        self.handle = handle
        self.where = where

    def named(self, name: str) -> str:
        """Where `name` lies, for people."""
        return f"{self.where}/{name}" if self.where else name

    def status(self, name: str) -> os.stat_result | None:
        """What `name` is, itself and not what it links to. Only "no such file" is None: any other fault is raised."""
        try:
            return os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def has(self, name: str) -> bool:
        """Whether anything has this name."""
        return self.status(name) is not None

    def is_file(self, name: str) -> bool:
        """Whether a regular file has this name."""
        status = self.status(name)
        return status is not None and stat.S_ISREG(status.st_mode)

    @contextmanager
    def entries(self) -> Iterator[Iterator[os.DirEntry[str]]]:
        """What lies in it; an entry's `stat` must not follow links."""
        with os.scandir(self.handle) as found:
            yield found

    # --- folders in it -------------------------------------------------------------------------------------------

    def open_place(self, name: str) -> Place:
        """The folder `name`; close it. Raises FileNotFoundError, OddThing."""
        try:
            return Place(os.open(name, _AS_PLACE, dir_fd=self.handle), self.named(name))
        except OSError as why:
            if why.errno in _NOT_A_PLACE:
                raise OddThing(self.named(name)) from why
            raise

    def make_place(self, name: str, mode: int) -> None:
        """Make the folder `name` with this mode, whatever the process's umask; its group bit (setgid) is kept.

        Raises FileExistsError.
        """
        os.mkdir(name, mode, dir_fd=self.handle)
        made = self.open_place(name)
        try:
            now = os.fstat(made.handle).st_mode
            if now & 0o777 != mode:
                set_mode(made.handle, mode | now & 0o7000)
        finally:
            made.close()

    def drop_place(self, name: str) -> None:
        """Remove the folder `name` with the files in it. Safe to repeat; what lies deeper is nobody's of ours."""
        try:
            inner = self.open_place(name)
        except FileNotFoundError:
            return
        try:
            with inner.entries() as found:
                names = [entry.name for entry in found]
            for each in names:
                inner.remove(each)
        finally:
            inner.close()
        os.rmdir(name, dir_fd=self.handle)

    # --- files in it ---------------------------------------------------------------------------------------------

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """A handle of the regular file `name`. Raises FileNotFoundError, OddThing."""
        status = os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):  # asked before: opening a device may already do something
            raise OddThing(self.named(name))
        try:
            handle = os.open(name, flags | _SAFE, dir_fd=self.handle)
        except OSError as why:
            if why.errno in (errno.ELOOP, errno.ENXIO):
                raise OddThing(self.named(name)) from why
            raise
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OddThing(self.named(name))
        return handle

    def read(self, name: str, most: int) -> bytes:
        """The first `most` bytes of the regular file `name`. Raises as `open`."""
        with open(self.open(name), "rb") as stream:
            return stream.read(most)

    def create(self, name: str, mode: int) -> int:
        """A handle to write the new file `name`. Raises FileExistsError."""
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600, dir_fd=self.handle)
        set_mode(handle, mode)
        return handle

    def touch(self, name: str) -> None:
        """An empty file of this name, as young as now; one that is there keeps what is in it."""
        try:
            os.close(self.create(name, 0o600))
        except FileExistsError:
            os.utime(name, dir_fd=self.handle, follow_symlinks=False)

    def write(self, name: str, content: bytes, mode: int) -> None:
        """Write the new file `name`, durably but for its name. Raises FileExistsError."""
        with open(self.create(name, mode), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())

    def move(self, name: str, target: Place, new_name: str) -> None:
        """Rename, replacing what is there: one step of the file system."""
        os.rename(name, new_name, src_dir_fd=self.handle, dst_dir_fd=target.handle)

    def link(self, name: str, new_name: str) -> None:
        """Give the file a second name, never replacing. Raises FileExistsError."""
        os.link(name, new_name, src_dir_fd=self.handle, dst_dir_fd=self.handle, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a name that is no folder. Safe to repeat."""
        try:
            os.unlink(name, dir_fd=self.handle)
        except FileNotFoundError:
            return

    # --- the folder itself ---------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Make its names durable. File systems that cannot sync a folder (SMB) are taken as they are."""
        try:
            os.fsync(self.handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise

    def check_access(self) -> None:
        """Raises OSError where this process may not read, write and enter it, or its file system is read-only."""
        if os.statvfs(self.handle).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not os.access(".", os.R_OK | os.W_OK | os.X_OK, dir_fd=self.handle, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def close(self) -> None:
        """Let go of the handle."""
        os.close(self.handle)


class Ground:
    """The places of one folder, each opened when it is first asked for and held until the ground is closed."""

    def __init__(self, root: Place, held: ExitStack) -> None:
        self.root = root
        self._held = held
        self._places = {"": root}

    def place(self, where: str, *, make: int | None = None) -> Place:
        """The folder at `where`, a path of plain names under the root; "" is the root.

        `make`: the mode with which what is missing of it is made.  Raises FileNotFoundError, OddThing.
        """
        found = self._places.get(where)
        if found is None:
            above, _, name = where.rpartition("/")
            parent = self.place(above, make=make)
            if make is not None and not parent.has(name):
                try:
                    parent.make_place(name, make)
                except FileExistsError:  # another process makes it too
                    pass
            found = self._places[where] = parent.open_place(name)
            self._held.callback(found.close)
        return found


@contextmanager
def open_ground(root: Path) -> Iterator[Ground]:
    """The folder at `root`, which is never made and must be no link: a share that is not mounted must look missing.

    Raises FileNotFoundError, OddThing and what else the system refuses.
    """
    with ExitStack() as held:
        try:
            handle = os.open(root, _AS_PLACE)
        except OSError as why:
            if why.errno in _NOT_A_PLACE:
                raise OddThing("") from why
            raise
        top = Place(handle, "")
        held.callback(top.close)
        yield Ground(top, held)


def set_mode(handle: int, mode: int) -> None:
    """Set a mode where the file system has modes, and this process may."""
    try:
        os.fchmod(handle, mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise
