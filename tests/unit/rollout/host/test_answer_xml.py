"""Answers are read as xmlrpc.client reads them, and text that is no answer is refused."""

from __future__ import annotations

import xmlrpc.client
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from release_agent.rollout.host.answer_xml import NO_ANSWER, read_answer

XML_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))
INTEGERS = st.integers(xmlrpc.client.MININT, xmlrpc.client.MAXINT)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | XML_TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(XML_TEXT, inner), max_leaves=10)


def answer(value: str) -> bytes:
    """Return an answer with the XML of a value."""
    return f"<methodResponse><params><param><value>{value}</value></param></params></methodResponse>".encode()


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])  # for busy machines
@given(VALUES)
def test_answer_is_what_was_sent(value: Any) -> None:
    text = xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True).encode()

    assert read_answer(text) == value
    assert repr(read_answer(text)) == repr(xmlrpc.client.loads(text)[0][0])


def test_value_without_a_type_is_text() -> None:
    assert read_answer(answer("here")) == "here"


def test_refusal_is_raised_with_its_code_and_words() -> None:
    text = xmlrpc.client.dumps(xmlrpc.client.Fault(111, "busy: <v1> & v2"), methodresponse=True).encode()

    with pytest.raises(xmlrpc.client.Fault) as refused:
        read_answer(text)

    assert (refused.value.faultCode, refused.value.faultString) == (111, "busy: <v1> & v2")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"<methodResponse>",
        b"<methodResponse/>",
        b"<methodResponse><params/></methodResponse>",
        b"<methodResponse><fault><value>none</value></fault></methodResponse>",
        answer("<int>x</int>"),
        answer("<boolean>2</boolean>"),
        answer("<bigdecimal>1</bigdecimal>"),
        answer("<array/>"),
        answer("<struct><member><name>a</name></member></struct>"),
        answer("<array><data>" + "<value><array><data>" * 5000 + "</data></array></value>" * 5000 + "</data></array>"),
        answer("<array><data>" + "<value/>" * 2_000_001 + "</data></array>"),
        b'<!DOCTYPE x [<!ENTITY e "many">]>' + answer("<string>&e;</string>"),
        ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x>' + answer("here").decode()).encode("utf-16"),
    ],
    ids=range(15),
)
def test_text_that_is_no_answer_is_refused(text: bytes) -> None:
    with pytest.raises(NO_ANSWER):
        read_answer(text)
