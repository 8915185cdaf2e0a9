"""The questions a tuning asks: somebody's own, or runs of the pages' own words.

Sampled ones are no people's questions: their words stand on a page, in that order. Whether that
makes them easier depends on the collection (docs/tuning.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from rag.errors import InputError
from rag.page_text import PageText
from rag.scoring.lexical import is_content_word

# Questions of people have about so many words; a shorter line says too little by itself.
_MOST_WORDS = 12
# Nobody asks more, and encoding takes time and memory with the length.
_MOST_CHARACTERS = 10_000
_LONGEST_LINE = 1_000_000  # of JSON that may hold more than the question
_LEAST_CONTENT_WORDS = 3
_WANTED = (
    'Write each line as {"text": "the question"}, or give a .txt file with one question a line.'
)


def read_questions(path: Path) -> list[str]:
    """Questions of a file: one a line, or a JSON object with `text` a line where it ends in .jsonl.

    Raises:
        InputError: `no_questions`, or `bad_questions` naming the line.
    """
    is_json = path.suffix.lower() in (".jsonl", ".ndjson")
    questions = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            # Not splitlines(): a question may hold a line separator that JSON leaves as it is.
            lines = iter(lambda: file.readline(_LONGEST_LINE + 1), "")
            for number, line in enumerate(lines, start=1):
                if line.strip() or len(line) > _LONGEST_LINE:
                    questions.append(_question(line, f"{path.name} line {number}", is_json=is_json))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(
            f"{path.name} cannot be read: {reason}",
            code="bad_questions",
            next_step="Give a text file with one question a line, or a queries.jsonl.",
        ) from error
    if not questions:
        raise InputError(
            f"{path.name} holds no question",
            code="no_questions",
            next_step="Write one question a line, or leave --queries out to sample some.",
        )
    return list(dict.fromkeys(questions))


def sample_questions(pages: Iterable[PageText], n: int, *, seed: int) -> list[str]:
    """Up to `n` runs of words, one a page before any page gives a second.

    Args:
        pages: in the order in which they are to be drawn from; read no further than needed.
        n: questions wanted.
        seed: of the choice of lines.

    Raises:
        InputError: `no_words`, where no page has any.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    kept: list[list[str]] = []
    for page in pages:
        runs = _runs(page)
        if not runs:
            continue
        order = rng.permutation(len(runs)).tolist()
        shuffled = [runs[index] for index in order]
        found.setdefault(shuffled[0])
        kept.append(shuffled[1:])
        if len(found) >= n:
            return list(found)
    if not found:
        raise InputError(
            "no page has words to sample questions from",
            code="no_words",
            next_step="Give your own with --queries FILE, one question a line.",
        )
    for depth in range(max(map(len, kept))):
        for runs in kept:
            if len(found) >= n:
                return list(found)
            if depth < len(runs):
                found.setdefault(runs[depth])
    return list(found)


def _runs(page: PageText) -> list[str]:
    """Lines that say something by themselves; where there are none, one run of content words."""
    lines = [
        " ".join(words)
        for start, end in page.line_spans
        if _says_something(words := page.words[start : min(end, start + _MOST_WORDS)])
    ]
    if lines:
        return list(dict.fromkeys(lines))
    content = [word for word in page.words if is_content_word(word)]
    return [" ".join(content[:_MOST_WORDS])] if content else []


def _says_something(words: Sequence[str]) -> bool:
    """Enough content words, one of them at least with letters: a row of figures asks nothing."""
    content = [word for word in words if is_content_word(word)]
    return len(content) >= _LEAST_CONTENT_WORDS and any(any(map(str.isalpha, w)) for w in content)


def drawing_order(n_pages: int, *, seed: int) -> Iterator[int]:
    """Indexes of all pages in a random order."""
    return iter(np.random.default_rng(seed).permutation(n_pages).tolist())


def _question(line: str, where: str, *, is_json: bool) -> str:
    if len(line) > _LONGEST_LINE:
        raise _too_long(where, _LONGEST_LINE)
    text = _json_text(line, where) if is_json else line.strip()
    if len(text) > _MOST_CHARACTERS:
        raise _too_long(where, _MOST_CHARACTERS)
    # Half a surrogate pair, which JSON can spell, is a question mark as in a search.
    return text.encode("utf-8", "replace").decode("utf-8")


def _too_long(where: str, most: int) -> InputError:
    return InputError(
        f"{where} is longer than {most:,} characters",
        code="bad_questions",
        next_step="Give one question a line, as people would ask it.",
    )


def _json_text(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where} is not JSON: {error}", code="bad_questions", next_step=_WANTED
        ) from error
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise InputError(
            f"{where} wants an object with the question as 'text', got {line.strip()[:60]!r}",
            code="bad_questions",
            next_step=_WANTED,
        )
    return text.strip()
