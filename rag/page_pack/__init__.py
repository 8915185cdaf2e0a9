"""What the cascade reads of the pages, packed in mapped files beside the index.

Signs of the FDE, sign bits, int8 and float16 rows, written at ingest. All of it derives from what
the index keeps: losing it costs a rebuild and no page (docs/adr/0011).
"""

from rag.page_pack.layout import PackedPage, PackSpec, Part
from rag.page_pack.pack import PagePack, VerifyReport
from rag.page_pack.sync import SyncReport, open_synced, sync
from rag.page_pack.view import PackView

__all__ = [
    "PackSpec",
    "PackView",
    "PackedPage",
    "PagePack",
    "Part",
    "SyncReport",
    "VerifyReport",
    "open_synced",
    "sync",
]
