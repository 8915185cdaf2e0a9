"""COCO and Flickr30K in the splits of Karpathy, both ways: captions to images, images to captions.

Source: Karpathy & Fei-Fei 2015, Deep Visual-Semantic Alignments (arXiv:1412.2306), section 4.2 and
its files of captions; five captions an image, of which any is right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from eval.datasets.folder import Query
from eval.datasets.local_copy import checked_parts, file_below
from eval.datasets.nested import Nested
from eval.datasets.published import (
    LoaderInfo,
    SetDocument,
    SetPage,
    SetPart,
    Wanted,
    missing_file,
)
from rag.errors import InputError

N_CAPTIONS = 5
TEXT_TO_IMAGE = "text-to-image"
IMAGE_TO_TEXT = "image-to-text"
_MAIN_MEASURE = "Success@1"
_PROTOCOL = (
    "What the literature calls R@1, R@5 and R@10 of these sets is whether any right item is among "
    "the first: Success@1, @5 and @10 here."
)


@dataclass(frozen=True)
class _Layout:
    """Where one of the two sets lies.

    Attributes:
        folders: of images, beside the "filepath" that a row may name.
    """

    name: str
    annotations: str
    folders: tuple[str, ...]
    described: str


@dataclass(frozen=True)
class _Image:
    name: str
    path: Path
    number: int
    captions: Sequence[tuple[int, str]] = field(repr=False)  # number in the set, text


_COCO = _Layout(
    "coco-captions",
    "dataset_coco.json",
    (),
    "dataset_coco.json (Karpathy's) with the folders that its filepath names (val2014/).",
)
_FLICKR = _Layout(
    "flickr30k-captions",
    "dataset_flickr30k.json",
    ("flickr30k-images", "flickr30k_images", "images"),
    "dataset_flickr30k.json (Karpathy's) with the images in flickr30k-images/.",
)


def _load(source: Path, wanted: Wanted, *, layout: _Layout) -> Iterator[SetPart]:
    """Two parts, one a direction.

    Raises:
        InputError: a missing file, a field that is not what it should be, an unknown part or split.
    """
    directions = {TEXT_TO_IMAGE: _text_to_image, IMAGE_TO_TEXT: _image_to_text}
    split = wanted.options.get("split", "test")
    parts = checked_parts(layout.name, directions, wanted)
    images, n_left_out = _images(source, split, layout)
    notes = [_PROTOCOL]
    if split != "test":
        notes.append(f"Of the split {split!r}, not of the test split that is published.")
    if n_left_out:
        notes.append(
            f"{n_left_out} captions beyond the first five of an image are left out, as is usual."
        )
    for part in parts:
        yield directions[part](images, tuple(notes))


def _text_to_image(images: Sequence[_Image], notes: tuple[str, ...]) -> SetPart:
    captions = [(image, number, text) for image in images for number, text in image.captions]
    return SetPart(
        name=TEXT_TO_IMAGE,
        documents=[SetDocument(image.name, image.path, {image.name: 1}) for image in images],
        queries=[
            Query(id=f"c{number}", text=text, answer=image.name, type=TEXT_TO_IMAGE)
            for image, number, text in captions
        ],
        qrels={f"c{number}": {image.name: 1} for image, number, _text in captions},
        main_measure=_MAIN_MEASURE,
        notes=notes,
    )


def _image_to_text(images: Sequence[_Image], notes: tuple[str, ...]) -> SetPart:
    return SetPart(
        name=IMAGE_TO_TEXT,
        # A document each: captions of one image side by side would find each other.
        documents=[
            SetDocument(f"c{number}", pages=(SetPage(f"c{number}", text=text),))
            for image in images
            for number, text in image.captions
        ],
        queries=[
            Query(
                id=f"i{image.number}",
                text="-",
                answer=image.captions[0][1],
                answers=tuple(text for _number, text in image.captions[1:]),
                type=IMAGE_TO_TEXT,
                image=image.name,
                gold_mode="any",
            )
            for image in images
        ],
        qrels={
            f"i{image.number}": {f"c{number}": 1 for number, _text in image.captions}
            for image in images
        },
        images={image.name: image.path.read_bytes for image in images},
        main_measure=_MAIN_MEASURE,
        notes=notes,
    )


def _images(source: Path, split: str, layout: _Layout) -> tuple[list[_Image], int]:
    """Images of a split with their first captions; how many captions are left out."""
    rows = [row for row in _rows(source / layout.annotations, layout) if row.text("split") == split]
    if not rows:
        raise InputError(
            f"{layout.name}: there is no image of split {split!r}",
            code="bad_option",
            next_step="The splits are train, restval (COCO), val and test.",
        )
    images: list[_Image] = []
    n_left_out = 0
    for row in rows:
        captions = [
            (caption.whole_number("sentid"), text)
            for caption in row.objects("sentences")
            if (text := caption.text("raw").strip())
        ]
        if not captions:
            raise row.ill("sentences", "a caption", row.values["sentences"])
        n_left_out += max(0, len(captions) - N_CAPTIONS)
        name = row.text("filename")
        images.append(
            _Image(
                name, _path(source, row, layout), row.whole_number("imgid"), captions[:N_CAPTIONS]
            )
        )
    return images, n_left_out


def _rows(path: Path, layout: _Layout) -> Iterator[Nested]:
    try:
        read = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise missing_file(layout.name, path.name, layout.described) from error
    except ValueError as error:
        raise InputError(
            f"{layout.name}: {path.name} is no JSON: {error}",
            code="dataset_layout",
            next_step="Copy the file again.",
        ) from error
    values = read if isinstance(read, dict) else {}
    return Nested(values, path.name, layout.name).objects("images")


def _path(source: Path, row: Nested, layout: _Layout) -> Path:
    name = row.text("filename")
    folders = (row.text("filepath"),) if "filepath" in row.values else layout.folders
    path = file_below(source, name, *(source / folder for folder in (*folders, ".")))
    if path is None:
        raise missing_file(layout.name, "/".join([*folders[:1], name]), layout.described)
    return path


def _info(layout: _Layout, *, title: str, licence: str) -> LoaderInfo:
    return LoaderInfo(
        name=layout.name,
        title=f"{title}, both ways",
        hub_ids=(),
        licence=licence,
        layout=layout.described,
        main_measure=_MAIN_MEASURE,
        load=partial(_load, layout=layout),
        options={"split": "of Karpathy's: test (default), val, train, restval"},
        home="https://cs.stanford.edu/people/karpathy/deepimagesent/",
        parts={TEXT_TO_IMAGE: "", IMAGE_TO_TEXT: ""},
    )


SETS = (
    _info(
        _COCO,
        title="COCO captions, 5,000 test images",
        licence="captions CC BY 4.0; images under the terms of Flickr, see source",
    ),
    _info(
        _FLICKR,
        title="Flickr30K captions, 1,000 test images",
        licence="research and education alone; images under the terms of Flickr, see source",
    ),
)
