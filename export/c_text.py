"""Names that users chose, such as class labels, as text of C and Markdown: no name may end its comment or string."""

from __future__ import annotations

import re


def _printable(text: str) -> str:
    """One line without control characters; marks that reorder text, as `isprintable` has it, are among them."""
    return "".join(character if character.isprintable() else " " for character in text)


def comment(text: str) -> str:
    """Text inside `/* ... */`: it neither ends the comment nor opens another."""
    return _printable(text).replace("*/", "* /").replace("/*", "/ *")


def string(text: str) -> str:
    """A C string literal with the UTF-8 of `text`; what is not a plain ASCII character is three octal digits."""
    plain = range(0x20, 0x7F)
    escaped = "".join(
        chr(byte) if byte in plain and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{escaped}"'


def markdown(text: str) -> str:
    """Text in a paragraph or table cell of Markdown: no markup, no column, no HTML."""
    return re.sub(r"([\\`*_\[\]<>|&#])", r"\\\1", _printable(text))
