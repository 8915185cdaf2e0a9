"""Reports of runs: `model` says what one shows, `write` writes it, the `as_` modules give it form.

All that a report shows comes from run folders, so that one can be made long after a run and far
from its documents.
"""
