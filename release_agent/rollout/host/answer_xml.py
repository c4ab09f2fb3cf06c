"""Read the XML of an answer. ElementTree needs less than half the time of xmlrpc.client, which calls Python for each tag."""

from __future__ import annotations

import xmlrpc.client
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Errors for text that is not an answer: not XML, a member without a value, a number that is none, an endless nesting.
NO_ANSWER = (ET.ParseError, ValueError, TypeError, LookupError, RecursionError)
_MOST = 2_000_000  # tags; an element takes about a hundred bytes of memory
_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "int": int,
    "i4": int,
    "i8": int,
    "double": float,
    "boolean": {"0": False, "1": True}.__getitem__,
    "nil": lambda _: None,
}


def read_answer(text: bytes) -> Any:
    """Return the value of an answer over XML-RPC; raises xmlrpc.client.Fault for a refusal, and the errors of NO_ANSWER.

    The types are those of http://xmlrpc.com/spec.md that the plugin answers with: no dates and no base64.
    """
    # Declarations could define entities, which grow. Answers have none.
    if b"<!" in text or text.count(b"<") > _MOST:
        message = "it has declarations, or too many tags"
        raise ValueError(message)
    # Decoded here, because the text could name an encoding in which the check above finds nothing.
    (answer,) = ET.fromstring(text.decode())  # noqa: S314 - without declarations it is harmless
    if answer.tag == "fault":
        (value,) = answer
        raise xmlrpc.client.Fault(**_value(value))
    ((value,),) = answer
    return _value(value)


def _value(value: ET.Element) -> Any:
    if not len(value):
        return value.text or ""
    (typed,) = value
    if typed.tag == "struct":
        return {name.text or "": _value(value) for name, value in typed}
    if typed.tag == "array":
        (data,) = typed
        return [_value(one) for one in data]
    return _SCALARS[typed.tag](typed.text or "")
