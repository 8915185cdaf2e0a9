"""Text of strangers, made fit to be shown to a chat model.

The words stay as they are read; what no reader of the page sees, and what a model's own template
would take for its marks, does not get through.
"""

from __future__ import annotations

import re

from rag.page_text import PageText

_BROKEN = re.compile("[\ud800-\udfff]")
# Characters that show nothing and have carried words past readers: controls, tags, selectors of
# variants beyond the first sixteen, spaces of no width. Joiners stay, which scripts need.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\U000e0000-\U000e01ef]"
)
# Where templates of chat models begin and end what somebody says, and stand in for pictures. A
# server that renders a template reads them in a page's words as its own.
_TEMPLATE_MARK = re.compile(
    r"<(?=[|\uff5c]|/?(?:s|bos|eos|pad|unk|mask|think|tool_call|tool_response|image|img|video"
    r"|audio|image_pad|image_soft_token|start_of_turn|end_of_turn|start_of_image|end_of_image"
    r"|end_of_utterance|fake_token_around_image|global-img|img_context|row_\d+_col_\d+)\s*>"
    r"|<?/?sys>)"
    r"|\[(?=/?(?:inst|img|img_break|img_end|system_prompt|available_tools|tool_results|tool_calls)"
    r"\])",
    re.IGNORECASE,
)


def whole(text: str) -> str:
    """Halves of surrogate pairs, which JSON can carry and no file can, as U+FFFD."""
    return _BROKEN.sub("\ufffd", text)


def shown(text: str) -> str:
    """The text without what is unseen; a mark of a template is put apart by a space."""
    return _TEMPLATE_MARK.sub(r"\g<0> ", whole(_UNSEEN.sub("", text)))


def shown_line(text: str, *, most_chars: int) -> str:
    """The same on one line, as of a name; what is too long loses its middle."""
    line = " ".join(shown(text).split())
    if len(line) <= most_chars:
        return line
    half = (most_chars - 3) // 2
    return f"{line[:half]}...{line[-half:]}"


def shown_page(text: PageText) -> str:
    """The words of a page, one line each; empty where there are none.

    Words that stand further apart than running text sets them are parted by three spaces, so that
    the columns of a table can be told; white space counts as one space in every check.
    """
    lines = (_line(text, start, end) for start, end in text.line_spans)
    return shown("\n".join(lines))


def _line(text: PageText, start: int, end: int) -> str:
    said = text.words[start]
    for word in range(start + 1, end):
        before, box = text.boxes[word - 1], text.boxes[word]
        gap_pt, height_pt = float(box[0] - before[2]), float(box[3] - box[1])
        said += ("   " if gap_pt > height_pt > 0 else " ") + text.words[word]
    return said
