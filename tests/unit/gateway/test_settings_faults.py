"""What is wrong with a setting is said in both languages with its name, its value and what to do; all at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edxml.messages import Language
from gateway.model.errors import SettingsWrong
from gateway.settings import Settings, read_settings


def told(environment: dict[str, str]) -> SettingsWrong:
    with pytest.raises(SettingsWrong) as caught:
        read_settings(environment)
    return caught.value


@pytest.mark.parametrize(
    ("name", "value", "code", "says"),
    [
        ("port", "tám nghìn", "whole_between", ("từ 0 đến 65535", "from 0 to 65535")),
        ("port", "70000", "whole_between", ("65535", "65535")),
        ("port", "80.5", "whole_between", ("số nguyên", "whole number")),
        ("packet_mib", "0", "whole_from", ("không nhỏ hơn 1", "at least 1")),
        ("lease", "-1", "number_above", ("lớn hơn 0", "above 0")),
        ("lease", "một phút", "number_above", ("lớn hơn 0", "above 0")),
        ("lease", "nan", "number_above", ("lớn hơn 0", "above 0")),
        ("lease", "inf", "number_above", ("lớn hơn 0", "above 0")),
        ("time_limit_days", "1e400", "number_between", ("đến 3650", "to 3650")),
        ("time_limit_days", "200000000", "number_between", ("đến 3650", "to 3650")),
        ("inspect_idle", "-3", "number_from", ("không nhỏ hơn 0", "at least 0")),
        ("long_poll", "301", "number_between", ("từ 0 đến 300", "from 0 to 300")),
        ("inspect", "có lẽ", "switch", ("true hoặc false", "true or false")),
        ("log_format", "xml", "choice", ("human, json", "human, json")),
        ("node", "Nút Vinh", "node_name", ("gạch nối", "hyphens")),
        ("today", "1.7.2026", "day", ("2026-07-01", "2026-07-01")),
        ("today", "2026-02-30", "day", ("2026-07-01", "2026-07-01")),
        ("trust", "/khong/co/thu/muc", "existing_folder", ("không có thư mục", "no folder")),
    ],
)
def test_a_wrong_value_is_told_with_what_to_do(name: str, value: str, code: str, says: tuple[str, str]) -> None:
    wrong = told({f"TRUC_{name.upper()}": value})
    [fault] = wrong.faults
    assert fault.code == f"settings.{code}"
    for language, word in zip((Language.VI, Language.EN), says, strict=True):
        sentence = wrong.text(language)
        assert all(part in sentence for part in (f"TRUC_{name.upper()}", f"“{value}”", word))
        assert "{" not in sentence
    assert not re.search(r"(?i)input should|valid integer|greater than", wrong.text(Language.VI) + str(wrong))


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tep"
    file.write_text("x")
    wrong = told({"TRUC_DATA": str(file)})
    assert [fault.code for fault in wrong.faults] == ["settings.folder"]
    assert str(file)[:40] in wrong.text(Language.VI)
    assert read_settings({"TRUC_DATA": str(tmp_path / "chua-co")}).data == tmp_path / "chua-co"


def test_an_unknown_variable_is_told_with_the_nearest_one_and_without_its_value() -> None:
    wrong = told({"TRUC_PROT": "bi-mat", "TRUC_XYZZY": "bi-mat"})
    assert [(fault.code, fault.params["nearest"]) for fault in wrong.faults] == [
        ("settings.misspelt", "TRUC_PORT"),
        ("settings.unknown", ""),
    ]
    assert "TRUC_PORT" in wrong.text(Language.VI)
    assert "TRUC_XYZZY" in wrong.text(Language.VI)
    assert "bi-mat" not in wrong.text(Language.VI) + wrong.text(Language.EN)


def test_everything_is_told_at_once() -> None:
    wrong = told({"TRUC_PROT": "1", "TRUC_LEASE": "0", "TRUC_GROUP": "x", "TRUC_NODE": ""})
    assert len(wrong.faults) == 4
    assert wrong.text(Language.VI).startswith("4 thiết lập sai")


def test_a_value_of_any_length_and_kind_is_shown_harmlessly() -> None:
    wrong = told({"TRUC_PORT": "\x1b[2J" + "9" * 5000})
    assert len(wrong.text(Language.EN)) < 400
    assert "\x1b" not in wrong.text(Language.EN)


@pytest.mark.parametrize("name", sorted(Settings.model_fields.keys() - {"host", "data"}))  # any text is right there
def test_every_setting_has_a_sentence_for_a_wrong_value(name: str) -> None:
    wrong = told({f"TRUC_{name.upper()}": "\N{PILE OF POO}"})
    assert "\N{PILE OF POO}" in wrong.text(Language.VI)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://truc:mat@may/truc",
        "postgresql://truc:m:at@khau/mat@may/truc",
        "postgresql://truc@may/truc?sslmode=require&password=mat",
        "postgresql://truc@may/truc?sslpassword=mat&sslmode=require",
    ],
)
def test_a_password_within_the_databases_address_is_refused_and_not_said_again(address: str) -> None:
    (fault,) = told({"TRUC_DATABASE": address}).faults
    assert fault.code == "settings.database"
    assert "may/truc" in str(fault.params["value"])
    assert "mat" not in str(fault.params["value"])


def test_a_password_within_the_brokers_address_is_refused_and_not_said_again() -> None:
    (fault,) = told({"TRUC_BROKER": "amqps://nut:mat@may/truc,amqps://nut:mat@may-2/truc"}).faults
    assert fault.code == "settings.broker"
    assert "may-2/truc" in str(fault.params["value"])
    assert "mat" not in str(fault.params["value"])
