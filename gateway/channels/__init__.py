"""Channels: a channel's row → its Source and Sink; who is reached how."""

from gateway.channels.echo import Echoed, EchoSink, EchoStatus, echo_kind
from gateway.channels.kinds import KINDS, Kind, Opened, Opener, forgets, name_fault
from gateway.channels.snapshot import Channels, ChannelUnreadable, ProfileUnreadable, RowFault, Snapshot
from gateway.store.channels import ChannelRow

__all__ = [
    "KINDS", "ChannelRow", "ChannelUnreadable", "Channels", "EchoSink", "EchoStatus", "Echoed", "Kind", "Opened",
    "Opener", "ProfileUnreadable", "RowFault", "Snapshot", "echo_kind", "forgets", "name_fault",
]  # fmt: skip
