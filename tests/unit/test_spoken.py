"""A question as it is read, whatever a terminal or a script put into it."""

import pytest

from rag.apps.asked import spoken, turns


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("\x1b[31mrevenue\x1b[0m of Kestrel", "revenue of Kestrel"),
        ("\x1b[38;5;196mrevenue\x1b[m", "revenue"),
        ("\x9b1mrevenue", "revenue"),
        ("\x1b]0;a title\x07revenue\x1b]8;;http://x\x1b\\", "revenue"),
        ("\x1b(Brevenue\x1b7\x1b", "revenue"),
        ("rev\x00en\x08ue\x7f", "revenue"),
        ("revenue\x0bof\x852023", "revenue of 2023"),
        ("revenue\n\tof 2023", "revenue\n\tof 2023"),
        ("r\udce9venue", "r?venue"),
        ("what is [31m and é, 収益?", "what is [31m and é, 収益?"),
        ("\x1b[2J", ""),
    ],
)
def test_a_question_is_its_words(given, read):
    assert spoken(given) == read
    assert turns([[given, given]]) == ((read, read),)
