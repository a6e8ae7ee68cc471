"""Who sends, who receives, and what may be asked of them: organ ids, recipients, recall, update, replacement."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from edxml.codes import BusinessKind
from edxml.findings import Severity
from edxml.ids import DocumentId, OrganForm, OrganId
from edxml.packet import Packet, ReceiverChange, Replacement
from edxml.rules.examples import GOOD_DOCUMENT, document, organization
from edxml.rules.places import BUSINESS, HEADER
from edxml.rules.rule import FINE, Breach, at, document_rule

__all__ = ["RULES", "organ_breach"]

_QCVN = "QCVN 102:2016/BTTTT"
_LONGEST = 35


@document_rule(
    Severity.WARNING, f"{_QCVN} 1.1, 1.2", bad=document(sender=replace(organization("000.00.00.H99"), name=""))
)
def organ_name_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Tên cơ quan gửi and of every recipient."""
    found = FINE if packet.sender.name else (at(f"{HEADER}/From/OrganName"),)
    for position, recipient in enumerate(packet.recipients, 1):
        if not recipient.name:
            found += (at(f"{HEADER}/To[{position}]/OrganName"),)
    return found


def organ_breach(path: str, organ: OrganId | None) -> tuple[Breach, ...]:
    """What is wrong with the form of one organ id that could be read."""
    if organ is None or (organ.form is not OrganForm.OTHER and len(organ.text) <= _LONGEST):
        return FINE
    return (at(f"{path}/OrganId", text=organ.text[:80]),)


