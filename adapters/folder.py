"""The `folder` channel (kênh thư mục): an agency whose software exchanges files.

    channel = open_folder({"root": "/srv/truc/H99.16"}, "kenh-16")
    channel.sink     hands packets over into <root>/den
    channel.source   takes packets from <root>/di, and refusals from <root>/den/tra-lai

The folders are drawn in `adapters.folder_layout`; why nothing is lost or doubled is said in `folder_sink` (out)
and `folder_source` (in); the guide for operators is docs/guides/channels/folder.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from adapters.contract import Probe
from adapters.folder_ignored import Ignored, find_ignored
from adapters.folder_layout import FolderFault, FolderLayout
from adapters.folder_sink import FolderSink
from adapters.folder_slot import FolderSlot
from adapters.folder_source import FolderSource
from adapters.folder_watch import FolderWatch, watch
from adapters.settings import SettingsReader

__all__ = ["SETTINGS", "FolderChannel", "FolderFault", "open_folder"]

SETTINGS: Mapping[str, object] = {
    "root": "",
    "settle": 2.0,
    "sending_limit": 60.0,
    "settle_time": 5.0,
    "remember_days": 120,
    "unpack": False,
    "file_mode": "0660",
}
"""Every setting of the channel with its default. Times in seconds; `root` has none and must be given."""

_LEAST_REMEMBERED = 31
_PATIENCE = 10.0  # seconds for a look; a folder that needs longer to be tidied is tidied all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderChannel:
    """One agency's folder in both directions."""

    sink: FolderSink
    source: FolderSource
    remember: timedelta
    upkeep: FolderSlot  #: for what is not a hand-over, and must not keep one from going on

    def watch(self, on_change: Callable[[], None]) -> FolderWatch:
        """Call `on_change` soon after something new may be in `di` or `den/tra-lai`: a hint beside the scan."""
        return watch(self.sink.layout, on_change)

    def look(self) -> Probe:
        """Whether a packet could be handed over now, as far as that shows without writing anything; see `probe`."""
        try:
            fault = self.upkeep.run(self.sink.layout.look, _PATIENCE)
        except FolderFault as hangs:
            fault = hangs
        if fault is not None:
            return Probe(usable=False, reason=fault.reason, detail=str(fault.params["why"]))
        return Probe(usable=True, detail=str(self.sink.layout.root))

    def ignored(self, most: int) -> Ignored:
        """What lies in the folder and is never taken, at most `most` by name. Raises FolderFault."""
        return self.upkeep.run(lambda: find_ignored(self.sink.layout, most), _PATIENCE)

    def tidy(self) -> int:
        """Drop what `.truc` need not remember any more; for the periodic job. Gives the number of files."""
        return self.upkeep.run(lambda: self.sink.forget(self.remember), _PATIENCE)


def open_folder(settings: Mapping[str, object], channel_id: str) -> FolderChannel:
    """The channel as configured. Touches no disk: a folder that is not there shows in `probe` and in outcomes.

    Raises SettingWrong on unknown, missing or wrong settings: the first, with the others in its `also`.
    """
    reader = _Settings(settings, SETTINGS, channel_id)
    layout = FolderLayout(root=reader.root(), channel_id=channel_id, file_mode=reader.mode("file_mode"))
    remember = timedelta(days=reader.number("remember_days", least=_LEAST_REMEMBERED, most=3650))
    channel = FolderChannel(
        sink=FolderSink(
            layout=layout,
            slot=FolderSlot(layout.root),
            sending_limit=timedelta(seconds=reader.number("sending_limit", least=1, most=3600)),
            settle_time=timedelta(seconds=reader.number("settle_time", least=0, most=3600)),
            unpacks=reader.flag("unpack"),
        ),
        source=FolderSource(layout=layout, settle=reader.number("settle", least=0, most=3600)),
        remember=remember,
        upkeep=FolderSlot(layout.root),
    )
    reader.check()
    return channel


class _Settings(SettingsReader):
    """The settings that only folders have."""

    def root(self) -> Path:
        if self.raw("root") == "":
            self.note_missing("root", "setting.path")
        return self.path("root") or Path()

    def mode(self, name: str) -> int:
        value = self.raw(name)
        try:
            mode = int(value, 8) if isinstance(value, str) else -1
        except ValueError:
            mode = -1
        if not 0o400 <= mode <= 0o777:
            self.note(name, "setting.mode", value, '"0400" … "0777"')
        return mode
