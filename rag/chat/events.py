"""Server-sent events out of bytes that may be cut anywhere, in the middle of a character too.

Source: html.spec.whatwg.org, "Server-sent events", 9.2.5 and 9.2.6. Names and ids of events are
left out: servers of chat completions use none.
"""

from __future__ import annotations

import codecs
import re

# The ends of a line that the format knows; the others of Unicode may stand inside data.
_LINE_END = re.compile(r"\r\n|\n|\r")


class EventReader:
    """Data of events, each once its empty line has come; lines of it are joined by line feeds.

    Attributes:
        n_pending_chars: of the event that is not complete yet.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._is_after_cr = False
        self._line: list[str] = []  # pieces of one that has not ended
        self._data: list[str] = []  # lines of an event that has not ended
        self.n_pending_chars = 0

    def feed(self, came: bytes) -> list[str]:
        """The data of the events that end within these bytes."""
        return self._read(self._decoder.decode(came))

    def end(self) -> list[str]:
        """Data that no empty line followed, which the format leaves out and servers send."""
        return self._read(self._decoder.decode(b"", final=True) + "\n\n")

    def _read(self, text: str) -> list[str]:
        if self._is_after_cr and text:
            text = text.removeprefix("\n")  # the other half of a line's end
            self._is_after_cr = False
        if not text:
            return []
        self._is_after_cr = text.endswith("\r")
        *ended, rest = _LINE_END.split(text)
        found = []
        for line in ended:
            self._line.append(line)
            data = self._take("".join(self._line))
            self._line.clear()
            if data is not None:
                found.append(data)
        if ended:
            self.n_pending_chars = sum(map(len, self._data))
        self._line.append(rest)
        self.n_pending_chars += len(rest)
        return found

    def _take(self, line: str) -> str | None:
        """The event's data, where this line ends one that has any."""
        if line:
            name, _, value = line.partition(":")  # a comment has an empty name
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return None
        if not self._data:
            return None
        data = "\n".join(self._data)
        self._data.clear()
        return data
