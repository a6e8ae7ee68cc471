"""What we write as TOML, the standard library reads back as it was."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.toml import as_table, as_value

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT | st.dates(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_a_value_comes_back(value: Any) -> None:
    assert tomllib.loads(f"v = {as_value(value)}") == {"v": value}


@given(st.dictionaries(TEXT, PLAIN, max_size=5))
def test_a_table_comes_back(values: dict[str, Any]) -> None:
    text = as_table("channel", values) + as_table("channel", {"left_out": None})
    assert tomllib.loads(text) == {"channel": [values, {}]}
