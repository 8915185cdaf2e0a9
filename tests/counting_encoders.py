"""The words encoder, telling a file of every page that it encodes: a process can load it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rag.encoders.minilm import MiniLm
from rag.encoders.words import WordsEncoder
from rag.ports import EncodedPage, PageInput
from rag.settings import EncoderSettings

LOG = "OCTAVO_TEST_ENCODED"
SECONDS = "ENCODING_TAKES_S"  # what each batch is made to take; nothing where it is not set


class CountedWords(WordsEncoder):
    """Writes `document_id page_number` before a page is encoded, so that a kill hides none."""

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        lines = "".join(f"{page.ref.document_id} {page.ref.page_number}\n" for page in pages)
        with open(os.environ[LOG], "a", encoding="utf-8") as log:
            log.write(lines)
        time.sleep(float(os.environ.get(SECONDS, "0")))
        return super().encode_pages(pages)


def counted_words(settings: EncoderSettings) -> WordsEncoder:
    return CountedWords(MiniLm.load(settings.weights, threads=1))