@document_rule(
    Severity.WARNING, f"{_QCVN} (000.00.01.H99); QĐ 20/2020/QĐ-TTg (H99.01, at most 35 characters)",
    bad=document(recipients=(organization("28.22.H17"),)), good=document(recipients=(organization("H99.DN.001"),)),
)  # fmt: skip
def organ_form(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Organ ids are written in one of the two official forms; short and private ones are read, but not by all."""
    found = organ_breach(f"{HEADER}/From", packet.sender.organ_id)
    for position, recipient in enumerate(packet.recipients, 1):
        if recipient.organ_id is None or recipient.organ_id.form is OrganForm.QCVN2016:
            continue
        found += organ_breach(f"{HEADER}/To[{position}]", recipient.organ_id)
    return found


@document_rule(
    Severity.ERROR, "practice: Bkav eDoc refuses it; one copy for each agency",
    bad=document(recipients=(organization("000.00.01.H99"), organization("H99.01"))),
)  # fmt: skip
def recipient_repeated(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Each recipient once, whichever form its code is written in."""
    organs = [recipient.organ_id for recipient in packet.recipients]
    if len(set(organs)) == len(organs):
        return FINE
    seen: set[OrganId] = set()
    found = []
    for position, organ in enumerate(organs, 1):
        if organ is not None and organ in seen:
            found.append(at(f"{HEADER}/To[{position}]/OrganId", organ=organ.text))
        elif organ is not None:
            seen.add(organ)
    return tuple(found)


_RECALL = document(business_kind=BusinessKind.RECALL, business_reason="Sai số liệu")
_CHANGE = ReceiverChange(OrganId.parse("H99.03"), True)
_UPDATE = document(
    business_kind=BusinessKind.UPDATE,
    business_reason="Bổ sung nơi nhận",
    business_document_id=GOOD_DOCUMENT.document_id,
    receivers_changed=True,
    receiver_changes=(_CHANGE,),
)
_REPLACED = Replacement(DocumentId("000.00.00.H99,2025/08/01,99/UBND-VX"), (OrganId.parse("H99.02"),))
_REPLACEMENT = document(
    business_kind=BusinessKind.REPLACEMENT, business_reason="Thay thế do sai thể thức", replacements=(_REPLACED,)
)


@document_rule(Severity.WARNING, f"{_QCVN} 2.2.2; QĐ 28/2018/QĐ-TTg điều 8", bad=replace(_RECALL, business_reason=""),
               good=_RECALL)  # fmt: skip
def reason_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Thu hồi, cập nhật, thay thế say why."""
    if packet.business_kind is BusinessKind.NEW or packet.business_reason:
        return FINE
    return (at(f"{BUSINESS}/BussinessDocReason"),)


@document_rule(Severity.WARNING, f"{_QCVN} 2.2.4", bad=replace(_UPDATE, business_document_id=None), good=_UPDATE)
def update_target_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Cập nhật names the document it changes. (A recall may name it in the header alone: official samples do.)"""
    if packet.business_kind is not BusinessKind.UPDATE or packet.business_document_id is not None:
        return FINE
    return (at(f"{BUSINESS}/DocumentId"),)


@document_rule(
    Severity.WARNING, f"{_QCVN} 2.2.3", bad=replace(_UPDATE, receivers_changed=False, receiver_changes=()), good=_UPDATE
)
def update_empty(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Cập nhật says what it changes."""
    if packet.business_kind is not BusinessKind.UPDATE:
        return FINE
    says_something = packet.document_changed or packet.receivers_changed or packet.receiver_changes
    return FINE if says_something else (at(f"{BUSINESS}/BussinessDocumentInfo"),)


@document_rule(Severity.WARNING, f"{_QCVN} 2.2.3", bad=replace(_UPDATE, receiver_changes=()), good=_UPDATE)
def receiver_list_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """An update of the receivers (DocumentReceiver 1) lists who comes and who goes."""
    if not packet.receivers_changed or packet.receiver_changes:
        return FINE
    return (at(f"{BUSINESS}/BussinessDocumentInfo/ReceiverList"),)


@document_rule(
    Severity.ERROR, f"{_QCVN} 2.2.3",
    bad=replace(_UPDATE, receiver_changes=(_CHANGE, _CHANGE._replace(added=False))), good=_UPDATE,
)  # fmt: skip
def receiver_change_contradicts(packet: Packet, today: date) -> tuple[Breach, ...]:
    """No agency is both added and removed."""
    if len(packet.receiver_changes) < 2:
        return FINE
    added = {change.organ_id for change in packet.receiver_changes if change.added}
    return tuple(
        at(f"{BUSINESS}/BussinessDocumentInfo/ReceiverList/Receiver[{position}]", organ=change.organ_id.text)
        for position, change in enumerate(packet.receiver_changes, 1)
        if not change.added and change.organ_id in added
    )


@document_rule(Severity.ERROR, f"{_QCVN} 2.2.8", bad=replace(_REPLACEMENT, replacements=()), good=_REPLACEMENT)
def replacement_empty(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Thay thế names at least one replaced document."""
    if packet.business_kind is not BusinessKind.REPLACEMENT or packet.replacements:
        return FINE
    return (at(f"{BUSINESS}/ReplacementInfoList"),)


@document_rule(
    Severity.WARNING, f"{_QCVN} 2.2.8",
    bad=replace(_REPLACEMENT, replacements=(_REPLACED._replace(organ_ids=()),)), good=_REPLACEMENT,
)  # fmt: skip
def replacement_for_nobody(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Each replaced document says for which recipients."""
    if not packet.replacements:
        return FINE
    return tuple(
        at(
            f"{BUSINESS}/ReplacementInfoList/ReplacementInfo[{position}]/OrganIdList",
            document=replaced.document_id.text,
        )
        for position, replaced in enumerate(packet.replacements, 1)
        if not replaced.organ_ids
    )


@document_rule(
    Severity.WARNING, f"{_QCVN} 2.2.8",
    bad=replace(_REPLACEMENT, replacements=(_REPLACED._replace(document_id=GOOD_DOCUMENT.document_id),)),
    good=_REPLACEMENT,
)  # fmt: skip
def replacement_of_itself(packet: Packet, today: date) -> tuple[Breach, ...]:
    """A document does not replace itself: the new one has an id of its own."""
    if not packet.replacements:
        return FINE
    return tuple(
        at(f"{BUSINESS}/ReplacementInfoList/ReplacementInfo[{position}]/DocumentId", document=replaced.document_id.text)
        for position, replaced in enumerate(packet.replacements, 1)
        if replaced.document_id == packet.document_id
    )


@document_rule(Severity.WARNING, f"{_QCVN} 2.2.1", bad=document(replacements=(_REPLACED,)))
def new_with_changes(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Văn bản mới (0) has no changes and replaces nothing: probably BussinessDocType is wrong."""
    if packet.business_kind is not BusinessKind.NEW or not (packet.replacements or packet.receiver_changes):
        return FINE
    return (at(f"{BUSINESS}/BussinessDocType"),)


RULES = (
    organ_name_missing, organ_form, recipient_repeated, reason_missing, update_target_missing, update_empty,
    receiver_list_missing, receiver_change_contradicts, replacement_empty, replacement_for_nobody,
    replacement_of_itself, new_with_changes,
)  # fmt: skip
