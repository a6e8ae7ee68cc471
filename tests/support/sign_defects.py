"""Defects planted in signatures, seals and their keys, one check taken out each: the tests named must fail then."""

from __future__ import annotations

from tests.support.defects import Defect

__all__ = ["SIGN_DEFECTS"]

_ATTACKS = "tests/unit/edxml/sign/test_sign_attacks.py::test_"
_UNSIGNED = "tests/unit/edxml/sign/test_sign_unsigned_parts.py::test_"
_RESPONDERS = "tests/unit/edxml/sign/test_sign_responders.py::test_"
_STOLEN = "tests/unit/gateway/inspector/test_inspector_stamps.py::test_"
_FORMS = "tests/unit/edxml/sign/test_sign_forms.py::test_"
_CERTIFICATES = "tests/unit/edxml/sign/test_sign_certificates.py::test_"
_PACKETS = "tests/unit/edxml/sign/test_sign_packets.py::test_"
_ADDED = "tests/service/test_sign_stamps.py::test_"
_HARDWARE = "tests/service/test_sign_tokens.py::test_"
_RING = "tests/unit/gateway/test_keys.py::test_"
_STAMPS = "tests/service/test_sign_interop.py::test_"


def _without(file: str, old: str, new: str, *tests: str, name: str) -> Defect:
    return Defect(name=name, row="issue 3, item 6", file=f"edxml/sign/{file}.py", old=old, new=new, tests=tests)


_WRAPPING = (
    _without(
        "_structure", "if len(real) > 1:", "if len(real) > 9:", _ATTACKS + "two_signatures",
        name="two signatures",
    ),
    _without(
        "_structure", "not in _PLACES or real[0] is root", "in ()", _ATTACKS + "a_signature_out_of_place",
        name="a signature anywhere",
    ),
    _without(
        "_references", "if len(bearers) > 1:", "if len(bearers) > 9:", _ATTACKS + "wrapped[8-duplicate_id]",
        name="an id that two elements bear",
    ),
    _without(
        "_references", "or named != [header]", "or not named", _ATTACKS + "a_second_header_behind_the_signed_one",
        name="a header that stands twice",
    ),
    _without(
        "_references", "not ids.isdisjoint(ids_of(one))", "one is not None",
        _ATTACKS + "a_reference_to_an_empty_corner_covers_nothing",
        name="a header that nothing refers to",
    ),
    _without(
        "verifying", "if any(one is parts.element for content", "if any(one is None for content",
        _UNSIGNED + "an_attachment_within_the_signature_is_refused_by_verifier_and_reader",
        name="a file within the signature",
    ),
    _without(
        "_references", "if policy.coverage is Coverage.WHOLE:", "if policy.coverage is None:",
        _ATTACKS + "only_the_header_is_not_the_whole_packet",
        name="less than the whole packet",
    ),
)  # fmt: skip

_ARITHMETIC = (
    _without(
        "_arithmetic", "raise CheckRefusal(Verdict.INVALID_DIGEST, f'URI=\"{uri}\"') from None", "return",
        _ATTACKS + "the_whole_signed_packet_within_a_forged_one",
        name="a digest that is not compared",
    ),
    _without(
        "_arithmetic", "raise CheckRefusal(Verdict.INVALID_SIGNATURE) from None", "return",
        _ATTACKS + "signed_by_another_key",
        name="a signature value that is not checked",
    ),
    _without(
        "_references", "if form is not None:  #", "if len(reference.steps) > 9:  #",
        _FORMS + "transforms_that_are_not_computed",
        name="transforms behind canonicalisation",
    ),
    _without(
        "_structure", '    if len(element):\n        raise _malformed(element)\n    return element.text or ""',
        '    return element.text or ""', _FORMS + "values_hold_text_and_nothing_else",
        name="a digest read up to its first node",
    ),
    _without(
        "_skeleton", "if apex is None else _apart(apex)", "if apex is None else apex",
        _PACKETS + "a_part_is_canonical_where_default_namespaces_lie_above_each_other",
        name="parts canonicalised within their document",
    ),
    _without(
        "_skeleton", 'text.replace(b"\\r\\n", b"\\n")', "text", _PACKETS + "the_digest_is_that_of_the_whole_tree",
        name="line ends as they are written",
    ),
    _without(
        "_skeleton", "if apex is not None and not is_exclusive and _inherits(apex):", "if apex is self:",
        _PACKETS + "attributes_that_inclusive_forms_pass_down_are_not_guessed",
        name="attributes of xml passed over",
    ),
)  # fmt: skip

