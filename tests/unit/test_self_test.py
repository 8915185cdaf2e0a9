"""The proof an encoder gives of itself at load: it passes who finds every page, and no one else."""

import numpy as np
import pytest

from rag.encoders import self_test
from rag.errors import ModelFailed
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity
from rag.types import MultiVector, VectorKind


class Scripted:
    """Sees page `n` as axis `n`, and looks for question `n` along the axis it was told."""

    identity = EncoderIdentity("scripted", "1", dim=4, dense_dim=4)
    wants_image = True

    def __init__(self, axes):
        self._axes = axes
        self.batches = 0

    def encode_pages(self, pages):
        self.batches += 1
        assert all(page.image is not None for page in pages)
        return [self._page(np.eye(4, dtype=np.float32)[index]) for index in range(len(pages))]

    def encode_query(self, text, *, image=None):
        axis = self._axes[self_test.QUERIES.index(text)]
        row = np.ones(4, np.float32) / 2 if axis is None else np.eye(4, dtype=np.float32)[axis]
        return EncodedQuery(MultiVector(row[None]), row)

    def close(self):
        pass

    @staticmethod
    def _page(row):
        box = np.array([[0, 0, 448, 448]], np.float32)
        kinds = np.array([VectorKind.PATCH], np.uint8)
        return EncodedPage(
            MultiVector(row[None], box, kinds), None, row[None], MultiVector(np.zeros((0, 4)))
        )


def test_an_encoder_that_finds_every_page_passes_with_one_batch():
    encoder = Scripted([0, 1, 2, 3])
    self_test.prove(encoder)
    assert encoder.batches == 1


@pytest.mark.parametrize("axes", [[0, 1, 2, 2], [1, 2, 3, 0], [0, 1, None, 3]])
def test_one_wrong_page_or_one_tie_is_a_failure_that_says_how_many_were_found(axes):
    with pytest.raises(ModelFailed, match="scripted@1") as failed:
        self_test.prove(Scripted(axes))
    assert failed.value.code == "self_test_failed"
    right = sum(axis == number for number, axis in enumerate(axes))
    assert f"{right} of 4" in failed.value.message
    assert failed.value.next_step


def test_the_pages_are_four_different_pictures_drawn_the_same_each_time():
    drawn = self_test.pages()
    assert len(drawn) == len(self_test.QUERIES) == 4
    assert {image.size for image in drawn} == {(self_test.SIDE_PX, self_test.SIDE_PX)}
    self_test.pages.cache_clear()
    again = self_test.pages()
    assert [image.tobytes() for image in drawn] == [image.tobytes() for image in again]
    assert len({image.tobytes() for image in drawn}) == 4
