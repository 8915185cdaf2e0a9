"""What a model wrote as plain text: nothing that a front end would render, fetch or follow.

Pages may talk a model into writing an image whose address carries what it read, and chat front ends
fetch images, and previews of addresses, unasked. So tags go, links keep their words alone, and an
address is written so that nothing recognises it: without scheme and query, "[.]" for the dots of
its host. "amazon.com" stays, a name as good as any; it carries nothing.

Text goes through stages a character at a time, each holding back a bounded number of them, so that
it comes out the same however it arrives in pieces.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Protocol

MOST_HELD = 2300
"""Characters that a stream holds back at most."""

_ENTITY_CHARS = 32
_TAG_CHARS = 300
_LINK_CHARS = 500  # of a link's words, and again of its address
_NESTED_LINKS = 8
_MARK_CHARS = 24
# What stands in a mark: small numbers; "[19,378]" and "[2,021]" are figures in brackets.
_MARK = re.compile(r"(?!\d{1,2},\d{3}(?!\d)) *\^?\d{1,2}(?: *[,;\u2013-] *\d{1,2}| +\d{1,2})* *")
_WORD_CHARS = 400


def plain(text: str) -> str:
    """One line of plain text: white space is one space, none at its ends."""
    stream = PlainTextStream()
    return stream.feed(text) + stream.close()


def plain_name(source: str) -> str:
    """Name of a document for a sentence; "annual.report.pdf" stays, which is no host."""
    stem, ending = (source[:-4], source[-4:]) if source.lower().endswith(".pdf") else (source, "")
    said = plain(stem)
    return f"{said}{ending}" if said else "a document"


class PlainTextStream:
    """`plain`, of a text that arrives in pieces."""

    def __init__(self) -> None:
        self._stages: tuple[_Stage, ...] = (
            _Entities(),
            _Controls(),
            _Emphasis(),
            _Tags(),
            _Links(),
            _Marks(),
            _Emphasis(),  # what the stages between have brought together
            _Addresses(),
            _Marks(),
            _Emphasis(),
            _Guard(),
        )

    def feed(self, piece: str) -> str:
        """What may be shown after this piece and could not before."""
        for stage in self._stages:
            piece = "".join(map(stage.push, piece))
        return piece

    def close(self) -> str:
        """What was held back; nothing more is fed after it."""
        piece = ""
        for stage in self._stages:
            piece = "".join(map(stage.push, piece)) + stage.end()
        return piece


class _Stage(Protocol):
    def push(self, char: str) -> str: ...

    def end(self) -> str: ...


class _Entities:
    """&lt; and &#60; are decoded to the end, "&amp;lt;" too, before anything is looked for."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, char: str) -> str:
        if not self._held:
            if char != "&":
                return char
            self._held = char
            return ""
        if char == ";":
            return self._decoded(self.end() + char)
        if char == "&":
            return self.end() + self.push(char)
        self._held += char
        is_name = char.isascii() and (char.isalnum() or char == "#")
        return "" if is_name and len(self._held) < _ENTITY_CHARS else self.end()

    def _decoded(self, entity: str) -> str:
        """It is shorter than the entity, and may be the beginning of another."""
        decoded = html.unescape(entity)
        return decoded if decoded == entity else "".join(map(self.push, decoded))

    def end(self) -> str:
        held, self._held = self._held, ""
        return held


# Letters and patterns that are drawn as nothing.
_BLANKS = "\u115f\u1160\u2800\u3164\uffa0"


class _Controls:
    """No control, direction or invisible character; no terminal's escape sequence."""

    def __init__(self) -> None:
        self._sequence = ""
        self._last = ""

    def push(self, char: str) -> str:
        if self._sequence:
            self._sequence += char
            if _is_ended(self._sequence):
                self._sequence = ""
            return ""
        if char in "\x1b\x9b":
            self._sequence = "\x1b" if char == "\x1b" else "\x1b["
            return ""
        if char.isspace():
            return " "
        if char in "\u200c\u200d" and _joins(self._last):
            return char
        if char in _BLANKS or unicodedata.category(char) in ("Cc", "Cf", "Cs"):
            return ""
        if _is_selector(char):
            return ""
        self._last = char
        return char

    def end(self) -> str:
        self._sequence = ""
        return ""


