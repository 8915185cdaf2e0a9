"""JSON out of what a chat model said; whoever asked holds it to its shape."""

from __future__ import annotations

import json
import re

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)


def parsed(text: str) -> object:
    """The JSON value that is the whole reply, in a fence or bare; None where it is none."""
    fenced = _FENCED.fullmatch(text)
    try:
        return json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError):
        return None
