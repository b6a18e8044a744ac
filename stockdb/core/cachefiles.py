"""Where a cache keeps its files: entries, temporary files, locks, counters."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from stockdb.core.entry import Entry, write
from stockdb.core.locks import try_lock
from stockdb.errors import ConfigurationError

__all__ = ["NOFOLLOW", "SUFFIX", "CacheFiles"]

NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
SUFFIX: Final = ".entry"


class CacheFiles:
    """The files below one directory, all private to this user.

    Parameters
    ----------
    directory : pathlib.Path
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.entries_folder = directory / "entries"
        self.temporary = directory / "tmp"
        self.locks = directory / "locks"
        self.counters = directory / "counters"

    def prepare(self) -> None:
        """Create what is missing; refuse what somebody else owns.

        Raises
        ------
        ConfigurationError
            The directory belongs to another user.
        OSError
            It cannot be created.
        """
        folders = (self.directory, self.entries_folder, self.temporary, self.locks, self.counters)
        for folder in folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and self.directory.stat().st_uid != os.getuid():
            raise ConfigurationError(
                f"The cache directory {str(self.directory)!r} belongs to another user.",
                remedy="Set MINIO_CACHE_DIR (or cache_dir) to a directory of your own.",
            )

    def path(self, name: str) -> Path:
        """Return where the entry of this name is."""
        return self.entries_folder / name[:2] / f"{name}{SUFFIX}"

    def entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Walk over all entries; those that vanish meanwhile are passed over."""
        with suppress(OSError):
            for folder in list(os.scandir(self.entries_folder)):
                with suppress(OSError), os.scandir(folder.path) as items:
                    for item in items:
                        if item.name.endswith(SUFFIX):
                            with suppress(OSError):
                                yield Path(item.path), item.stat(follow_symlinks=False)

    def publish(self, name: str, entry: Entry, *, accessed: float, validated: float) -> int:
        """Write an entry under a temporary name and move it into place in one step.

        Returns
        -------
        int
            Bytes written.
        """
        path = self.path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary: Path | None = self.temporary / f"{os.getpid()}-{secrets.token_hex(8)}"
        assert temporary is not None
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | NOFOLLOW
        descriptor = os.open(temporary, flags, 0o600)
        try:
            try_lock(descriptor)  # says that its writer lives, see `dead`
            nbytes = write(descriptor, entry.table, entry.metadata)
            os.utime(descriptor, ns=(int(accessed * 1e9), int(validated * 1e9)))
            os.replace(temporary, path)
            temporary = None
        finally:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)
            os.close(descriptor)
        return nbytes

    def dead(self) -> Iterator[Path]:
        """Temporary files whose writer is gone: nobody holds their lock."""
        with suppress(OSError):
            for path in list(self.temporary.iterdir()):
                with suppress(OSError):
                    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | NOFOLLOW)
                    try:
                        if try_lock(descriptor):
                            yield path
                    finally:
                        os.close(descriptor)

    def sweep(self) -> None:
        """Remove what dead writers left."""
        for path in self.dead():
            with suppress(OSError):
                os.unlink(path)