def _is_ended(sequence: str) -> bool:
    """Whether an escape sequence is complete, or too long to be one."""
    kind = sequence[1]
    if kind == "[":
        return (len(sequence) > 2 and "@" <= sequence[-1] <= "~") or len(sequence) > 64
    if kind in "]P^_":
        return sequence[-1] in "\x07\x9c\x1b" or len(sequence) > 500
    return not " " <= kind <= "/" or len(sequence) > 2


def _joins(last: str) -> bool:
    """Whether a joiner after this letter is spelling, as in Persian and the scripts of India."""
    return "\u0600" <= last <= "\u0dff"


def _is_selector(char: str) -> bool:
    """Selectors of variants say nothing to a reader, and can carry a text to a machine."""
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0000" <= char <= "\U000e0fff"


class _Emphasis:
    """**words**, __words__ and `words` are words; "2 ** 3" is a power, and "company`s" a word."""

    def __init__(self) -> None:
        self._before = ""
        self._run = ""

    def push(self, char: str) -> str:
        if char in "*_`":
            self._run = (self._run + char)[:_RUN_CHARS]
            return ""
        run, self._before = self._settled(char), char
        return run + char

    def end(self) -> str:
        return self._settled("")

    def _settled(self, after: str) -> str:
        """What stays of the marks between two characters."""
        run, before, self._run = self._run, self._before, ""
        is_kept = run in ("", "*", "_") or (
            (run == "`" and before.isalpha() and after.isalpha())
            or (run == "__" and before.isalnum() and after.isalnum())
            or (run == "**" and before in ("", " ") and after in ("", " "))
            or (run == "**" and _ends_number(before) and _begins_number(after))
        )
        if run and is_kept:
            self._before = run[-1]
        return run if is_kept else ""


_RUN_CHARS = 3  # a longer run of marks is no other than one of so many


def _ends_number(char: str) -> bool:
    return char.isdigit() or char == ")"


def _begins_number(char: str) -> bool:
    return char.isdigit() or char in ("(", "-")


_BLOCK = re.compile(
    r"</?(?:br|p|div|li|ul|ol|tr|td|th|table|hr|h\d|pre|blockquote)\b", re.IGNORECASE
)


