"""Several images of one item as one, for items of published sets are one page each."""

from __future__ import annotations

import io
from collections.abc import Sequence

from eval.datasets.published import ReadImage

_GAP_PX = 16


def stacked(images: Sequence[ReadImage]) -> ReadImage | None:
    """One below the other on white, in their own sizes; a single one as it is, none for none."""
    if len(images) < 2:
        return images[0] if images else None
    return lambda: _stack([image() for image in images])


def _stack(images: Sequence[bytes]) -> bytes:
    # Not at the top: the list of sets imports this module, and shows no image.
    from PIL import Image

    from rag.renderers.image_renderer import as_rgb

    opened = [as_rgb(Image.open(io.BytesIO(data))) for data in images]
    width_px = max(image.width for image in opened)
    height_px = sum(image.height for image in opened) + _GAP_PX * (len(opened) - 1)
    whole = Image.new("RGB", (width_px, height_px), "white")
    top_px = 0
    for image in opened:
        whole.paste(image, (0, top_px))
        top_px += image.height + _GAP_PX
    out = io.BytesIO()
    whole.save(out, format="PNG")
    return out.getvalue()
