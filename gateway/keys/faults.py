"""Why the seal keys cannot be used; drawn into the tree of gateway.model.errors."""

from __future__ import annotations

from edxml.messages import Language, text
from edxml.sign import SigningKeyInvalid
from gateway.model.errors import GatewayError

__all__ = ["KeysAway", "KeysDamaged", "KeysElsewhere", "KeysExposed", "KeysMissing", "KeysUnfit"]


class KeysMissing(GatewayError):
    """There are no keys in the folder, or that of the pair that seals now is gone. Parameters `path`, `folder`."""

    code = "keys.missing"


class KeysElsewhere(KeysMissing):
    """The keys in the folder are not the node's: its other machines have them. Parameters `folder`, `fingerprint`."""

    code = "keys.elsewhere"


class KeysExposed(GatewayError):
    """Others than the node's user may read a key. Parameters `path`, `mode`."""

    code = "keys.exposed"


class KeysDamaged(GatewayError):
    """Key and certificate cannot be read, or do not belong together. Parameters `folder`, `why`."""

    code = "keys.damaged"


class KeysUnfit(GatewayError):
    """A certificate is not valid when its key shall begin. Parameters `begins`, `valid_from`, `valid_until`."""

    code = "keys.unfit"


class KeysAway(GatewayError):
    """The token or HSM with the seal key does not sign now; nothing was sealed. Made with what the token said."""

    code = "keys.away"
    retryable = True

    def __init__(self, cause: SigningKeyInvalid) -> None:
        self.cause = cause
        super().__init__(why=cause.text(Language.EN))

    def text(self, language: Language) -> str:
        """What happened to the token and what to do, in `language`."""
        return text(self.code, language, {"why": self.cause.text(language)})
