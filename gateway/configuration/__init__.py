"""Configuration: who exists, who calls and how each agency is reached, as one file ↔ rows.

`truc apply FILE.toml` makes the rows what the file says (idempotent, with a dry run that shows the difference);
`truc export` gives a file back that would change nothing.  Tokens are in no file.
"""

from gateway.configuration.changes import Change, ChangeKind, Noun
from gateway.configuration.entries import ChannelEntry, Configuration, SystemEntry
from gateway.configuration.export import export
from gateway.configuration.faults import ConfigurationInvalid
from gateway.configuration.file import decode, parse, read
from gateway.configuration.make import PROFILES, apply, diff, init_rows

__all__ = [
    "PROFILES", "Change", "ChangeKind", "ChannelEntry", "Configuration", "ConfigurationInvalid", "Noun", "SystemEntry",
    "apply", "decode", "diff", "export", "init_rows", "parse", "read",
]  # fmt: skip
