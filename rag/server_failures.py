"""What a server of models is called, and what is said where it fails. A key is in no message."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from rag.errors import ConfigError, ModelFailed

_FIRST_WAIT_S = 0.25


@dataclass(frozen=True)
class ServerKind:
    """What a kind of server is called, and which settings its failures lead to.

    Attributes:
        name: as in "the embedding server 127.0.0.1:8000".
        section: of the settings that name it, as in "encoder".
        prefix: of the codes `_unreachable`, `_timeout` and `_refused`.
        bad_answer: code of an answer that is too large or no JSON object.
        for_status: next step by the status of a refusal.
        otherwise: next step of any other refusal.
        too_large: next step where an answer is larger than such a server has reason to send.
        too_late: next step where whoever asked had no more time.
    """

    name: str
    section: str
    prefix: str
    bad_answer: str
    for_status: Mapping[int, str] = field(default_factory=dict)
    otherwise: str = ""
    too_large: str = ""
    too_late: str = ""

    @property
    def key_variable(self) -> str:
        return f"OCTAVO_{self.section.upper().replace('.', '__')}__API_KEY"


class Broken(Exception):
    """A try failed in a way that another may not; `error` is what to raise when none is left."""

    def __init__(self, error: ModelFailed, wait_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait_s = wait_s  # as the server asks


class Refused(ModelFailed):
    """The server will not have the request, however often it is asked.

    Attributes:
        said: the server's own words, one short line that may repeat the request, and so is shown
            to nobody; empty where it has none.
    """

    def __init__(
        self, message: str, *, status: int, code: str, next_step: str, said: str = ""
    ) -> None:
        super().__init__(message, code=code, next_step=next_step)
        self.status = status
        self.said = said


class TooLate(ModelFailed):
    """Whoever asked had given it a time, which is over."""


@dataclass(frozen=True)
class Failures:
    """The errors of one server.

    Attributes:
        server_name: host and port.
        key: what is sent to it, and never shown.
        timeout_s: of one try.
    """

    kind: ServerKind
    server_name: str
    key: str = field(repr=False)
    timeout_s: float

    def failure(
        self, status: int, said: object, *, wait_s: float | None = None, sent: object = None
    ) -> Broken | Refused:
        """What to raise of a failure that the server tells of: Refused, or Broken.

        Args:
            status: as of HTTP.
            said: its own words, as text or in the JSON that servers wrap them in.
            wait_s: how long it asks to be left alone.
            sent: the JSON that it was asked with; of that nothing is repeated in messages.
        """
        kind, words = self.kind, self._words(said)
        said = one_line(words)
        told = one_line(unechoed(words, _texts(sent)))
        words = f": {told}" if told else ""
        if status in (429, 408) or status >= 500:
            return Broken(self.unreachable(f"it answers {status}{words}"), wait_s=wait_s)
        return Refused(
            f"the {kind.name} {self.server_name} answers {status}{words}",
            status=status,
            code=f"{kind.prefix}_refused",
            said=said,
            next_step={
                401: f"Give its key as {kind.key_variable}.",
                403: f"Give a key that may use this model as {kind.key_variable}.",
                **kind.for_status,
            }.get(status, kind.otherwise),
        )

    def redirect(self, status: int, location: str) -> Refused:
        """Of a server that sends its callers elsewhere."""
        kind = self.kind
        target = urlsplit(location).netloc or self.server_name
        return Refused(
            f"the {kind.name} {self.server_name} sends its callers to {one_line(target)}",
            status=status,
            code=f"{kind.prefix}_refused",
            next_step=f"Set {kind.section}.url to that address where you trust it; redirects are "
            "not followed, because the key would go along.",
        )

    def broken(self, why: str) -> Broken:
        """What to raise of an answer that ends before it is complete."""
        return Broken(self.unreachable(why))

    def too_late(self) -> TooLate:
        kind = self.kind
        return TooLate(
            f"the time for the answer was over before the {kind.name} {self.server_name} had "
            "given it",
            code=f"{kind.prefix}_timeout",
            next_step=kind.too_late,
        )

    def unreachable(self, why: str) -> ModelFailed:
        kind, said = self.kind, one_line(self._without_key(why))
        return ModelFailed(
            f"the {kind.name} {self.server_name} cannot be used: {said}",
            code=f"{kind.prefix}_unreachable",
            next_step=f"See that it runs and that {kind.section}.url is its address, then run this "
            "again; `octavo doctor` asks it.",
        )

    def too_slow(self) -> ModelFailed:
        kind = self.kind
        return ModelFailed(
            f"the {kind.name} {self.server_name} took more than {self.timeout_s:g} s for a request",
            code=f"{kind.prefix}_timeout",
            next_step=f"Raise {kind.section}.timeout_s, or lower {kind.section}.requests so that "
            "fewer wait at once.",
        )

    def too_large(self, limit: int) -> ModelFailed:
        """What to raise of an answer of more than `limit` bytes."""
        kind = self.kind
        return ModelFailed(
            f"the {kind.name} {self.server_name} answers with more than {limit / 1e6:g} MB",
            code=kind.bad_answer,
            next_step=kind.too_large,
        )

    def packed(self, encoding: str) -> ModelFailed:
        """A few kilobytes may unpack to more than the memory there is, so none is unpacked."""
        kind = self.kind
        return ModelFailed(
            f"the {kind.name} {self.server_name} answers in the encoding {one_line(encoding)}, and "
            "was asked for none",
            code=kind.bad_answer,
            next_step=f"Turn compression off in what stands before {kind.section}.url.",
        )

    def no_object(self) -> ModelFailed:
        kind = self.kind
        return ModelFailed(
            f"the {kind.name} {self.server_name} answers with something that is no JSON object",
            code=kind.bad_answer,
            next_step=f"Check that {kind.section}.url is the server itself, and not a page in "
            "front of it.",
        )

    def _words(self, said: object) -> str:
        """The server's own words without the key; nothing where it says none."""
        for key in ("error", "message", "detail"):
            if isinstance(said, dict) and key in said:
                said = said[key]
        if said is None:
            return ""
        return self._without_key(said if isinstance(said, str) else json.dumps(said))

    def _without_key(self, text: str) -> str:
        return text.replace(self.key, "***") if self.key else text


