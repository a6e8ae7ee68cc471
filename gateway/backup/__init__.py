"""Backup and restore (sao lưu, khôi phục): the whole node as it was at one moment, in a folder of its own.

    <destination>/
        truc-backup.json                 whose backups these are
        blobs/ab/<digest>                packets, once each, for all generations
        generations/20261127T081500Z/    one moment: truc.db or truc.dump, blobs.txt, trust/, manifest.json, SHA256SUMS
        generations/20261127T091500Z.part    a backup that was not finished: never taken for one

    <destination of keys>/20261127T081500Z/    0700: the seal keys, apart from what they sealed

A generation is whole once it has its name: everything in it, and every blob that it lists, is on disk by then.
"""

from gateway.backup.beside import Beside, restore_beside
from gateway.backup.doubting import Begun, begin_recovery
from gateway.backup.faults import BackupDamaged
from gateway.backup.making import Backup, make_backup
from gateway.backup.restoring import Checked, Restored, check_backup, check_empty, is_unfinished, restore
from gateway.backup.shape import Manifest, Tell, generations, read_manifest
from gateway.backup.unknown import UnknownPacket, find_unknown

__all__ = [
    "Backup", "BackupDamaged", "Begun", "Beside", "Checked", "Manifest", "Restored", "Tell", "UnknownPacket",
    "begin_recovery", "check_backup", "check_empty", "find_unknown", "generations", "is_unfinished", "make_backup",
    "read_manifest", "restore", "restore_beside",
]  # fmt: skip
