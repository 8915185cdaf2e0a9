"""Answers judged claim by claim: completeness and faithfulness.

Completeness: the claims that the question needs are taken from the gold answer; the share of them
that the answer says. Faithfulness: the claims that the answer makes; the share of them that the
gold answer or the words of the gold pages say.

Source: UniDoc-Bench (arXiv:2510.03663); there at temperature 0.85 with one reading, here at 0 with
several, and what cannot be read is not scored (docs/adr/0039-judge.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import Field

from eval.judge.asking import NoVerdict, Reply, Tally, asked, judge_prompt, object_schema, pieces
from eval.judge.material import Material
from eval.judge.votes import Ballot, orders
from rag.ports import ChatModel
from rag.types import Json

PROMPT = ("claims", 1)
_MAX_CLAIMS = 40

# Why there is no score; "" where there is one.
UNPARSED = "unparsed"
NO_CLAIMS = "no_claims"


class _Claims(Reply):
    claims: list[str] = Field(max_length=_MAX_CLAIMS)


class _Verdict(Reply):
    claim: int
    holds: bool


class _Verdicts(Reply):
    verdicts: list[_Verdict]


_CLAIMS_SCHEMA = object_schema({"claims": {"type": "array", "items": {"type": "string"}}})
_VERDICTS_SCHEMA = object_schema(
    {
        "verdicts": {
            "type": "array",
            "items": object_schema({"claim": {"type": "integer"}, "holds": {"type": "boolean"}}),
        }
    }
)


@dataclass(frozen=True)
class Score:
    """The share of claims that hold.

    Attributes:
        claims: with what the readings said of each.
        failure: why there is none; empty where there is one.
    """

    claims: tuple[tuple[str, Ballot], ...] = ()
    failure: str = ""

    @property
    def value(self) -> float | None:
        if self.failure:
            return None
        return sum(ballot.holds for _, ballot in self.claims) / len(self.claims)

    def as_dict(self) -> Json:
        return {
            "value": self.value,
            "failure": self.failure,
            "claims": [
                {"claim": claim, "holds": ballot.holds, "votes": list(ballot.votes)}
                for claim, ballot in self.claims
            ],
        }


@dataclass(frozen=True)
class ClaimJudge:
    """Judges answers by their claims. Thread-safe where its model is.

    Attributes:
        n_votes: readings of each set of claims; the claims themselves are taken once, as votes are
            about something.
        seed: of the orders in which claims are shown.
    """

    chat: ChatModel
    n_votes: int = 3
    seed: int = 0

    @property
    def prompt_hash(self) -> str:
        return judge_prompt(*PROMPT).hash

    def completeness(self, about: Material, tally: Tally) -> Score:
        """Raises RagError as ChatModel."""
        reference = [("question", about.question), ("reference answer", about.reference)]
        return self._scored(
            about,
            self._taking("needed", reference, tally),
            "held",
            [("question", about.question), ("answer", about.answer)],
            tally,
        )

    def faithfulness(self, about: Material, tally: Tally) -> Score:
        """Raises RagError as ChatModel."""
        said = [("question", about.question), ("answer", about.answer)]
        return self._scored(
            about,
            self._taking("said", said, tally),
            "supported",
            [
                ("question", about.question),
                ("reference answer", about.reference),
                *about.pages,
            ],
            tally,
        )

    def _taking(
        self, part: str, texts: Sequence[tuple[str, str]], tally: Tally
    ) -> Callable[[], list[str]]:
        def taken() -> list[str]:
            prompt = judge_prompt(*PROMPT)
            words = prompt.filled(part, pieces=pieces(prompt, texts))
            reply = asked(
                self.chat, prompt, words, _Claims, _CLAIMS_SCHEMA, tally, fault_of=_fault_of_claims
            )
            return [" ".join(claim.split()) for claim in reply.claims]

        return taken

    def _scored(
        self,
        about: Material,
        taken: Callable[[], list[str]],
        part: str,
        texts: Sequence[tuple[str, str]],
        tally: Tally,
    ) -> Score:
        try:
            claims = taken()
            if not claims:
                return Score(failure=NO_CLAIMS)
            return Score(self._voted(f"{part}-{about.id}", part, claims, texts, tally))
        except NoVerdict:
            return Score(failure=UNPARSED)

    def _voted(
        self,
        name: str,
        part: str,
        claims: Sequence[str],
        texts: Sequence[tuple[str, str]],
        tally: Tally,
    ) -> tuple[tuple[str, Ballot], ...]:
        """Claims with the readings of each, of which more than half could be used.

        Raises:
            NoVerdict: half of them or more could not.
        """
        readings: list[list[bool]] = []
        fault = ""
        for number, order in enumerate(
            orders(len(claims), self.n_votes, seed=self.seed, of=name), start=1
        ):
            try:
                readings.append(self._reading(part, number, order, claims, texts, tally))
            except NoVerdict as error:
                fault = str(error)
        if 2 * len(readings) <= self.n_votes:
            raise NoVerdict(fault)
        return tuple(
            (claim, Ballot(tuple(reading[index] for reading in readings)))
            for index, claim in enumerate(claims)
        )

    def _reading(
        self,
        part: str,
        number: int,
        order: Sequence[int],
        claims: Sequence[str],
        texts: Sequence[tuple[str, str]],
        tally: Tally,
    ) -> list[bool]:
        """Whether each claim holds, in the order of `claims`."""
        prompt = judge_prompt(*PROMPT)
        listed = "\n".join(f"{place}. {claims[index]}" for place, index in enumerate(order, 1))
        words = prompt.filled(
            part,
            pieces=pieces(prompt, texts),
            claims=listed,
            reading=number,
            readings=self.n_votes,
        )

        def fault_of(reply: _Verdicts) -> str:
            numbers = sorted(each.claim for each in reply.verdicts)
            whole = numbers == list(range(1, len(claims) + 1))
            return "" if whole else "it did not have every number of a claim once"

        reply = asked(
            self.chat, prompt, words, _Verdicts, _VERDICTS_SCHEMA, tally, fault_of=fault_of
        )
        holds = {order[each.claim - 1]: each.holds for each in reply.verdicts}
        return [holds[index] for index in range(len(claims))]


def _fault_of_claims(reply: _Claims) -> str:
    return "" if all(claim.strip() for claim in reply.claims) else "a claim in it was empty"
