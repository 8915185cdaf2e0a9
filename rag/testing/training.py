"""Seconds of training, after which a tiny model tells the four pages of the self-test apart.

The loss is the contrastive one that retrieval models are trained with, over the scores that the
search uses: MaxSim where a family has a vector a token, else the dot product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.nn import functional

from rag.encoders.self_test import QUERIES, pages
from rag.errors import ModelFailed
from rag.types import Json


class Scores(NamedTuple):
    """(n_queries, n_pages) between -1 and 1 each, with their gradients.

    Attributes:
        searched: as the search scores; the own page has to lead in all of them.
        auxiliary: scored in other ways, for the loss alone.
    """

    searched: Sequence[torch.Tensor]
    auxiliary: Sequence[torch.Tensor] = ()


Scoring = Callable[[], Scores]

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
        return _train(family, model, _scoring_of(family, model, processor))
    finally:
        torch.set_num_threads(n_threads)


def _train(family: str, model: Any, scoring: Scoring) -> int:
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
    own = torch.arange(len(QUERIES))
    for step in range(_STEPS):
        scores = scoring()
        if _margin(scores) > _MARGIN:
            return step
        logits = [similarity / _TEMPERATURE for similarity in (*scores.searched, *scores.auxiliary)]
        loss = sum(
            functional.cross_entropy(each, own) + functional.cross_entropy(each.T, own)
            for each in logits
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise ModelFailed(
        f"a tiny {family} did not learn the four pages of the self-test in {_STEPS} steps",
        code="training_failed",
        next_step="Try another seed.",
    )


def margin(family: str, model: Any, processor: Any) -> float:
    """By how much the page of a query leads, where it leads least."""
    with torch.no_grad():
        return _margin(_scoring_of(family, model, processor)())


def _margin(scores: Scores) -> float:
    similarity = torch.stack(list(scores.searched))  # (n_prompts, n_queries, n_pages)
    own = similarity.diagonal(dim1=1, dim2=2)
    others = similarity.masked_fill(torch.eye(len(QUERIES), dtype=torch.bool), -torch.inf)
    return float((own - others.amax(dim=2)).min().detach())


# --- how each kind of model reads pages and queries ---------------------------------------------
def _scoring_of(family: str, model: Any, processor: Any) -> Scoring:
    if family.startswith("Col"):
        return _late_interaction(model, processor)
    if family.startswith("Bi"):
        return _single_vectors(model, processor)
    if family in ("Clip", "Siglip"):
        return _two_towers(model, processor)
    return _last_tokens(_PROMPTS[family], model, processor)


def _late_interaction(model: Any, processor: Any) -> Scoring:
    page_inputs = processor.process_images(list(pages()))
    query_inputs = processor.process_queries(list(QUERIES))
    is_padding = page_inputs["attention_mask"] == 0  # (n_pages, n_page_rows)
    n_rows = query_inputs["attention_mask"].sum(dim=1)  # (n_queries,)

    def scoring() -> Scores:
        # Padding rows are zeros: those of a query, and those of a page in the mean, add nothing.
        similarity = torch.einsum("qnd,pmd->qpnm", model(**query_inputs), model(**page_inputs))
        best = similarity.masked_fill(is_padding[None, :, None, :], -torch.inf).amax(dim=3)
        # All pages begin with the same rows. Once those are best for every query, MaxSim has no
        # gradient that tells pages apart; the mean over rows always has.
        mean = similarity.mean(dim=3)
        return Scores(
            [best.sum(dim=2) / n_rows[:, None]], auxiliary=[mean.sum(dim=2) / n_rows[:, None]]
        )

    return scoring


def _single_vectors(model: Any, processor: Any) -> Scoring:
    page_inputs = processor.process_images(list(pages()))
    query_inputs = processor.process_queries(list(QUERIES))
    return lambda: Scores([model(**query_inputs) @ model(**page_inputs).T])


def _two_towers(model: Any, processor: Any) -> Scoring:
    page_inputs = processor(images=list(pages()), return_tensors="pt")
    query_inputs = processor(
        text=list(QUERIES), padding="max_length", truncation=True, return_tensors="pt"
    )

    def scoring() -> Scores:
        queries = model.get_text_features(**query_inputs).pooler_output
        shown = model.get_image_features(**page_inputs).pooler_output
        return Scores([functional.normalize(queries) @ functional.normalize(shown).T])

    return scoring


@dataclass(frozen=True)
class _Prompt:
    """One prompt of models whose last token is the vector; `{}` is the query's words.

    Attributes:
        system: the instruction, where there is one.
        shows_blank: a query comes with an empty image, as a page comes with its own.
        opens_answer: ends where the model's own turn begins.
    """

    query: str = "{}"
    page: str = ""
    system: str = ""
    end: str = ""
    shows_blank: bool = False
    opens_answer: bool = True


_DSE = _Prompt("Query: {}", "What is shown in this image?", end="<|endoftext|>", shows_blank=True)
_MCDSE = replace(_DSE, opens_answer=False)
_GME = _Prompt(end="<|endoftext|>")
_PROMPTS = {
    "Qwen2VL": (_DSE, _MCDSE, _GME),
    "Qwen3VL": (_Prompt(), _Prompt(system="Represent the user's input.")),
}


def _last_tokens(prompts: Sequence[_Prompt], model: Any, processor: Any) -> Scoring:
    asked = [
        (_chat(processor, prompt, QUERIES), _chat(processor, prompt, list(pages())))
        for prompt in prompts
    ]
    return lambda: Scores(
        [_last_token(model, queries) @ _last_token(model, shown).T for queries, shown in asked]
    )


def _last_token(model: Any, inputs: Any) -> torch.Tensor:
    hidden = model.model(**inputs, use_cache=False).last_hidden_state
    return functional.normalize(hidden[:, -1])


def _chat(processor: Any, prompt: _Prompt, asked: Sequence[str] | Sequence[Image.Image]) -> Any:
    """Messages of one user each, filled up on the left: the last token is each one's own."""
    images: list[Image.Image] = []
    texts = []
    for item in asked:
        words = prompt.query.format(item) if isinstance(item, str) else prompt.page
        content = [{"type": "text", "text": words}] if words else []
        if not isinstance(item, str) or prompt.shows_blank:
            images.append(_BLANK if isinstance(item, str) else item)
            content.insert(0, {"type": "image"})
        messages: list[Json] = [{"role": "user", "content": content}]
        if prompt.system:
            system = [{"type": "text", "text": prompt.system}]
            messages.insert(0, {"role": "system", "content": system})
        chat = processor.apply_chat_template(
            messages, add_generation_prompt=prompt.opens_answer, tokenize=False
        )
        texts.append(chat + prompt.end)
    return processor(
        text=texts,
        images=images or None,
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )


_BLANK = Image.new("RGB", (56, 56))  # black, as those of DSE were trained with
