"""Section `cascade`: from a query's rows to the best ten of all pages, the model left out.

Ours goes from encodings over sign bits and int8 to the answer; the peer is Qdrant Edge with one
request, 100 candidates by their encodings and MaxSim over those. The share of the exact top ten
that comes out is counted for easy and hard queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.bench import edge_peers
from eval.bench.contender import Contender, Effort, Entry, Gate, Outcome, race
from eval.bench.corpus import NOISE, Corpus
from eval.bench.first_stage import N_BEST, recall
from rag.geometry import FloatArray
from rag.scoring.cascade import Cascade, CascadeWidths
from rag.scoring.fde import FdeEncoder
from rag.scoring.fde_signs import pack_signs
from rag.scoring.packed import PackedRows, maxsim_packed
from rag.settings import RetrievalSettings
from rag.wiring import cascade_widths

_CANDIDATES = 100  # of the peer
_LEAST_RECALL = 0.5
OURS, PEER = "octavo cascade", f"qdrant-edge, {_CANDIDATES} by encoding, MaxSim"

Search = Callable[[FloatArray], list[int]]


def run(
    corpus: Corpus, encoder: FdeEncoder, effort: Effort, *, say: Callable[[str], object]
) -> Outcome:
    widths = cascade_widths(RetrievalSettings())
    makers: dict[str, Callable[[], Search]] = {
        OURS: partial(_cascade, corpus, encoder, widths, say),
        f"octavo bits of all, int8 of {widths.bits}": partial(
            _cascade, corpus, encoder, replace(widths, fde=corpus.n_pages), say
        ),
        "octavo int8 of all": partial(_int8, corpus),
        PEER: partial(_edge, corpus, encoder, say),
    }
    return race(
        "cascade",
        f"the best {N_BEST} of {corpus.n_pages:,} pages for the rows of a query",
        [Entry(name, partial(_contender, name, corpus, make)) for name, make in makers.items()],
        effort,
        say=say,
        facts={"n_pages": corpus.n_pages, "corpus": corpus.source.key, "widths": asdict(widths)},
    )


def _contender(name: str, corpus: Corpus, make: Callable[[], Search]) -> Contender:
    search = make()
    asked = cycle(corpus.queries["easy"])

    def check(_: Any) -> Gate:
        figures = {
            f"recall_{kind}": recall(
                [search(query) for query in corpus.queries[kind]],
                corpus.exact_best(kind, N_BEST),
            )
            for kind in NOISE
        }
        return Gate(figures["recall_easy"] >= _LEAST_RECALL, figures)

    return Contender(name, lambda: search(next(asked)), check, ours=name.startswith("octavo"))


@dataclass(frozen=True, eq=False)
class _Packed:
    fde_signs: npt.NDArray[np.uint8]
    bits: PackedRows
    int8: PackedRows
    fp16: PackedRows


def _cascade(
    corpus: Corpus, encoder: FdeEncoder, widths: CascadeWidths, say: Callable[[str], object]
) -> Search:
    packed = _Packed(pack_signs(corpus.fdes(encoder, say)), corpus.bits, corpus.int8, corpus.fp16)
    cascade = Cascade(encoder, widths)
    return lambda query: cascade.search(query, packed, limit=N_BEST).pages.tolist()


def _int8(corpus: Corpus) -> Search:
    return lambda query: _best(maxsim_packed(query, corpus.int8), N_BEST).tolist()


def _best(scores: FloatArray, n: int) -> Any:
    """(n,) places of the highest scores, best first."""
    n = min(n, len(scores))
    places = np.argpartition(-scores, n - 1)[:n]
    return places[np.argsort(-scores[places], kind="stable")]


def _edge(corpus: Corpus, encoder: FdeEncoder, say: Callable[[str], object]) -> Search:
    folder = corpus.folder / f"edge-rerank-{encoder.fingerprint[:16]}"
    if not folder.is_dir():
        say("writing every page into Qdrant Edge, once; minutes and 2.7 GB for 10,000")
    search = edge_peers.prefetch_and_rerank(
        corpus.fdes(encoder, say), corpus.pages(), folder, candidates=_CANDIDATES
    )
    return lambda query: search(query, encoder.encode_query(query), N_BEST)
