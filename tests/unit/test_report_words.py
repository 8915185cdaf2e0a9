"""Words of documents, questions and models stay words, in whatever form a report has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from report_runs import Drawing, PageSeen, answer_run, html, plain, search_run

from eval.reports import as_latex, as_markdown
from eval.reports.plain import visible
from eval.reports.write import ReportFormat, write_report

HOSTILE = [
    "<script>alert(1)</script>",
    "</style><style>body{display:none}</style>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "[click](javascript:alert(1)) ![x](http://evil.test/x.png)",
    "{{ 7*7 }} {% include '/etc/passwd' %}",
    "a | b\n\n# not a heading\n| c |",
    "\u202egnp.exe\u202c \x1b[31m \x00 \ud800",
    "]]> --> </svg></title></text>",
    "\\input{/etc/passwd} $x_1^2$ 50% & #1 ~ {brace}",
]


@pytest.fixture(name="hostile")
def _hostile(tmp_path) -> list[Path]:
    """A run of searches and one of answers, in which every text is an attack."""
    searches, answers = [], []
    for number, words in enumerate(HOSTILE):
        doc = words.replace("\t", " ").replace("\n", " ") + ".pdf"
        common = {"id": f"q{number}", "text": words, "answer": words, "gold": [[doc, 1, 1]]}
        doc_found = re.sub("[\x00-\x1f\ud800]", "", doc)
        searches.append(
            {**common, "type": words, "groups": {words: words, "g": words}, "nDCG@10": 0.0}
            | {"found": [[doc_found, 3]]}
        )
        cited = {"marker": 1, "source": doc, "page_number": 1, "quote": words}
        cited |= {"boxes": [[1, 1, 50, 20]]}
        answers.append({**common, "said": words, "outcome": words, "citations": [cited]})
    head = {
        "encoder": HOSTILE[0],
        "notices": {HOSTILE[2]: {"questions": 1, "message": HOSTILE[0]}},
        "refused": {"q1": HOSTILE[0]},
        "origin": {HOSTILE[2]: HOSTILE[0]},
    }
    return [
        search_run(tmp_path / "<b>run</b>", searches, **head),
        search_run(tmp_path / "second", searches),
        answer_run(tmp_path / "answers", answers, **head),
    ]


OURS = (
    "a article blockquote body caption circle dd desc details div dl dt figcaption figure footer "
    "h1 h2 h3 head header html img li line link main meta nav ol p path polygon pre rect section "
    "span strong style summary svg table tbody td text th thead title tr ul"
)


@pytest.mark.parametrize("which", [(0,), (0, 1), (2,)])
def test_no_word_of_documents_questions_or_models_becomes_markup(hostile, tmp_path, which):
    page = html(*(hostile[i] for i in which), tmp_path=tmp_path, draw=Drawing())
    seen = PageSeen(page)
    assert {tag for tag, _ in seen.tags} <= set(OURS.split())
    for tag, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        if (link := attributes.get("href")) is not None:
            assert link.startswith("#") or link == "data:,"
        if (source := attributes.get("src")) is not None:
            assert source.startswith("data:image/webp;base64,")
    for words in HOSTILE:
        assert " ".join(visible(words).split()) in " ".join(seen.words.split())
    assert page.count("<style>") == 1
    assert "url(" not in page.split("</style>")[0]
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", page)


@pytest.mark.parametrize("field", ["text", "answer", "said", "quote", "error", "message"])
def test_long_words_are_cut_for_the_eye_and_whole_behind_a_click(tmp_path, field):
    words = "".join(f"w{n:04d} " for n in range(700)).strip()
    asked = {"id": "q1", "text": "What?", "gold": [["c.pdf", 7, 1]], "outcome": "wrong"}
    notices = {}
    if field == "quote":
        cited = {"marker": 1, "source": "c.pdf", "page_number": 7, "quote": words}
        asked |= {"said": "So.", "citations": [cited]}
    elif field == "message":
        notices = {"odd": {"questions": 1, "message": words}}
    else:
        asked[field] = words
    page = html(answer_run(tmp_path / "run", [asked], notices=notices), tmp_path=tmp_path)
    at_once = re.sub(r'<details class="rest">.*?</details>', "", page, flags=re.DOTALL)
    assert "w0001" in at_once
    assert "w0400" not in at_once
    assert f'<summary>All 4,199 letters</summary><div dir="auto">{words}</div>' in page


def test_the_page_lets_nothing_in_and_nothing_out(tmp_path):
    page = html(search_run(tmp_path / "run", plain()), tmp_path=tmp_path)
    policy = next(
        attributes["content"]
        for tag, attributes in PageSeen(page).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.split("; ")[:3] == [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
    ]


def test_in_markdown_words_of_others_mark_nothing_up(hostile, tmp_path):
    out = tmp_path / "report.md"
    write_report(hostile[:2], out, file_format=ReportFormat.MARKDOWN)
    text = out.read_text(encoding="utf-8")
    for line in text.splitlines():
        assert "<" not in line
        unescaped = re.sub(r"\\.", "", line)
        assert "](" not in unescaped
        assert not line.startswith("# ") or "against" in line
        if line.startswith("|"):
            assert unescaped.endswith("|")
    # Every row of a table has as many cells as its head.
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({re.sub(r"\\.", "", row).count("|") for row in table.splitlines()}) == 1


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("a_b & 50% #1", r"a\_b \& 50\% \#1"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("[4pt] ~^", r"{[}4pt{]} \textasciitilde{}\textasciicircum{}"),
        ("two\nlines", "two lines"),
    ],
)
def test_in_latex_words_of_others_are_no_commands(words, written):
    assert as_latex.escaped(words) == written


def test_every_row_of_a_latex_table_has_the_columns_it_names(hostile, tmp_path):
    out = tmp_path / "report.tex"
    write_report(hostile[:2], out, file_format=ReportFormat.LATEX)
    text = out.read_text(encoding="utf-8")
    tables = re.findall(
        r"\\begin\{tabular\}\{(\w+)\}\n\\toprule\n(.*?)\\bottomrule", text, re.DOTALL
    )
    assert len(tables) >= 3
    for columns, body in tables:
        rows = [row for row in body.splitlines() if row.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(columns) - 1}


def test_markdown_escapes_by_letter():
    assert as_markdown.escaped("a|b <i> `c` [d](e)\n# f") == (
        r"a\|b &lt;i&gt; \`c\` \[d\]\(e\) \# f"
    )


@pytest.mark.parametrize(
    ("words", "seen"),
    [("a\u202eb", "a⟨U+202E⟩b"), ("\ud83d", "⟨U+D83D⟩"), ("tab\tstays\n", "tab\tstays\n")],
)
def test_characters_that_nobody_sees_are_named(words, seen):
    assert visible(words) == seen
