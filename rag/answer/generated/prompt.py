"""Prompts as versioned files, and what an answer model is shown: rules, evidence, question.

What never changes comes first and the question last, so that servers that keep what they have read
read no more than they must. What pages say stays between marks that no page can write.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from PIL import Image

from rag.chat.shown_text import shown, shown_line, shown_page
from rag.ports import ChatMessage, Evidence

Part = str | Image.Image

_MOST_NAME_CHARS = 160
_MARK_CHARS = 16  # of a SHA-256
_BLANK = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Prompt:
    """The files of one version of a prompt.

    Attributes:
        parts: part -> its text, with blanks as in {{question}}.
    """

    name: str
    version: int
    parts: Mapping[str, str]

    @property
    def hash(self) -> str:
        """Short SHA-256 over all files, names and texts."""
        files = "\0".join(f"{part}\0{text}" for part, text in sorted(self.parts.items()))
        return hashlib.sha256(f"{self.name}-{self.version}\0{files}".encode()).hexdigest()[:12]

    def filled(self, part: str, **values: str | int) -> str:
        """A part with its blanks filled, all at once: what looks like a blank in a value stays.

        Raises:
            ValueError: a value without a blank or a blank without a value.
        """
        text = self.parts[part]
        if (blanks := set(_BLANK.findall(text))) != values.keys():
            raise ValueError(f"{part} has blanks {sorted(blanks)}, given were {sorted(values)}")
        return _BLANK.sub(lambda blank: str(values[blank[1]]), text)


@cache
def load_prompt(name: str, version: int) -> Prompt:
    """The prompt's files as they are shipped.

    Raises:
        ValueError: there are none.
    """
    prefix = f"{name}-{version}."
    parts = {
        file.name.removeprefix(prefix).removesuffix(".md"): file.read_text("utf-8").rstrip("\n")
        for file in resources.files("rag.answer.generated.prompts").iterdir()
        if file.name.startswith(prefix) and file.name.endswith(".md")
    }
    if not parts:
        raise ValueError(f"there is no prompt {name}-{version}")
    return Prompt(name, version, parts)


# --- an answer ----------------------------------------------------------------------------------
def answer_messages(
    prompt: Prompt,
    question: str,
    evidence: Sequence[Evidence],
    *,
    with_images: bool,
    repair: str = "",
) -> list[ChatMessage]:
    """The rules, then every page in the order given, then the question.

    Args:
        prompt: of answers.
        question: in words that stand alone.
        evidence: a number that comes twice is shown twice, in the same words.
        with_images: whether the model reads them.
        repair: what is to be said after a reply that could not be used. It follows the question in
            the same message: some templates take no two messages of a user in a row.
    """
    asked = shown(question).strip()
    foreign = {each.number: _foreign(each) for each in evidence}
    everything = "\0".join([asked, *(text for page in foreign.values() for text in page)])
    parts: list[Part] = []
    for each in evidence:
        name, words = foreign[each.number]
        parts += _page(prompt, each, name, words, everything, with_images=with_images)
    parts.append(prompt.filled("question", question=asked))
    if repair:
        parts.append(repair)
    return [
        ChatMessage("system", (prompt.filled("system"),)),
        ChatMessage("user", tuple(parts)),
    ]


def _foreign(evidence: Evidence) -> tuple[str, str]:
    """Name of the document and words of the page, as the model is shown them."""
    name = shown_line(evidence.hit.source, most_chars=_MOST_NAME_CHARS)
    return name, shown_page(evidence.text) if evidence.shows_text else ""


def _page(
    prompt: Prompt, evidence: Evidence, name: str, words: str, everything: str, *, with_images: bool
) -> list[Part]:
    """One page between its marks: words, whole picture, larger parts."""
    pictures = _pictures(prompt, evidence) if with_images else []
    if words:
        said = prompt.filled("words", words=words)
    elif evidence.shows_text or not pictures:
        said = prompt.filled("no_words")
    else:
        said = prompt.filled("words_in_picture")
    # Filled with a text that is nowhere else, so that it parts what goes before the pictures from
    # what goes after, whatever the page says.
    mark = _mark(name, words, pictures, everything)
    split = f"[pictures {mark}]"
    framed = prompt.filled(
        "evidence",
        number=evidence.number,
        mark=mark,
        document=name,
        page=evidence.hit.ref.page_number,
        words=said,
        pictures=split,
    )
    before, after = (side.strip("\n") for side in framed.split(split))
    if not pictures:
        return [f"{before}\n{after}"]
    return [before, *pictures, after]


def _pictures(prompt: Prompt, evidence: Evidence) -> list[Part]:
    parts: list[Part] = []
    if evidence.image is not None:
        parts += [prompt.filled("picture"), evidence.image.image]
    for number, crop in enumerate(evidence.crops, start=1):
        parts += [prompt.filled("crop", number=number, total=len(evidence.crops)), crop.image]
    return parts


def _mark(name: str, words: str, pictures: Sequence[Part], everything: str) -> str:
    """Letters and digits that stand in no words shown, and that no picture can show of itself.

    They hang on the page alone, so that the same page is shown in the same words in every question
    and can be read from a cache.
    """
    content = hashlib.sha256(f"{name}\0{words}".encode())
    for part in pictures:
        content.update(part.encode() if isinstance(part, str) else part.tobytes())
    salt = 0
    while True:
        content.update(bytes([salt]))
        if (mark := content.hexdigest()[:_MARK_CHARS]) not in everything:
            return mark
        salt = (salt + 1) % 256
