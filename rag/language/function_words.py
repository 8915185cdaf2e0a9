"""Words that make sentences and questions and say nothing about their subject, by language."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from rag.language.folding import TOKEN, fold

# What asks in writing without spaces, where no word ends; the longer before what it begins with.
_RUNS = re.compile(
    "什么|什麼|多少|哪里|哪裡|哪儿|哪个|哪個|哪些|怎么|怎麼|怎样|怎樣|为什么|為什麼|如何|请问|請問"
    "|谁|誰|[吗嗎呢了]|(?<![目标標])的|(?<![于於但还還可总總])是"
    "|何(?:ですか|人|年|時)?|いくら|いつ|どこ|だれ|どの|どれ|なぜ|とは|ですか|ますか|です|ます"
    "|อะไร|เท่าไร|เท่าไหร่|ที่ไหน|เมื่อไร|ใคร|ทำไม|อย่างไร|กี่"
)


@cache
def all_function_words() -> dict[str, frozenset[str]]:
    """Language -> folded words."""
    text = resources.files("rag.language").joinpath("function_words.txt").read_text("utf-8")
    lines = (line.split(":", 1) for line in text.splitlines() if line and line[0] != "#")
    return {
        name: frozenset(token for word in words.split() for token in TOKEN.findall(fold(word)))
        for name, words in lines
    }


def function_words(language: str) -> frozenset[str]:
    """Folded; empty for a language without a list."""
    return all_function_words().get(language, frozenset())


def without_function_runs(question: str) -> str:
    """A question in writing without spaces, cut where it only asks."""
    return question if question.isascii() else _RUNS.sub(" ", question)