_SIGNXML = (
    _without(
        "_arithmetic", "xml_node.getroottree() if xml_node.getparent() is None else xml_node", "xml_node",
        _ATTACKS + "altered_after_signing",
        name="instructions beside the root passed over",
    ),
    _without(
        "_references", 'if name.rpartition("}")[2] in _IDS', "if name in _IDS",
        _ATTACKS + "an_id_in_another_spelling_is_the_same_id",
        name="an id with a prefix passed over",
    ),
)  # fmt: skip

_KEYS = (
    _without(
        "verifying", "if all(_is_digest_of(certificate, uri, digest, policy) for uri, digest in named):", "if named:",
        _FORMS + "another_certificate_than_the_signature_names",
        name="a certificate put in place of another",
    ),
    _without(
        "verifying", "if not _is_same_key(value, public_key):", "if value is None:",
        _FORMS + "a_key_beside_the_certificate_must_be_its_own",
        name="a key beside the certificate",
    ),
    _without(
        "verifying", "if named != {uri} or not any(", "if len(named) > 9 and not any(",
        _FORMS + "unsigned_properties_of_xades_say_nothing",
        name="properties that nobody signed",
    ),
    _without(
        "verifying", "    if not fits_key(algorithm, public_key):", "    if algorithm is None:",
        _FORMS + "signature_methods",
        name="a key of another kind",
    ),
    _without(
        "verifying", "xades.signing_time > judged + policy.clock_skew", "xades is None",
        _CERTIFICATES + "a_claimed_time_moves_nothing",
        name="a time that has not come",
    ),
)  # fmt: skip

_CHAINS = (
    _without(
        "judging", "    check_use(certificate, policy.uses)\n", "", _CERTIFICATES + "what_it_was_issued_for",
        name="a certificate for any use",
    ),
    _without(
        "certificates", "if problem := validity_problem(certificate, at):", "if problem := None:",
        _CERTIFICATES + "outside_its_validity", _CERTIFICATES + "an_expired_authority",
        name="a certificate for ever",
    ),
    _without(
        "certificates",
        "if constraints is None or not constraints.ca or "
        "(usage is not None and not usage.key_cert_sign):",
        "if issuer is None:",
        _CERTIFICATES + "who_may_sign_documents_may_not_issue_certificates",
        name="anybody issues certificates",
    ),
    _without(
        "certificates", "        certificate.verify_directly_issued_by(issuer)\n", "        pass\n",
        _CERTIFICATES + "an_issuer_by_name_only",
        name="an issuer by its name",
    ),
    _without(
        "certificates", "if limit is not None and below > limit:", "if limit is not None and below > 99:",
        _CERTIFICATES + "an_authority_below_one_that_may_have_none",
        name="authorities without end",
    ),
    _without(
        "certificates", "extension.oid in _KNOWN_CRITICAL or not extension.critical", "extension.oid is not None",
        _CERTIFICATES + "what_it_was_issued_for",
        name="what a CA marked critical",
    ),
    _without(
        "certificates", "extension.oid == ExtensionOID.NAME_CONSTRAINTS", "extension.oid is None",
        _RESPONDERS + "names_that_an_authority_may_not_certify_break_the_chain_however_they_are_marked",
        name="names that a CA may not certify",
    ),
)  # fmt: skip

_REVOCATION = (
    _without(
        "revocation", "if not crl.is_signature_valid(public_key):", "if crl is None:",
        _CERTIFICATES + "nobody_else_can_say_that_it_is_good",
        name="anybody's list",
    ),
    _without(
        "revocation", "ExtendedKeyUsageOID.OCSP_SIGNING not in uses or", "",
        _CERTIFICATES + "nobody_else_can_say_that_it_is_good",
        name="an answer by any certificate of the issuer",
    ),
    _without(
        "revocation", "crl.next_update_utc is None or crl.next_update_utc < at", "crl.next_update_utc is None",
        _CERTIFICATES + "could_not_be_checked_is_a_verdict_of_its_own",
        name="a list of last year",
    ),
    _without(
        "revocation", "entry is not None and entry.revocation_date_utc <= at", "entry is not None",
        _CERTIFICATES + "revoked_after_the_packet_came",
        name="revoked later is revoked before",
    ),
    _without(
        "judging", "if unknown and policy.revocation is RevocationMode.HARD:", "if unknown is None:",
        _CERTIFICATES + "could_not_be_checked_is_a_verdict_of_its_own",
        name="unknown taken for good",
    ),
)  # fmt: skip

