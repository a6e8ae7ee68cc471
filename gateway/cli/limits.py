"""What settings and channels must agree on, before a process starts."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from adapters.contract import AdapterError
from gateway.channels import forgets
from gateway.model.errors import NotFound, SettingFault, SettingsWrong
from gateway.node import Node
from gateway.settings import Settings

__all__ = ["check_time_limit"]


def check_time_limit(node: Node, settings: Settings) -> None:
    """Raises SettingsWrong where a channel remembers its keys for no longer than a delivery may take (rule 5)."""
    faults = []
    limit = timedelta(days=settings.time_limit_days)
    for channel_id in node.channels.snapshot().by_id:
        with suppress(AdapterError, NotFound):  # what is wrong with it is told elsewhere
            if (days := forgets(node.channels.opened(channel_id), limit)) is not None:
                params = {"name": "TRUC_TIME_LIMIT_DAYS", "channel": channel_id, **days}
                faults.append(SettingFault(code="settings.time_limit", params=params))
    if faults:
        raise SettingsWrong(faults)
