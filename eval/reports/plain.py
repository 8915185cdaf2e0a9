"""Text that others wrote, as a report may show it: nothing hidden, nothing that turns the rest."""

from __future__ import annotations

import re

# Controls but tab and line feed; marks that turn the direction of what follows; halves of
# characters, which UTF-8 cannot hold; tags, which no reader sees.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_ELLIPSIS = "…"
_LEAST, _FEW, _MANY = 0.001, 1, 1000


def visible(text: str) -> str:
    """The text with a code point's name in place of each character that would not be seen."""
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def one_line(text: str) -> str:
    """`visible`, with runs of white space as one blank."""
    return " ".join(visible(text).split())


def shortened(text: str, most: int) -> str:
    """At most so many characters, the last an ellipsis where some were left out."""
    return text if len(text) <= most else text[: most - 1].rstrip() + _ELLIPSIS


def number(value: float) -> str:
    """Four digits that count, or all whole ones; never as a power of ten."""
    if abs(value) >= _MANY:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= _LEAST or value == 0 else f"{value:.6f}"


def milliseconds(value_ms: float) -> str:
    """With its unit, and to a tenth as the command line tells it; below one to three digits."""
    return f"{value_ms:,.1f} ms" if abs(value_ms) >= _FEW else f"{value_ms:.3f} ms"
