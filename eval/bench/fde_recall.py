"""How much of what exact MaxSim ranks first the embedded index finds by its `fde`.

`python -m eval.bench.fde_recall [--noise 0.8]` makes clustered pages up: documents share topics,
all rows lean one way, and a query is noisy views of a few rows of one page. It ranks methods; what
they lose on real pages it does not tell.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import uuid
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rag.geometry import FloatArray
from rag.index.edge import EdgeIndex
from rag.ports import IndexSpec
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.scoring.maxsim import maxsim_many
from rag.types import PageField, PageRecord

N_PAGES, N_ROWS, N_QUERIES, DIM = 2_000, 200, 48, 128
N_BEST = 10
CUTS = (50, 100, 200, 500)

Ranking = npt.NDArray[np.int64]  # (n_queries, n_pages) page numbers, best first


def _unit(rows: FloatArray) -> FloatArray:
    unit: FloatArray = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


def _made_up(noise: float) -> tuple[list[FloatArray], list[FloatArray]]:
    """Pages of (N_ROWS, DIM) and queries of (24, DIM), unit rows."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> FloatArray:
        return rng.standard_normal((*shape, DIM), dtype=np.float32) / np.float32(np.sqrt(DIM))

    lean, layout = draw() * 1.5, draw(60)
    topics = draw(150, 1) + draw(150, 40)  # a topic's 40 concepts resemble each other
    pages = []
    for number in range(N_PAGES):
        if number % 12 == 0:
            of_document = rng.integers(0, len(topics), 3)
        own = topics[rng.choice(of_document, 30), rng.integers(0, 40, 30)] + draw(30) * 0.5
        content = own[np.sort(rng.integers(0, len(own), N_ROWS))]
        background = layout[rng.integers(0, len(layout), N_ROWS)]
        is_content = rng.random((N_ROWS, 1)) < 0.6
        rows = np.where(is_content, content, background) + draw(N_ROWS) * 0.4
        pages.append(_unit((rows + lean).astype(np.float32)))
    queries = []
    for page in rng.choice(N_PAGES, N_QUERIES, replace=False):
        seen = pages[page][rng.choice(N_ROWS, 6, replace=False)]
        queries.append(_unit((seen[rng.integers(0, 6, 24)] + draw(24) * noise).astype(np.float32)))
    return pages, queries


def _by_the_store(page_fdes: FloatArray, query_fdes: FloatArray, *, optimized: bool) -> Ranking:
    spec = IndexSpec(dim=DIM, dense_dim=0, fde_size=page_fdes.shape[1])
    with tempfile.TemporaryDirectory() as scratch:
        index = EdgeIndex.open(Path(scratch) / "index", spec)
        index.upsert(
            [
                PageRecord(str(uuid.UUID(int=number)), {PageField.FDE: fde}, {})
                for number, fde in enumerate(page_fdes)
            ]
        )
        if optimized:
            index.optimize()
        found = [index.search(PageField.FDE, query, limit=N_PAGES) for query in query_fdes]
        index.close()
    return np.array([[uuid.UUID(each.record_id).int for each in hits] for hits in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noise", type=float, default=0.8, help="of a query's views of a page")
    pages, queries = _made_up(parser.parse_args().noise)
    exact = np.array([np.argsort(-maxsim_many(query, pages)) for query in queries])
    encoder = FdeEncoder(FdeSpec(dim=DIM))
    page_fdes = encoder.encode_pages(pages)
    query_fdes = np.array([encoder.encode_query(query) for query in queries])
    signs = np.sign(page_fdes)
    rankings = {
        "float32 on both sides (numpy)": np.argsort(-(query_fdes @ page_fdes.T)),
        "page signs, float query (numpy)": np.argsort(-(query_fdes @ signs.T)),
        "signs on both sides (numpy)": np.argsort(-(np.sign(query_fdes) @ signs.T)),
        "Edge, as written": _by_the_store(page_fdes, query_fdes, optimized=False),
        "Edge, optimized": _by_the_store(page_fdes, query_fdes, optimized=True),
    }
    sys.stdout.write(f"share of the exact top {N_BEST} among the first {CUTS}\n")
    for name, ranking in rankings.items():
        shares = [
            np.mean(
                [
                    np.isin(best[:N_BEST], row[:cut]).mean()
                    for best, row in zip(exact, ranking, strict=True)
                ]
            )
            for cut in CUTS
        ]
        sys.stdout.write(f"{name:32} {'  '.join(f'{share:.3f}' for share in shares)}\n")


if __name__ == "__main__":
    main()
