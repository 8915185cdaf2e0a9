"""Seconds of training, after which a tiny model tells the four pages of the self-test apart.

The loss is the contrastive one that retrieval models are trained with, over the scores that the
search uses: MaxSim where a family has a vector a token, else the dot product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from rag.encoders.self_test import QUERIES, pages
from rag.errors import ModelFailed

# Scores of all queries and pages, (n_queries, n_pages) between -1 and 1, with their gradients:
# first as the search scores, then in any other way the loss is to see as well.
Scores = Callable[[], Sequence[torch.Tensor]]

_LEARNING_RATE = 1e-3
_TEMPERATURE = 0.05
_MARGIN = 0.25  # over the second page; far above what bfloat16 or another kernel changes
_STEPS = 150


def train(family: str, model: Any, processor: Any) -> int:
    """Train in place until every query's page leads by a margin; how many steps it took.

    Raises:
        ModelFailed: `training_failed` where it does not within the steps allowed.
    """
    n_threads = torch.get_num_threads()
    # Layers this small are slower on two threads, by far where the cores are shared.
    torch.set_num_threads(1)
    try:
        return _train(family, model, _scores_of(family, model, processor))
    finally:
        torch.set_num_threads(n_threads)


def _train(family: str, model: Any, scores: Scores) -> int:
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
    own = torch.arange(len(QUERIES))
    for step in range(_STEPS):
        similarities = scores()
        if _margin(similarities[0]) > _MARGIN:
            return step
        logits = [similarity / _TEMPERATURE for similarity in similarities]
        loss = sum(
            functional.cross_entropy(scored, own) + functional.cross_entropy(scored.T, own)
            for scored in logits
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise ModelFailed(
        f"a tiny {family} did not learn the four pages of the self-test in {_STEPS} steps",
        code="training_failed",
        next_step="try another seed",
    )


def margin(family: str, model: Any, processor: Any) -> float:
    """By how much the page of a query leads, where it leads least."""
    with torch.no_grad():
        return _margin(_scores_of(family, model, processor)()[0])


def _margin(similarity: torch.Tensor) -> float:
    own = similarity.diagonal()
    others = similarity.masked_fill(torch.eye(len(QUERIES), dtype=torch.bool), -torch.inf)
    return float((own - others.amax(dim=1)).min().detach())


# --- how each kind of model reads pages and queries ---------------------------------------------
def _scores_of(family: str, model: Any, processor: Any) -> Scores:
    if family.startswith("Col"):
        return _late_interaction(model, processor)
    if family.startswith("Bi"):
        return _single_vectors(model, processor)
    if family in ("Clip", "Siglip"):
        return _two_towers(model, processor)
    return _last_tokens(model, processor)


def _late_interaction(model: Any, processor: Any) -> Scores:
    page_inputs = processor.process_images(list(pages()))
    query_inputs = processor.process_queries(list(QUERIES))
    is_padding = page_inputs["attention_mask"] == 0  # (n_pages, n_page_rows)
    n_rows = query_inputs["attention_mask"].sum(dim=1)  # (n_queries,)

    def scores() -> Sequence[torch.Tensor]:
        # Padding rows are zeros: those of a query, and those of a page in the mean, add nothing.
        similarity = torch.einsum("qnd,pmd->qpnm", model(**query_inputs), model(**page_inputs))
        best = similarity.masked_fill(is_padding[None, :, None, :], -torch.inf).amax(dim=3)
        # All pages begin with the same rows. Once those are best for every query, MaxSim has no
        # gradient that tells pages apart; the mean over rows always has.
        return best.sum(dim=2) / n_rows[:, None], similarity.mean(dim=3).sum(dim=2) / n_rows[
            :, None
        ]

    return scores


def _single_vectors(model: Any, processor: Any) -> Scores:
    page_inputs = processor.process_images(list(pages()))
    query_inputs = processor.process_queries(list(QUERIES))
    return lambda: [model(**query_inputs) @ model(**page_inputs).T]


def _two_towers(model: Any, processor: Any) -> Scores:
    page_inputs = processor(images=list(pages()), return_tensors="pt")
    query_inputs = processor(
        text=list(QUERIES), padding="max_length", truncation=True, return_tensors="pt"
    )

    def scores() -> Sequence[torch.Tensor]:
        queries = model.get_text_features(**query_inputs).pooler_output
        shown = model.get_image_features(**page_inputs).pooler_output
        return [functional.normalize(queries) @ functional.normalize(shown).T]

    return scores


def _last_tokens(model: Any, processor: Any) -> Scores:
    page_inputs = _chat(processor, [[{"type": "image", "image": page}] for page in pages()])
    query_inputs = _chat(processor, [[{"type": "text", "text": text}] for text in QUERIES])
    return lambda: [_last_token(model, query_inputs) @ _last_token(model, page_inputs).T]


def _last_token(model: Any, inputs: Any) -> torch.Tensor:
    hidden = model.model(**inputs, use_cache=False).last_hidden_state
    return functional.normalize(hidden[:, -1])


def _chat(processor: Any, contents: Sequence[list[dict[str, Any]]]) -> Any:
    """Messages of one user each, filled up on the left, so that the last token is a text's own."""
    processor.tokenizer.padding_side = "left"
    return processor.apply_chat_template(
        [[{"role": "user", "content": content}] for content in contents],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"return_tensors": "pt", "padding": True},
    )
