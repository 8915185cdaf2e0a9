"""Secrets that this process knows, taken out of whatever it says."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping
from urllib.parse import quote

HIDDEN = "***"

# A shorter one would take its letters out of every other word; its name gives it away below.
_SHORTEST = 4
_SHORTEST_OF_ENVIRONMENT = 6
_SECRET_NAME = re.compile(
    r"(^|_)(API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|KEY|TOKEN|PASSWORD|PASSWD|PASSPHRASE|PWD|SECRET|"
    r"CREDENTIALS?)(_|$)",
    re.IGNORECASE,
)
_PLACE_NAME = re.compile(r"_(FILE|PATH|DIR|URL|ID|NAME)$", re.IGNORECASE)
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})  # where the shell is
_HEADERS_NAME = re.compile(r"HEADERS?$", re.IGNORECASE)  # as in OTEL_EXPORTER_OTLP_HEADERS
_URL_PASSWORD = re.compile(r"(?P<before>[A-Za-z][\w+.-]*://[^/\s:@'\"]*:)(?P<secret>[^/\s@]+)@")
_FORMS = (
    re.compile(
        r"(?P<before>\b(?:bearer|basic)\s+)(?P<secret>[A-Za-z0-9._~+/=-]{6,})", re.IGNORECASE
    ),
    re.compile(
        r"(?P<before>\b[\w-]*(?:api[-_]?key|authorization|token|password|secret)[\"']?\s*"
        r"(?:=|:(?=\s*[\"']))\s*[\"']?)(?P<secret>(?!bearer\b|basic\b|\*)[^\s\"',;}&]{4,})",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<before>\bx-[\w-]+:\s*)(?P<secret>[^\s\"',;}]{4,})", re.IGNORECASE),
)

_lock = threading.Lock()
_known: set[str] = set()
_pattern: re.Pattern[str] | None = None


def keep_secret(values: Iterable[str]) -> None:
    """From now on `without_secrets` knows them, also as they stand in URLs."""
    global _pattern
    with _lock:
        for value in values:
            if len(value) >= _SHORTEST:
                _known.update({value, quote(value, safe="")})
        # The longest first: one may begin as another does.
        longest = sorted(_known, key=lambda each: (-len(each), each))
        _pattern = re.compile("|".join(map(re.escape, longest))) if longest else None


def keep_environment_secret(environ: Mapping[str, str] | None = None) -> None:
    """What variables hold whose names are those of keys, and passwords of URLs in any."""
    keep_secret(_in_environment(os.environ if environ is None else environ))


def _in_environment(environ: Mapping[str, str]) -> Iterable[str]:
    for name, value in environ.items():
        yield from (found["secret"] for found in _URL_PASSWORD.finditer(value))
        if _HEADERS_NAME.search(name):
            for pair in value.split(","):
                held = pair.partition("=")[2].strip()
                yield from (part for part in (held, held.rpartition(" ")[2]) if len(part) > 3)
        elif (
            len(value) >= _SHORTEST_OF_ENVIRONMENT
            and _SECRET_NAME.search(name)
            and not _PLACE_NAME.search(name)
            and name not in _NO_SECRETS
        ):
            yield value


def without_secrets(text: str) -> str:
    """The text with `***` for each secret that is known, or that its form gives away."""
    if _pattern is not None:
        text = _pattern.sub(HIDDEN, text)
    text = _URL_PASSWORD.sub(rf"\g<before>{HIDDEN}@", text)
    for form in _FORMS:
        text = form.sub(rf"\g<before>{HIDDEN}", text)
    return text
