"""Organ ids in every form, document ids as written, and the keys they are compared by."""

from __future__ import annotations

from datetime import date

import pytest

from edxml import (
    DocumentId,
    DocumentIdMalformed,
    OrganForm,
    OrganId,
    OrganIdMalformed,
    document_key,
    fold_code,
    notation_key,
)

SAME = [
    ("000.00.01.H27", "H27.01"),
    ("000.00.01.H27", "01.H27"),
    ("000.00.00.H41", "H41"),
    ("000.12.31.H53", "H53.31.12"),
    ("28.22.H17", "000.28.22.H17"),
    ("000.00.13.H53", " h53.13 "),
    ("vxp.saas.03", "VXP.SAAS.03"),
]
DIFFERENT = [("H41.2.5", "H41.5.2"), ("000.12.00.H53", "000.00.12.H53"), ("H41", "H14"), ("vxp.saas.03", "vxp.saas.3")]
FORMS = {
    "000.00.13.H53": OrganForm.QCVN2016,
    "001.00.20.TT2": OrganForm.QCVN2016,
    "H37.02.02": OrganForm.QD2020,
    "H41.2.5": OrganForm.QD2020,
    "H37.DN.001": OrganForm.QD2020,
    "G12.18": OrganForm.QD2020,
    "28.22.H17": OrganForm.OTHER,
    "000.1137.H53": OrganForm.OTHER,
    "vxp.saas.03": OrganForm.OTHER,
    "VN:GOV:000.00.00.G22:vpcpdvcprovider": OrganForm.OTHER,
}


@pytest.mark.parametrize(("one", "other"), SAME)
def test_forms_of_one_code_are_one(one: str, other: str) -> None:
    assert OrganId.parse(one) == OrganId.parse(other)
    assert len({OrganId.parse(one), OrganId.parse(other)}) == 1


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_codes_stay_different(one: str, other: str) -> None:
    assert OrganId.parse(one) != OrganId.parse(other)


@pytest.mark.parametrize(("text", "form"), FORMS.items())
def test_form_is_told_and_the_written_form_kept(text: str, form: OrganForm) -> None:
    organ = OrganId(f" {text}\n")
    assert organ.form is form
    assert organ.text == text.upper()
    assert str(organ) == organ.text


@pytest.mark.parametrize(
    "text", ["", " ", "null", "NULL", "H 41", "H41,1", "H41/1", "Đ41", "-H41", ".H41", "H" * 76, "H41\0"]
)
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(OrganIdMalformed) as refused:
        OrganId.parse(text)
    assert refused.value.code == "edxml.organ_id_malformed"


def test_document_id_is_kept_as_written_and_compared_folded() -> None:
    one = DocumentId("000.00.00.G22,2015/09/30,7816/VPCP-TTĐT")
    assert one.text == "000.00.00.G22,2015/09/30,7816/VPCP-TTĐT"
    assert one == DocumentId("g22,2015-09-30,7816/vpcp-ttđt")  # the .NET client's dashes, the 2020 form
    assert one == DocumentId("G22, 2015/09/30, 7816/VPCP-TTÐT")  # the other Đ
    assert one != DocumentId("G22,2015/09/30,7817/VPCP-TTĐT")


def test_document_id_parts() -> None:
    parts = DocumentId("000.00.00.H41,2025/09/01,12/QĐ-UBND,x").parts
    assert parts is not None
    assert parts == (OrganId.parse("H41"), date(2025, 9, 1), "12/QĐ-UBND,x")
    impossible = DocumentId("G22,2014/02/30,7806/VPCP").parts
    assert impossible is not None
    assert impossible.date is None
    for text in (
        "18661",
        "0d0e2e1c-7e9b-4f4e-8b0e-000000000000",
        "a,b",
        "bad code!,2025/01/01,1/A",
        "H41,2025/01/01, ",
    ):
        assert DocumentId(text).parts is None
        assert DocumentId(text) == DocumentId(text.lower())


@pytest.mark.parametrize("text", ["", "  ", "x" * 76])
def test_document_id_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(DocumentIdMalformed):
        DocumentId(text)


def test_codes_fold_blanks_case_dashes_and_both_letters() -> None:
    assert fold_code(" 267 / vpcp–ttđt ") == fold_code("267/VPCP-TTÐT") == "267/VPCP-TTĐT"
    assert fold_code("Qu\u0079e\u0302\u0301t") == fold_code("Quyết")  # composed and decomposed
    assert fold_code("D") != fold_code("Đ")


def test_keys() -> None:
    organ = OrganId.parse("000.00.01.H27").canonical
    assert document_key(organ, DocumentId("H27.01,2025/01/02,5/A")) == document_key(
        OrganId.parse("H27.01").canonical, DocumentId("01.h27,2025-01-02,5/a")
    )
    assert notation_key(organ, date(2025, 1, 2), "5 / a") == "H27.01|2025-01-02|5/A"
    assert notation_key(organ, None, "5/A") == "H27.01||5/A"
