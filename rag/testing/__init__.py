"""What tests and demonstrations are made of: PDFs, fakes and tiny checkpoints of vision models.

Nothing here is used by the product itself. What needs torch is in modules of its own, which this
one does not import.
"""

from rag.testing.memory_index import MemoryIndex
from rag.testing.pdfs import PdfPage, PdfText, covers, make_pdf

__all__ = ["MemoryIndex", "PdfPage", "PdfText", "covers", "make_pdf"]
