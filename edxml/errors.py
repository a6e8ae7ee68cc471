"""The root of all errors of the project, and the errors of the packet library.

    TrucError                      every error that is ours; has a code, parameters and both languages
    ├── EdxmlError                 the packet library
    │   ├── PacketRefused          the bytes are no packet we may carry; holds every finding
    │   ├── WriteRefused           a value cannot be written as a right packet
    │   ├── SealInvalid            a seal does not prove what it says
    │   ├── SigningRefused         (edxml.sign.signing) a packet cannot be signed
    │   ├── SigningKeyInvalid      (edxml.sign.signer) a key or certificate cannot be used to sign
    │   ├── TrustUnreadable        (edxml.sign.trust) a folder of trust holds something else
    │   ├── PoliciesInvalid        (edxml.sign.policies) a file of policies says what it cannot
    │   ├── ProfileInvalid         (edxml.profiles) a profile's text is no profile
    │   ├── OrganIdMalformed       (edxml.ids) a text is no organ id in any form we know
    │   ├── DocumentIdMalformed    (edxml.ids) a text is no document id
    │   ├── InputWrong             (edxml.commands.exits) what was typed, or a form, says nothing that a command takes
    │   ├── AuthoritySilent        (edxml.commands.exits) a time-stamp authority gave no answer
    │   └── AttachmentDamaged      (edxml.attachments) stored bytes do not give the attachment that was read
    ├── RoutingError               (routing.errors) routing cannot go on
    │   └── DirectoryInvalid       (routing.errors) the directory's data contradicts itself
    ├── AdapterError               (adapters.contract) a channel cannot be opened as it is configured
    │   ├── ChannelUnreadable, ChannelKindUnknown (gateway.channels) what is stored of it says nothing that we know
    │   ├── SettingWrong           (adapters.settings) one setting of a channel is wrong
    │   │   └── SettingMissing     it must be given
    │   ├── RestFault              (adapters.rest_http) an agency's server cannot be asked, or says nothing
    │   │   └── NotSent, NoAnswer  how far the request got: not one byte went out, or may have arrived
    │   └── FolderFault            (adapters.folder_layout) the exchange folder cannot be used now
    ├── RemoteError                (gateway.cli.exits) another node, asked over the network, gave no good answer
    │   └── RemoteUnreachable, RemoteRefused
    ├── ProofError                 (gateway.prove.marks) a proof of an installation cannot be made
    │   ├── NotAlone               a later proof empties the same inboxes: nobody can tell what this one lost
    │   ├── NotMarked              a system or an agency that is no test agency: refused before anything is sent
    │   └── ProofFailed            (gateway.prove.run) somebody who takes part gave up
    └── GatewayError               (gateway.model.errors) everything that a running node refuses

An error knows its stable `code`, whether the same call may succeed later (`retryable`), and the parameters
of its text.  It is translated in three places only: HTTP problem, edXML status, outcome of a hand-over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from edxml.messages import Language, text

if TYPE_CHECKING:
    from edxml.findings import Finding

__all__ = ["EdxmlError", "PacketRefused", "SealInvalid", "TrucError", "WriteRefused"]


class TrucError(Exception):
    """Any error of this project. Subclasses set `code`; parameters fill the text of that code."""

    code: ClassVar[str] = "truc.error"
    retryable: ClassVar[bool] = False
    reason: str
    """The closest code that is known of what happened, for logs, metrics and scripts: `code`, unless set before."""

    def __init__(self, **params: Any) -> None:
        self.params = params
        self.reason = getattr(self, "reason", self.code)
        super().__init__(text(self.code, Language.EN, params))

    def text(self, language: Language) -> str:
        """What happened and what to do, as one or two sentences in `language`."""
        return text(self.code, language, self.params)


class EdxmlError(TrucError):
    """Any error of the packet library."""

    code = "edxml.error"


class PacketRefused(EdxmlError):
    """The bytes are no packet that we may carry; `findings` says every reason, with its place."""

    code = "edxml.refused"

    def __init__(self, *, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        super().__init__(count=len(findings), first=findings[0].text(Language.EN) if findings else "")


class WriteRefused(EdxmlError):
    """A value cannot be written as a right packet: `what` and `why` are parameters."""

    code = "edxml.write_refused"


class SealInvalid(EdxmlError):
    """A seal does not prove what it says; `reason` is one of a closed list with a text each (`seal.…`)."""

    code = "edxml.seal_invalid"

    def __init__(self, why: str, **detail: object) -> None:
        self.reason = f"seal.{why}"
        self.detail = detail
        super().__init__(why=text(self.reason, Language.EN, detail))

    def text(self, language: Language) -> str:
        """What is wrong with it and what to do, in `language`."""
        return text(self.code, language, {"why": text(self.reason, language, self.detail)})