def checked_address(url: str, kind: ServerKind) -> str:
    """The address without its trailing slash.

    Raises:
        ConfigError: it is none, or holds a password or a query.
    """
    none = ConfigError(
        f"{kind.section}.url is no address of a server",
        next_step="Write it like http://127.0.0.1:8000.",
    )
    try:
        parts = urlsplit(url.strip())
        has_port = parts.port != 0  # raises for one that no server can have
        httpx.URL(url.strip())
    except (ValueError, httpx.InvalidURL) as error:
        raise none from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not has_port:
        raise none
    # Either would end up in logs of the libraries below.
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"{kind.section}.url holds more than an address",
            next_step="Leave out what stands before @ or after ?; a key goes into "
            f"{kind.key_variable}.",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def checked_key(api_key: SecretStr | None, kind: ServerKind) -> str:
    """The key as a header can carry it; the library below would quote it when it complains."""
    key = "" if api_key is None else api_key.get_secret_value().strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"the key of the {kind.name} holds characters that no key has",
            next_step=f"Give it again as {kind.key_variable}, in one line.",
        )
    return key


def asked_wait_s(retry_after: str) -> float | None:
    """Seconds that a server asks to be left alone in its header; None where it does not say.

    Source: RFC 9110, 10.2.3: a number of seconds, or a date.
    """
    asked = retry_after.strip()
    if asked.isdecimal():
        return float(asked)
    try:
        when = parsedate_to_datetime(asked)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


class Pauses:
    """Seconds between tries of one request, longer each time.

    Spread, so that requests turned away together do not come back together.

    Args:
        longest_s: before it is spread.
    """

    def __init__(self, *, longest_s: float = 30.0) -> None:
        self._wait_s = _FIRST_WAIT_S
        self._longest_s = longest_s

    def next(self, asked_s: float | None = None) -> float:
        """The pause before the next try: what the server asks for, where it does."""
        pause_s = self._wait_s * random.uniform(0.5, 1.5) if asked_s is None else asked_s
        self._wait_s = min(2 * self._wait_s, self._longest_s)
        return pause_s


def one_line(text: str) -> str:
    """One short line of what somebody else wrote."""
    line = re.sub(r"[A-Za-z0-9+/=]{200,}", "...", " ".join(text.split()))  # an image it echoes
    line = "".join(each for each in line if each.isprintable())
    return line if len(line) <= 300 else line[:300] + "..."


# --- echoes -------------------------------------------------------------------------------------
THE_REQUEST = "(the request)"
_ECHO_CHARS = 20  # letters and digits in a row; fewer may be the server's own
_ESCAPE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|.)")


def unechoed(said: str, sent: Iterable[str]) -> str:
    """What somebody else says of a request; THE_REQUEST where it repeats what was sent.

    Rules, pages and questions would get into logs that way. Letters and digits alone are compared,
    so that no quoting or escaping makes a difference.
    """
    heard = _squeezed(_ESCAPE.sub(lambda found: chr(int(found[1] or "20", 16)), said))
    runs = {heard[start : start + _ECHO_CHARS] for start in range(1 + len(heard) - _ECHO_CHARS)}
    for text in sent if runs else ():
        own = _squeezed(text)
        if any(own[at : at + _ECHO_CHARS] in runs for at in range(1 + len(own) - _ECHO_CHARS)):
            return THE_REQUEST
    return said


def _squeezed(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _texts(sent: object) -> Iterator[str]:
    """What a request says, without names of models and parameters, and without pictures."""
    if isinstance(sent, str):
        if not sent.startswith("data:"):
            yield sent
    elif isinstance(sent, Mapping):
        for name, value in sent.items():
            if name not in ("model", "response_format"):
                yield from _texts(value)
    elif isinstance(sent, list | tuple):
        for value in sent:
            yield from _texts(value)
