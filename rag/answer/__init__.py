"""From a question and the pages found for it to an answer whose every statement is checked.

    evidence/    which pages are shown, how large, with which tables beside them
    a draft of claims, each with the page and the words it stands on (`draft.py`), from one of
        extractive.py    without a model: passages, ranking, confidence, and for what has one value
                         short/, asked_figures/, asked_lists/, which read tables/
        generated/       from a chat model: prompt, reply, repair, what is told meanwhile
    checks/      what of the draft holds on the pages shown: quotes, figures, arithmetic, support

`figures/` reads numbers, dates and amounts for all of them. `rag.ask` joins search and answer.
"""
