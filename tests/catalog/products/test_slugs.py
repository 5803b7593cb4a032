"""Handles from titles."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.products.slugs import slug


@pytest.mark.parametrize(
    ("title", "handle"),
    [
        ("Crème Brûlée 2XL torch_set", "creme-brulee-2-xl-torch-set"),
        ("Größe & Äpfel 4you", "grosse-apfel-4-you"),
        ("XMLHttpRequest fooBar", "xml-http-request-foo-bar"),
        ("1st, 2nd and 11th", "1st-2nd-and-11-th"),
        ("Don’t 'stop'", "dont-stop"),
        ("Łódź Œuvre Þing", "lodz-oeuvre-thing"),
        ("Шапка Hat", "шапка-hat"),
        ("日本語 Shirt", "日本語-shirt"),
        ("👕 shirt", "👕-shirt"),
        ("e\u0301clair", "eclair"),
        ("¡!", ""),
    ],
)
def test_known_titles(title: str, handle: str) -> None:
    assert slug(title) == handle


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_ascii_titles_make_ascii_handles(title: str) -> None:
    handle = slug(title)
    assert re.fullmatch(r"([a-z0-9]+(-[a-z0-9]+)*)?", handle)
    assert handle.replace("-", "") == re.sub(r"[^A-Za-z0-9]", "", title).lower()


@given(st.text())
def test_the_slug_of_a_slug_is_the_slug(title: str) -> None:
    assert slug(slug(title)) == slug(title)
    assert not {"", "-"} & set(slug(title).split("-")) or slug(title) == ""
