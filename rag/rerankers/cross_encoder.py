"""Text cross-encoders of sentence-transformers: question and words go in together, a number comes
out.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from rag.encoders.checkpoint import load_errors
from rag.encoders.dense_sentence import require_whole
from rag.encoders.local_model import LocalPlan
from rag.encoders.torch_runtime import in_batches
from rag.encoders.torchvision_guard import ensure_torchvision
from rag.errors import ConfigError, ModelFailed
from rag.ports import RerankPage
from rag.rerankers.local_model import own_names, plan_of, sigmoid
from rag.rerankers.page_words import best_of_each, fitting_words, passages
from rag.settings import RerankSettings

# Of the model's room, what a question may take at most; the rest of it is cut.
_QUESTION_SHARE = 2
# More is not read, whatever the model could: what they were trained on is shorter.
_MOST_TOKENS = 8192


class CrossEncoderReranker:
    """A page is worth what its best window is: the sigmoid of the model's one logit."""

    wants_image = False
    is_probability = True

    def __init__(self, model: Any, name: str, *, batch_size: int) -> None:
        self._model = model
        self._name = name
        self._batch_size = batch_size
        self._tokenizer = model.tokenizer
        limit = min(int(model.max_seq_length or _MOST_TOKENS), _MOST_TOKENS)
        self._room = limit - int(self._tokenizer.num_special_tokens_to_add(pair=True))
        self._lock = threading.Lock()

    @classmethod
    def load(cls, settings: RerankSettings) -> CrossEncoderReranker:
        """Raises as `load_reranker` says."""
        with own_names():
            plan = plan_of(settings)
            _require_classifier(plan)
            return cls(_loaded(plan), plan.checkpoint.name, batch_size=settings.batch_size)

    @property
    def model_id(self) -> str:
        return self._name

    def scores(self, question: str, pages: Sequence[RerankPage]) -> list[float]:
        """Probabilities. Raises ModelFailed `out_of_memory`, `gpu_lost`."""
        with own_names(), self._lock:  # tokenizers are not for several threads
            asked = fitting_words(question, costs=self._costs, room=self._room // _QUESTION_SHARE)
            room = self._room - sum(self._costs(asked.split()))
            read = partial(passages, question=question, costs=self._costs, room=room)
            texts = [read(page) for page in pages]
            pairs = [(asked, text) for of_page in texts for text in of_page]
            found = sigmoid(in_batches(pairs, self._logits, size=self._batch_size))
        return best_of_each(texts, found)

    def close(self) -> None:
        self._model = None

    def _costs(self, words: Sequence[str]) -> list[int]:
        if not words:
            return []
        with_space = [f" {word}" for word in words]  # as they are within a text
        found = self._tokenizer(with_space, add_special_tokens=False)["input_ids"]
        return [max(1, len(ids)) for ids in found]

    def _logits(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        from torch.nn import Identity

        found = self._model.predict(
            list(pairs),
            batch_size=len(pairs),
            activation_fn=Identity(),
            show_progress_bar=False,
        )
        values: list[float] = np.asarray(found, np.float64).reshape(len(pairs)).tolist()
        return values


def _require_classifier(plan: LocalPlan) -> None:
    """Chat models that rerank are asked in words of their own, which this does not know."""
    config = plan.checkpoint.config
    names = config.get("architectures") or ["nothing"]
    labels = config.get("id2label")
    n_labels = len(labels) if isinstance(labels, dict) else config.get("num_labels", 2)
    if not str(names[0]).endswith("ForSequenceClassification") or n_labels != 1:
        raise ConfigError(
            f"{plan.checkpoint.name} is no cross-encoder: it holds {names[0]} with {n_labels} "
            "outputs, not a classifier with one",
            code="bad_model",
            next_step="Name a cross-encoder such as cross-encoder/ms-marco-MiniLM-L6-v2 or "
            "BAAI/bge-reranker-base; serve others, and set retrieval.rerank.method to http.",
        )


def _loaded(plan: LocalPlan) -> Any:
    ensure_torchvision()
    from sentence_transformers import CrossEncoder
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what it reports of missing keys is an error here
    options = plan.options
    files_only = options.pop("local_files_only")
    with load_errors(plan.checkpoint):
        model = CrossEncoder(
            str(plan.checkpoint.folder),
            device=str(plan.device),
            local_files_only=files_only,
            model_kwargs=options,
        )
        require_whole(model, plan.checkpoint.name)
    if model.tokenizer.pad_token is None:
        raise ModelFailed(
            f"the tokenizer of {plan.checkpoint.name} has no token to pad with",
            code="load_failed",
            next_step="Choose another model.",
        )
    return model.eval()
