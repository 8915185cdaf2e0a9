import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rag.answer.checks.plain_text import MOST_HELD, PlainTextStream, plain

_PARTS = st.sampled_from(
    """<b> </b> <img < > & &lt; &#60; &amp; ; [ ] ( ) ! [3] [1,2] ![ ]( ][ http://
    https://evil.com/a?b=c www. evil.com javascript: mailto: :// \\\\
    \x1b[31m \x1b] \x07 \u202e \u200b \u00ad rose 5 % . , / 1
    \u3010 \u3011 \u4e2d ** __ ` &amp;lt; &amp;amp; [.] a.b.evil.com 10.1.2.3/q \uff0e \u3002 ?q=1
    2**3 \u2800 \u3164 xn--p1ai *""".split()
) | st.sampled_from([" ", "\n", "\ud800", "\U000e0041", "\u00e9", "&lt;script&gt;"])
_TEXTS = st.lists(_PARTS | st.text(max_size=4), max_size=25).map("".join)

_LIVE = (
    r"<[A-Za-z/!?]",  # a tag
    r"\]\(|\]\[",  # a link or an image of Markdown
    r"://|\bwww\.\w",  # an address
    r"\[\d{1,2}(?:[ ,;-]+\d{1,2})*\]",  # a mark of a citation
    r"[\x00-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]",
    r"[\ud800-\udfff]",
    r"  |^ | $",
)


@given(text=_TEXTS, data=st.data())
@example("a<b></b>]", None)
def test_a_text_comes_out_the_same_however_it_is_cut(text, data):
    at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6))) if data else [3]
    stream = PlainTextStream()
    pieces = [text[i:j] for i, j in zip([0, *at], [*at, len(text)], strict=True)]
    assert "".join(map(stream.feed, pieces)) + stream.close() == plain(text)


@given(text=_TEXTS)
@example("<<b>script>")
@example("[1[2]3]")
@example("&lt;img src=x onerror=alert(1)&gt;")
@example("ht<b></b>tp://evil.com/x")
@example("[a]<i></i>(http://evil.com)")
def test_nothing_that_comes_out_is_rendered_fetched_or_followed(text):
    shown = plain(text)
    assert [live for live in _LIVE if re.search(live, shown)] == []


@settings(max_examples=1000)
@given(text=_TEXTS)
@example("&amp;lt;img src=x&amp;gt; Revenue")
@example("&<b></b>lt;b&gt;")
@example("*<b></b>*bold**")
def test_what_is_plain_stays_as_it_is(text):
    assert plain(plain(text)) == plain(text)


@settings(max_examples=25)
@given(
    text=_TEXTS, opened=st.sampled_from(["<a ", "[", "[a](", "&#", "\x1b]", "x" * 500, "![" * 20])
)
def test_no_more_than_so_much_is_held_back(text, opened):
    stream = PlainTextStream()
    shown = stream.feed(text + opened)
    shown += stream.feed("word " * MOST_HELD)
    assert len(shown) >= 4 * MOST_HELD


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Net revenue rose 5 % to $1,234.", "Net revenue rose 5 % to $1,234."),
        ("<b>Revenue</b> rose<br>5%", "Revenue rose 5%"),
        ("H<sub>2</sub>O", "H2O"),
        ("see ![a chart](http://evil.com/?q=1 'x') here", "see a chart here"),
        ("[the page](https://x.y/z) says", "the page says"),
        ("[![alt](b)](c)", "alt"),
        ("[text](in millions)", "[text] (in millions)"),
        ("rose [3]. fell [1][2], [4, 5] \u30106\u3011 .", "rose. fell,."),
        ("[19,378](http://e.com) [2,021]", "[ 19,378] (e[.]com) [ 2,021]"),
        ("AT&amp;T &lt;b&gt;R&D&lt;/b&gt;", "AT&T R&D"),
        ("p < 0.05, x<5, a <b", "p < 0.05, x<5, a < b"),
        ("https://www.apple.com/ir?secret=1", "www[.]apple[.]com/ir"),
        ("Amazon.com, Inc. and ir@x.com", "Amazon.com, Inc. and ir@x.com"),
        ("c2VjcmV0.evil.com", "c2VjcmV0[.]evil[.]com"),
        ("evil.com/c2VjcmV0", "evil[.]com/c2VjcmV0"),
        ("a.secret.evil.com", "a[.]secret[.]evil[.]com"),
        ("at secret.Evil.COM.", "at secret[.]Evil[.]COM."),
        ("10.1.2.3/q?secret=1 in 10.1.2.3", "10[.]1[.]2[.]3/q in 10.1.2.3"),
        ("10.1.2.3:80", "10[.]1[.]2[.]3:80"),
        ("secret[.]xn--p1ai/x?q=1", "secret[.]xn--p1ai/x"),
        ("evil\uff0ecom/secret evil\u3002com/s", "evil[.]com/secret evil[.]com/s"),
        ("\uff45vil\u2024com/secret?q", "evil[.]com/secret"),
        ("\u53ce\uff11\uff0e\uff15\u3002\u6b21", "\u53ce\uff11\uff0e\uff15\u3002\u6b21"),
        ("3.1.Revenue, U.S.GAAP, 1.2.3 m\u00b2", "3.1.Revenue, U.S.GAAP, 1.2.3 m\u00b2"),
        ("**Revenue** __rose__ by `5 %`", "Revenue rose by 5 %"),
        ("7 ** 3 + (1 + 2)**3 snake_case a*b", "7 ** 3 + (1 + 2)**3 snake_case a*b"),
        ("the company`s Rev\u3164enue\u2800", "the company`s Revenue"),
        ("&amp;lt;img src=evil.com/x&amp;gt; Revenue", "Revenue"),
        ("[go](javascript:alert(1))", "go"),
        ("\x1b[31mred\x1b[0m \u202eabc\u200b", "red abc"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("a\n\n b\t c\u00a0d", "a b c d"),
        ("U.S.A. e.g. 1.5 p.m. Inc./Ltd.", "U.S.A. e.g. 1.5 p.m. Inc./Ltd."),
        ("", ""),
    ],
)  # fmt: skip
def test_what_is_left_are_the_words(text, shown):
    assert plain(text) == shown


def test_words_come_out_as_soon_as_they_are_whole():
    stream = PlainTextStream()
    assert stream.feed("Net revenue ro") == "Net revenue"
    assert stream.feed("se ") == ""  # a text may end here, and ends without a space
    assert stream.feed("by") == " rose"
    assert stream.close() == " by"
