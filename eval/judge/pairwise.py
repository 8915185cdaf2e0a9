"""Two answers to a question side by side, by six binary criteria, in both orders.

The better one meets more criteria, in whichever order they are shown; where the orders disagree,
the pair is a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval.judge.asking import NoVerdict, Reply, Tally, asked, judge_prompt, object_schema, pieces
from eval.judge.material import Material
from eval.judge.votes import Ballot
from rag.ports import ChatModel
from rag.types import Json

PROMPT = ("pairwise", 1)
CRITERIA = ("correct", "numbers", "nothing_missing", "nothing_unsupported", "concise", "clear")
_SIDES = ("first", "second")


class _Met(Reply):
    correct: bool
    numbers: bool
    nothing_missing: bool
    nothing_unsupported: bool
    concise: bool
    clear: bool


class _Pair(Reply):
    first: _Met
    second: _Met


_MET_SCHEMA = object_schema({name: {"type": "boolean"} for name in CRITERIA})
_PAIR_SCHEMA = object_schema(dict.fromkeys(_SIDES, _MET_SCHEMA))


@dataclass(frozen=True)
class OneOrder:
    """What the readings said with the answers in one order, told of A and B whoever stood first.

    Attributes:
        a, b: criterion to the readings.
    """

    a: dict[str, Ballot]
    b: dict[str, Ballot]

    def preference(self, criterion: str) -> int:
        """1 where only A meets it, -1 where only B does, 0 where both or neither."""
        return int(self.a[criterion].holds) - int(self.b[criterion].holds)

    def overall(self) -> int:
        """The sign of the criteria that A meets above those of B."""
        margin = sum(self.preference(name) for name in CRITERIA)
        return (margin > 0) - (margin < 0)


@dataclass(frozen=True)
class Verdict:
    """Of one pair; `orders` are A first and B first, none where it could not be judged."""

    orders: tuple[OneOrder, ...]

    @property
    def is_judged(self) -> bool:
        return bool(self.orders)

    def preference(self, criterion: str | None = None) -> int:
        """1 is A, -1 is B, 0 a tie, which orders that disagree are too; None is over all six."""
        said = {
            order.overall() if criterion is None else order.preference(criterion)
            for order in self.orders
        }
        return said.pop() if len(said) == 1 else 0

    def shares(self) -> tuple[dict[str, float], dict[str, float]]:
        """What A and B get of each criterion and of `preferred`: 1, 0, and a half of a tie."""
        won = {"preferred": self.preference(), **{name: self.preference(name) for name in CRITERIA}}
        return (
            {name: (1 + sign) / 2 for name, sign in won.items()},
            {name: (1 - sign) / 2 for name, sign in won.items()},
        )

    @property
    def disagrees(self) -> bool:
        """Whether the two orders say different things of which is better."""
        return len({order.overall() for order in self.orders}) > 1

    def as_dict(self) -> Json:
        return {
            "preference": self.preference() if self.is_judged else None,
            "orders_disagree": self.disagrees,
            "orders": [
                {
                    side: {name: list(ballot.votes) for name, ballot in ballots.items()}
                    for side, ballots in (("a", order.a), ("b", order.b))
                }
                for order in self.orders
            ],
        }


@dataclass(frozen=True)
class PairJudge:
    """Judges pairs of answers. Thread-safe where its model is."""

    chat: ChatModel
    n_votes: int = 3

    @property
    def prompt_hash(self) -> str:
        return judge_prompt(*PROMPT).hash

    def verdict(self, a: Material, b: Material, tally: Tally) -> Verdict:
        """Which of two answers to the same question is better; without orders where readings
        failed. Swapping A and B swaps what it says.

        Raises:
            RagError: as ChatModel.
        """
        if a.answer == b.answer:
            return _alike()
        try:
            met_a, met_b = self._readings(a, a.answer, b.answer, tally)
            back_b, back_a = self._readings(a, b.answer, a.answer, tally)
        except NoVerdict:
            return Verdict(())
        return Verdict((OneOrder(met_a, met_b), OneOrder(back_a, back_b)))

    def _readings(
        self, about: Material, first: str, second: str, tally: Tally
    ) -> tuple[dict[str, Ballot], dict[str, Ballot]]:
        """Of the answer shown first and of the second, of the readings that could be used.

        Raises:
            NoVerdict: half of them or more could not.
        """
        usable: list[_Pair] = []
        fault = ""
        for number in range(1, self.n_votes + 1):
            try:
                usable.append(self._reading(about, first, second, number, tally))
            except NoVerdict as error:
                fault = str(error)
        if 2 * len(usable) <= self.n_votes:
            raise NoVerdict(fault)
        return _ballots([each.first for each in usable]), _ballots([each.second for each in usable])

    def _reading(
        self, about: Material, first: str, second: str, number: int, tally: Tally
    ) -> _Pair:
        prompt = judge_prompt(*PROMPT)
        texts = [
            ("question", about.question),
            ("reference answer", about.reference),
            *about.pages,
            ("first answer", first),
            ("second answer", second),
        ]
        words = prompt.filled(
            "compare", pieces=pieces(prompt, texts), reading=number, readings=self.n_votes
        )
        return asked(self.chat, prompt, words, _Pair, _PAIR_SCHEMA, tally)


def _ballots(readings: Sequence[_Met]) -> dict[str, Ballot]:
    return {name: Ballot(tuple(getattr(each, name) for each in readings)) for name in CRITERIA}


def _alike() -> Verdict:
    """Of two answers in the same words, which nobody has to be asked about."""
    same = {name: Ballot((True,)) for name in CRITERIA}
    return Verdict((OneOrder(same, same), OneOrder(same, same)))
