"""The rankings of a question and of its parts as one."""

from __future__ import annotations

from collections.abc import Sequence

from rag.ranking.rank import Ranked
from rag.ranking.rerank import in_places
from rag.scoring.fusion import interleaved


def joined(whole: Ranked, parts: Sequence[Ranked]) -> Ranked:
    """The best page of every part in turn and the whole question's, then the second of each.

    So n parts have their best pages among the first n, and the whole question among n + 1. A sum
    over the rankings does the opposite: the best page of one part is far down in the others, and
    what is middling everywhere comes first (docs/adr/0021-questions-and-routes.md).

    Scores belong to the places, as the fusion of the whole question gave them: those of a part are
    of another question. A page that the whole question did not find has the legs of the first part
    that did.
    """
    rankings = [[record_id for record_id, _ in each.order] for each in (*parts, whole)]
    joint = Ranked(
        in_places(interleaved(*rankings), whole.order),
        {name: dict(leg) for name, leg in whole.legs.items()},
        dict(whole.pages),
        whole.asked,
    )
    for part in parts:
        new = part.pages.keys() - joint.pages.keys()
        for name, leg in part.legs.items():
            found = joint.legs.setdefault(name, {})
            found.update((record_id, leg[record_id]) for record_id in leg.keys() & new)
        joint.pages |= {record_id: part.pages[record_id] for record_id in new}
    return joint
