"""The packet library: reads anything real, refuses anything hostile, says exactly why; writes, seals. Usable alone."""

from edxml.attachments import AttachmentDamaged, AttachmentSink, open_decoded, sniff
from edxml.codes import (
    BusinessKind,
    Dialect,
    DocumentType,
    Priority,
    StatusCode,
    SteeringType,
    document_type,
)
from edxml.digests import WireHasher, fingerprint, wire_digest
from edxml.errors import EdxmlError, PacketRefused, SealInvalid, TrucError, WriteRefused
from edxml.findings import Finding, Place, Repair, Severity
from edxml.ids import (
    DocumentId,
    DocumentIdMalformed,
    DocumentIdParts,
    OrganForm,
    OrganId,
    OrganIdMalformed,
    document_key,
    fold_code,
    notation_key,
)
from edxml.limits import DEFAULT_LIMITS, Limits
from edxml.messages import Language
from edxml.packet import (
    Attachment,
    Organization,
    OtherInfo,
    Packet,
    ReceiverChange,
    Reference,
    Replacement,
    ResponseFor,
    StaffInfo,
    StatusPacket,
    TraceHeader,
)
from edxml.profiles import LENIENT, REPAIRS, STRICT, Allowance, Profile, ProfileInvalid, load_profile
from edxml.read import ReadResult, read
from edxml.seal import SealKey, SealStatement, generate_seal_key, load_seal_key, make_seal, verify_seal
from edxml.secrecy import find_marks
from edxml.validate import validate
from edxml.write import plan_attachment, write, write_status

__all__ = [
    "DEFAULT_LIMITS",
    "LENIENT",
    "REPAIRS",
    "STRICT",
    "Allowance",
    "Attachment",
    "AttachmentDamaged",
    "AttachmentSink",
    "BusinessKind",
    "Dialect",
    "DocumentId",
    "DocumentIdMalformed",
    "DocumentIdParts",
    "DocumentType",
    "EdxmlError",
    "Finding",
    "Language",
    "Limits",
    "OrganForm",
    "OrganId",
    "OrganIdMalformed",
    "Organization",
    "OtherInfo",
    "Packet",
    "PacketRefused",
    "Place",
    "Priority",
    "Profile",
    "ProfileInvalid",
    "ReadResult",
    "ReceiverChange",
    "Reference",
    "Repair",
    "Replacement",
    "ResponseFor",
    "SealInvalid",
    "SealKey",
    "SealStatement",
    "Severity",
    "StaffInfo",
    "StatusCode",
    "StatusPacket",
    "SteeringType",
    "TraceHeader",
    "TrucError",
    "WireHasher",
    "WriteRefused",
    "document_key",
    "document_type",
    "find_marks",
    "fingerprint",
    "fold_code",
    "generate_seal_key",
    "load_profile",
    "load_seal_key",
    "make_seal",
    "notation_key",
    "open_decoded",
    "plan_attachment",
    "read",
    "sniff",
    "validate",
    "verify_seal",
    "wire_digest",
    "write",
    "write_status",
]
