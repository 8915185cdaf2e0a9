"""What words are in their language: folded writing, the language of a text, stems, function words.

Nothing here knows of pages or questions as such; `rag.scoring.lexical` makes terms of it.
"""