_TIME = (
    _without(
        "time_stamps", "if not hmac.compare_digest(hashlib.new(name, text).digest(), digest.content):",
        "if digest is None:", _STAMPS + "a_time_stamp_that_proves_nothing",
        name="a time stamp over something else",
    ),
    _without(
        "time_stamps", "        chain = find_path(certificate, others, anchors, moment)\n", "        chain = ()\n",
        _STAMPS + "a_time_stamp_that_proves_nothing",
        name="a time stamp by anybody",
    ),
    _without(
        "time_stamps", "if known.standing is Standing.REVOKED and not (", "if known is None and not (",
        _STOLEN + "a_stamp_by_a_revoked_authority",
        name="a time stamp by whoever stole the key",
    ),
    _without(
        "time_stamps", '    except InvalidSignature:\n        raise _invalid("signature") from None',
        "    except InvalidSignature:\n        return", _STAMPS + "every_bit_of_a_time_stamp_counts",
        name="a time stamp that is not signed",
    ),
)  # fmt: skip

_STAMPING = (
    _without(
        "stamping", "if not found.signed:", "if found is None:",
        _ADDED + "what_cannot_be_stamped_is_refused_before_anybody_is_asked",
        name="rubbish is stamped",
    ),
    _without(
        "stamping", "    if parts.xades.time_stamps:", "    if None in parts.xades.time_stamps:",
        _ADDED + "what_cannot_be_stamped_is_refused_before_anybody_is_asked",
        name="a second stamp",
    ),
    _without(
        "stamping", "for one in around for name in ids_of(one)", "for one in () for name in ids_of(one)",
        _ADDED + "a_signature_over_what_would_change_is_not_stamped",
        name="a stamp into what is signed",
    ),
    _without(
        "stamping", "        moment = read_time_stamp(token, value)\n",
        "        moment = datetime.min\n",
        _ADDED + "a_token_over_something_else_is_not_written",
        name="a token written unseen",
    ),
    _without(
        "stamping", "if answered != nonce:", "if answered is None:", _ADDED + "an_authority_is_asked_by_rfc_3161",
        name="an old answer played again",
    ),
)  # fmt: skip

_TOKENS = (
    _without(
        "tokens", "if _refused.get(device) == trial:", "if trial in ():",
        _HARDWARE + "a_wrong_pin_is_not_tried_twice_and_a_locked_one_is_told",
        name="a refused PIN tried until the token locks",
    ),
    _without(
        "tokens", "except pkcs11.PKCS11Error:  # perhaps", "except ZeroDivisionError:  # perhaps",
        _HARDWARE + "a_lost_session_is_opened_again",
        name="a lost session stays lost",
    ),
    _without(
        "tokens", "if status.st_mode & _OTHERS:", "if status is None:",
        _HARDWARE + "what_is_not_there_is_named",
        name="a PIN that everybody reads",
    ),
    _without(
        "tokens", 'if "pin-value" in said:', "if not said:", _HARDWARE + "an_address_that_cannot_be_used_says_where",
        name="a PIN in the address",
    ),
)  # fmt: skip


def _in_seals(file: str, old: str, new: str, *tests: str, name: str) -> Defect:
    return Defect(name=name, row="issue 3, item 7", file=file, old=old, new=new, tests=tests)


_SEALS = (
    _in_seals(
        "edxml/seal.py", "return find_path(certificate, (), trusted, at)", "return (certificate,)",
        "tests/unit/edxml/test_seal.py::test_another_node_s_certificate_is_not_trusted",
        name="a seal by anybody",
    ),
    _in_seals(
        "edxml/seal.py", "if not is_right_signature(", "if None in (",
        "tests/unit/edxml/test_seal.py::test_every_changed_byte_is_noticed",
        name="a seal that is not signed",
    ),
    _in_seals(
        "edxml/sealed.py", "if file.digest != digest:", "if not digest:",
        "tests/service/test_seal_verify.py::test_an_altered_packet_is_told_part_by_part",
        name="an attachment exchanged after sealing",
    ),
    _in_seals(
        "gateway/keys/ring.py", "if pair.begins <= at", "if at is not None",
        _RING + "a_new_key_is_announced_takes_over_by_itself_and_both_verify",
        name="an announced key used before its time",
    ),
    _in_seals(
        "gateway/keys/making.py", "if not waiting:", "if True:", _RING + "a_repeat_announces_no_second_key",
        name="a second key announced",
    ),
    _in_seals(
        "gateway/keys/making.py", "successor.begins + _OVERLAP <= now", "successor.begins <= now",
        _RING + "a_former_key_is_erased_a_day_after_and_its_certificate_stays",
        name="a key erased while it may be in use",
    ),
    _in_seals(
        "gateway/keys/keyring.py", "> _UNSETTLED else None", "> 0 else None",
        _RING + "two_changes_within_one_tick_are_both_seen",
        name="two changes within one tick",
    ),
)  # fmt: skip

SIGN_DEFECTS = (
    *_WRAPPING, *_ARITHMETIC, *_SIGNXML, *_KEYS, *_CHAINS, *_REVOCATION, *_TIME, *_STAMPING, *_TOKENS, *_SEALS,
)  # fmt: skip