class _Tags:
    """<b>words</b> are words. What never closes stays, and `_Guard` keeps it from being a tag."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, char: str) -> str:
        if char == "<":
            before, self._held = self._held, char
            return before
        if not self._held:
            return char
        self._held += char
        if len(self._held) == 2 and not _opens_tag(char):
            return self.end()
        if char == ">":
            return " " if _BLOCK.match(self.end()) else ""
        return "" if len(self._held) < _TAG_CHARS else self.end()

    def end(self) -> str:
        held, self._held = self._held, ""
        return held


def _opens_tag(char: str) -> bool:
    return (char.isascii() and char.isalpha()) or char in "/!?"


_ADDRESS = re.compile(r"\s*(?:<[^<>]*>|\S*)(?:\s+[\"'(].*)?\s*", re.DOTALL)
_OPENING, _CLOSING = "[\uff3b\u3010", "]\uff3d\u3011"


class _Links:
    """[words](address), ![words](address) and [words][name] are their words."""

    def __init__(self, nested: int = 0) -> None:
        self._nested = nested
        self._clear()

    def _clear(self) -> None:
        self._lead = ""  # the "!" of an image
        self._words = ""  # with both brackets
        self._target = ""  # with its opening bracket
        self._depth = 0

    def push(self, char: str) -> str:
        if self._target:
            return self._in_target(char)
        if self._words and self._depth == 0:
            if char in "([":
                self._target, self._depth = char, 1
                return ""
            return self._as_they_stand() + self.push(char)
        if self._words:
            return self._in_words(char)
        if char == "[":
            self._words, self._depth = char, 1
            return ""
        lead, self._lead = self._lead, "!" if char == "!" else ""
        return lead + (char if char != "!" else "")

    def end(self) -> str:
        return self._as_they_stand()

    def _in_words(self, char: str) -> str:
        self._words += char
        self._depth += (char == "[") - (char == "]")
        too_much = len(self._words) > _LINK_CHARS or self._depth > _NESTED_LINKS
        return self._as_they_stand() if too_much and self._depth else ""

    def _in_target(self, char: str) -> str:
        opening = self._target[0]
        closing = ")" if opening == "(" else "]"
        self._target += char
        self._depth += (char == opening) - (char == closing)
        if self._depth:
            return self._as_they_stand() if len(self._target) > _LINK_CHARS else ""
        target, words = self._target[1:-1], self._words[1:-1]
        if re.fullmatch(r"[\d\s,;^-]*", words) or (
            opening == "(" and not _ADDRESS.fullmatch(target)
        ):
            return self._as_they_stand()
        if opening == "[" and (re.fullmatch(r"[\d\s,;^-]*", target) and target.strip()):
            return self._as_they_stand()
        self._clear()
        return self._inside(words)

    def _as_they_stand(self) -> str:
        """No link: the words with their brackets, what is in them read for itself."""
        lead, words, target = self._lead, self._words, self._target
        is_closed = bool(words) and (self._depth == 0 or bool(target))
        self._clear()
        if is_closed:
            words = f"[{self._inside(words[1:-1])}]"
        if target.startswith("["):
            inside = _Links(self._nested + 1)
            target = (
                "".join(map(inside.push, target)) + inside.end()
                if self._nested < _NESTED_LINKS
                else target
            )
        return lead + words + target

    def _inside(self, words: str) -> str:
        if self._nested >= _NESTED_LINKS:
            return words
        inside = _Links(self._nested + 1)
        return "".join(map(inside.push, words)) + inside.end()


class _Marks:
    """[3] is written by the checks alone; it goes with the space before it."""

    def __init__(self) -> None:
        self._held = ""
        self._has_space = False
        self._is_removed = False

    def push(self, char: str) -> str:
        if char in _OPENING:
            before = self._flush()
            self._held = char
            return before
        if self._held:
            if char in _CLOSING and _MARK.fullmatch(self._held[1:]):
                self._held, self._is_removed = "", True
                return ""
            self._held += char
            if (char.isdigit() or char in " ,;^-\u2013") and len(self._held) < _MARK_CHARS:
                return ""
            return self._flush()
        return self._spaced(char)

    def end(self) -> str:
        return self._flush()

    def _flush(self) -> str:
        held, self._held = self._held, ""
        return "".join(map(self._spaced, held))

    def _spaced(self, char: str) -> str:
        if char == " ":
            self._has_space = True
            return ""
        is_closed_up = self._is_removed and char in ".,;:!?)"
        space = " " if self._has_space and not is_closed_up else ""
        self._has_space = self._is_removed = False
        return space + char


_SCHEME = re.compile(
    r"[a-z][a-z0-9+.\-]*:[/\\]{2,}|\b(?:mailto|javascript|vbscript|data|file|tel|xmpp|blob):(?=\S)",
    re.IGNORECASE,
)
_DOT = r"(?:\.|\[\.\])"
_HOST = re.compile(
    r"(?<![\w@-])(?P<user>[\w.+-]+@)?"
    rf"(?P<host>(?:[\w-]+{_DOT})+(?:xn--[\w-]{{1,59}}|[^\W\d_]{{2,24}})"
    rf"|(?:www{_DOT})?(?:\d{{1,3}}{_DOT}){{3}}\d{{1,3}})"
    r"(?P<rest>(?::\d+)?(?P<path>[/\\?#][^\s\"'<>()\[\]]*)?)",
    re.IGNORECASE,
)
_SHARE = re.compile(r"(?<!\S)\\{2,}")  # as of Windows
_WWW = re.compile(r"\b(www)\.(?=\w|$)", re.IGNORECASE)  # of what is no whole host


class _Addresses:
    """Word by word, addresses as nothing recognises them; a word without end is broken."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, char: str) -> str:
        if char == " " or (unicodedata.east_asian_width(char) in "WF" and not _is_of_address(char)):
            return self.end() + char
        self._held += char
        return self.end() + " " if len(self._held) >= _WORD_CHARS else ""

    def end(self) -> str:
        held, self._held = self._held, ""
        narrow = held if held.isascii() else _narrow(held)
        if not any(char in narrow for char in ".:\\"):
            return held
        words = _as_words(narrow)
        return held if words == narrow else words


