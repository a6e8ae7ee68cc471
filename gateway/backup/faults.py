"""What keeps a backup from being used; drawn into the tree of gateway.model.errors."""

from __future__ import annotations

from gateway.model.errors import StoreError

__all__ = ["BackupDamaged"]


class BackupDamaged(StoreError):
    """A file of a backup is missing or is not what was written. Parameter `file`: which."""

    code = "backup.damaged"
