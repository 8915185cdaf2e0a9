"""The contract of answer models: quoted answers, and those of chat models that mean well or ill."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from answer_contract import LAWS, Answering

from rag.answer.extractive import ExtractiveAnswers
from rag.answer.generated.model import GeneratedAnswers
from rag.ports import AnswerModel, ChatReply
from rag.settings import AnswerSettings
from rag.testing.fake_chat import Asked, FakeChat
from rag.types import Json, TokenUsage

_SHOWN = re.compile(
    r"\[evidence (\d+) begins [^\]\n]*\]\ndocument: (.*?)\npage: (\d+)\n(.*?)\[evidence \1 ends",
    re.DOTALL,
)
_WORDS = "words of the page:\n"
_PIECES = """<b> </b> [1] [2,3] http://evil.com/x www.evil.com ![a](http://e.com) &lt;i&gt; \u202e
    \x1b[31m \u200b rose fell 5% $1,204 2021 million <|im_end|> [unsupported] ]( 9,999""".split()
_EXPRESSIONS = ("", "14,688 / 8,241", "5,921 - 5,449", "1 / 0", "count(sources)", "2 +", "__x__")


class _Page:
    def __init__(self, number: str, name: str, page: str, said: str) -> None:
        self.number, self.key = int(number), (name, int(page))
        self.words = said.partition(_WORDS)[2].split()


def _shown(asked: Asked) -> list[_Page]:
    """Pages of the prompt, each once, in the same order wherever they stand there."""
    pages = {page.key: page for page in (_Page(*found) for found in _SHOWN.findall(asked.text))}
    return [pages[key] for key in sorted(pages)]


def _reply(claims: list[Json], **changed: Any) -> str:
    said = {"abstained": False, "reason": "", "claims": claims, "short": ""}
    return json.dumps(said | changed)


def _claim(text: str, sources: list[tuple[int, str]], expression: str = "") -> Json:
    return {
        "text": text,
        "sources": [{"evidence": number, "quote": quote} for number, quote in sources],
        "formula": "of what was said" if expression else "",
        "expression": expression,
    }


def _random(asked: Asked, seed: int) -> random.Random:
    return random.Random(f"{seed} {asked.messages[-1].parts[-1]}")


def _slice(page: _Page, rng: random.Random) -> str:
    start = rng.randrange(max(1, len(page.words)))
    return " ".join(page.words[start : start + rng.randint(2, 9)])


def right(asked: Asked) -> ChatReply:
    """Says in a page's words what the page says, and cites it twice."""
    rng, claims = _random(asked, 0), []
    for page in _shown(asked):
        quotes = [quote for quote in (_slice(page, rng), _slice(page, rng)) if quote]
        claims += [_claim(quote, [(page.number, each) for each in quotes]) for quote in quotes]
        if not page.words:
            claims.append(_claim("The curve rises.", [(page.number, "")]))
    short = claims[0]["text"] if claims else ""
    return ChatReply(_reply(claims, short=short), usage=TokenUsage(100, 20))


def counting(asked: Asked) -> str:
    """Calculates with figures that stand on pages, and with one that stands on none."""
    claims = [
        _claim(
            "The current ratio was 1.78.",
            [
                (page.number, "Total current assets 14,688"),
                (page.number, "Total current liabilities 8,241"),
            ],
            expression,
        )
        for page in _shown(asked)
        for expression in ("14,688 / 8,241", "14,688 / 8,242")
    ]
    return _reply(claims, short="1.78")


def hostile(seed: int) -> Callable[[Asked], str]:
    """Quotes and texts of pages, of other pages and of nothing, with all that might be rendered."""

    def say(asked: Asked) -> str:
        rng, claims = _random(asked, seed), []
        pages = [page for page in _shown(asked) if page.words]
        for _ in range(rng.randint(1, 7)):
            sources, text = [], " ".join(rng.choices(_PIECES, k=rng.randint(0, 4)))
            for _ in range(rng.randint(0, 4)):
                page = rng.choice(pages) if pages else None
                quote = _slice(page, rng) if page else ""
                kind = rng.randrange(6)
                if page is None or kind == 0:
                    sources.append((0, quote or rng.choice(_PIECES)))
                elif kind == 1:
                    sources.append((page.number, rng.choice(_PIECES)))
                elif kind == 2:
                    sources.append((rng.choice(pages).number, quote))
                elif kind == 3:
                    sources.append((page.number, f"{quote} ... {_slice(page, rng)}"))
                else:
                    sources.append((page.number, quote))
                    text = f"{rng.choice(_PIECES)} {quote} {text}"
            expression = rng.choice(_EXPRESSIONS) if rng.randrange(3) == 0 else ""
            claims.append(_claim(text, sources, expression))
            if rng.randrange(4) == 0:
                claims.append(rng.choice(claims))
        figures = [word for page in pages for word in page.words if word[:1].isdigit()]
        short = rng.choice([*figures, *_PIECES, ""])
        return _reply(claims, short=short, reason=" ".join(rng.choices(_PIECES, k=3)))

    return say


def abstaining(asked: Asked) -> str:
    """With a reason that has everything in it, or by claims of which none stands."""
    page, question = _shown(asked)[0], str(asked.messages[-1].parts[-1])
    if "harbour" in question:
        said = " ".join(page.words[:3])
        return _reply([_claim(f"{said} 123,456.", [(page.number, said)])])
    reason = f"See <b>http://evil.com</b> [1] {' '.join(page.words[:4])}"
    return _reply([], abstained=True, reason=reason)


def repaired(asked: Asked) -> str | ChatReply:
    """Breaks off, and says it rightly when it is asked again."""
    whole = right(asked)
    if "could not be used" in asked.text or "was too long" in asked.text:
        return whole
    return ChatReply(whole.text[: 2 * len(whole.text) // 3], usage=TokenUsage(90, 9))


def generated(replies: Any, **settings: Any) -> AnswerModel:
    chat = FakeChat(replies, piece_chars=23)
    return GeneratedAnswers(chat, AnswerSettings(model="chat", **settings))


MODELS: dict[str, Callable[[], AnswerModel]] = {
    "extractive": lambda: ExtractiveAnswers(AnswerSettings()),
    "extractive, never in doubt": lambda: ExtractiveAnswers(AnswerSettings(min_confidence=0)),
    "right": lambda: generated(right),
    "counting": lambda: generated(counting),
    "abstaining": lambda: generated(abstaining),
    "repaired": lambda: generated(repaired),
    "flagging": lambda: generated(hostile(0), policy="flag"),
    **{f"hostile {seed}": lambda seed=seed: generated(hostile(seed)) for seed in range(1, 3)},
}


@pytest.fixture(name="answering", scope="module")
def _answering(request: pytest.FixtureRequest) -> Answering:
    return Answering(MODELS[request.param]())


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("answering", MODELS, indirect=True, scope="module")
def test_an_answer_model_keeps_the_contract(answering, law):
    law(answering)


@pytest.mark.parametrize("answering", MODELS, indirect=True, scope="module")
def test_the_laws_are_about_something(answering, request):
    answered = [answer for _, answer in answering.answers if not answer.abstained]
    if "abstaining" in request.node.callspec.id:
        assert not answered
        return
    assert len(answered) >= 2
    assert any(len(answer.citations) > 1 for answer in answered)
    assert any(events for _, _, events in answering.told)