def _is_of_address(char: str) -> bool:
    """Of wide characters, those that browsers take for a letter, digit or sign of an address."""
    narrow = _narrow(char)
    return narrow.isascii() and (narrow.isalnum() or narrow in ".:/?#@-_")


def _narrow(text: str) -> str:
    """With the dots, letters and digits that an address may as well be written with."""
    return unicodedata.normalize("NFKC", text).replace("\u3002", ".")


def _as_words(word: str) -> str:
    had_scheme = False
    while (bare := _SCHEME.sub("", word)) != word:
        word, had_scheme = bare, True
    word = word.replace("://", " ")
    word = _SHARE.sub("", word)

    def defanged(match: re.Match[str]) -> str:
        host, path = match["host"], match["path"] or ""
        labels = host.replace("[.]", ".").split(".")
        is_number = labels[-1].isdigit()  # as of a version, unless something follows
        is_address = had_scheme or bool(path) or labels[0].lower() == "www"
        is_address |= bool(match["rest"]) and is_number
        is_address |= len(labels) > 2 and not is_number and any(map(_is_name, labels[:-1]))
        if not is_address or (match["user"] and not path and not had_scheme):
            return match.group()
        kept = re.split(r"[?#]", match["rest"])[0]
        return (match["user"] or "") + "[.]".join(labels) + kept

    while (written := _WWW.sub(r"\1[.]", _HOST.sub(defanged, word))) != word:
        word = written  # what was part of an address may be one by itself
    return word


def _is_name(label: str) -> bool:
    """No letter of "U.S." and no number of a section."""
    return len(label) > 1 and any(map(str.isalpha, label))


class _Guard:
    """Whatever came of the stages before, no two characters stand together that begin markup.

    White space is one space, none at either end.
    """

    def __init__(self) -> None:
        self._last = ""
        self._has_space = False
        self._entity = ""  # what may become one

    def push(self, char: str) -> str:
        if char == " ":
            self._has_space, self._entity = self._last != "", ""
            return ""
        last = self._last
        is_markup = (last == "<" and _opens_tag(char)) or (last == "]" and char in "([")
        # "[1[2]3]" is a mark once what it holds is gone.
        is_mark = last != "" and last in _OPENING and char.isdigit()
        space = " " if self._has_space or is_markup or is_mark or self._ends_entity(char) else ""
        self._last, self._has_space = char, False
        return space + char

    def _ends_entity(self, char: str) -> bool:
        entity, self._entity = self._entity, ""
        if char == "&":
            self._entity = char
        elif entity and char.isascii() and (char.isalnum() or char == "#"):
            self._entity = entity + char if len(entity) < _ENTITY_CHARS else ""
        return bool(entity) and char == ";" and html.unescape(entity + char) != entity + char

    def end(self) -> str:
        return ""
