"""Pages in many scripts, ingested and found through the command line."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from rag.apps.cli.app import run
from rag.testing.script_pdfs import make_script_pdf

# ruff: noqa: RUF001 - letters of other scripts are what it is about

# Long enough that their language can be told, so that their words are stemmed.
_RUSSIAN = """выручка компании выросла в прошлом году
продажи ёлочных игрушек не были выше, чем в том же году на севере"""
_GERMAN = """Die Umsätze der Gesellschaft sind gestiegen
und das Ergebnis ist höher als im Jahr davor.
Der Hauptsitz ist in München, die Straße ist neu."""

# Two pages, and whether the letters are drawn as they are seen. The page asked for is the
# first; the second is of the same language, and about something else.
FILES = {
    "zh": (
        "公司的年度收入为三百万元\n主要来自软件业务",
        "员工食堂每天提供午餐\n图书馆周末开放",
        False,
    ),
    "ja": (
        "当社の売上高は増加した\nがん治療薬が好調",
        "社員食堂は昼に開く\n図書館は週末も開館",
        False,
    ),
    "ko": (
        "회사의 매출액은 증가했다\n반도체 사업의 성장",
        "직원 식당은 점심에 연다\n도서관은 주말",
        False,
    ),
    "ar": (
        "إيرادات الشركة ارتفعت\nمبيعات النفط والغاز",
        "مطعم الموظفين مفتوح\nالمكتبة العامة",
        True,
    ),
    # As many programs write it: each letter in the form it has beside its neighbours.
    "ar-forms": ("ﻣﺼﻔﺎﺓ ﺍﻟﺒﺼﺮﺓ\nﺗﻜﺮﻳﺮ", "ﺣﺪﻳﻘﺔ ﺍﻟﺤﻴﻮﺍﻥ", True),
    "he": ("הכנסות החברה גדלו\nמכירות חשמל וגז", "חדר האוכל פתוח\nהספרייה העירונית", True),
    # Drawn backwards, so that readers see each word from its end.
    "he-backwards": ("מפעלים קטנים בצפון\nייצור שבבים", "חופים ארוכים\nגנים לאומיים", False),
    "ru": (
        _RUSSIAN,
        "столовая открыта\nбиблиотека",
        False,
    ),
    "de": (_GERMAN, "Die Kantine ist für alle offen und wird von der Stadt bezahlt.", False),
    "el": ("έσοδα της εταιρείας\nπωλήσεις ηλεκτρισμού", "εστιατόριο προσωπικού\nβιβλιοθήκη", False),
    "hi": ("कंपनी का राजस्व बढ़ा\nबिजली की क़ीमत", "कर्मचारी भोजनालय\nपुस्तकालय खुला है", False),
    "th": ("รายได้ของบริษัทเพิ่มขึ้น\nขายไฟฟ้าและก๊าซ", "โรงอาหารเปิดตอนเที่ยง\nห้องสมุด", False),
    "tr": ("İstanbul şirketinin geliri\nsağlıklı büyüme", "çalışan yemekhanesi\nkütüphane", False),
    "en": ("The revenue of the company has grown", "The canteen opens at noon", False),
}


def octavo(data: Path, *arguments: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*arguments, "--data-dir", str(data)])
    assert code == 0, err.getvalue()
    return out.getvalue()


def place_of(name: str) -> tuple[str, int]:
    """The file and page that FILES's first of a name is."""
    is_seen = FILES[name][2]
    names = [each for each in FILES if FILES[each][2] == is_seen]
    return ("seen.pdf" if is_seen else "written.pdf"), 2 * names.index(name) + 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("scripts")
    for file, is_seen in (("seen.pdf", True), ("written.pdf", False)):
        pages = [page for *both, seen in FILES.values() if seen == is_seen for page in both]
        (place / file).write_bytes(make_script_pdf(pages, right_to_left=is_seen))
    octavo(place / "data", "ingest", str(place))
    return place / "data"


def best(data: Path, question: str) -> tuple[str, int]:
    hit = json.loads(octavo(data, "search", question, "--mode", "text", "--json"))["hits"][0]
    return hit["source"], hit["page_number"]


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("zh", "公司的收入是多少？"),
        ("ja", "売上高はいくらですか"),
        ("ja", "か\u3099ん治療"),
        ("ko", "매출액은 얼마입니까?"),
        ("ar", "ما هي إيرادات الشركة؟"),
        ("ar", "إِيرَادَات"),
        ("ar-forms", "مصفاة البصرة"),
        ("he", "מה הן הכנסות החברה?"),
        ("he", "הַכְנָסוֹת"),
        ("he-backwards", "מפעלים קטנים"),
        ("ru", "Какова выручка?"),
        ("ru", "елочных"),
        ("ru", "о выручках"),  # another case: found by its stem alone
        ("de", "umsatze"),
        ("de", "strasse"),
        ("de", "Ergebnissen"),
        ("el", "ΕΣΟΔΑ"),
        ("hi", "कंपनी का राजस्व कितना है?"),
        ("hi", "बिजली कीमत"),
        ("th", "รายได้ของบริษัทเท่าไร"),
        ("tr", "İSTANBUL SAĞLIKLI"),
        ("en", "What is the revenue?"),
    ],
)
def test_a_page_is_found_by_a_question_in_its_script(data: Path, name: str, question: str) -> None:
    assert best(data, question) == place_of(name)


def test_a_year_is_found_as_pages_write_it_and_only_where_variants_count(tmp_path: Path) -> None:
    pages = ["Results of fiscal 2021 were weak", "Results of fiscal 2022 were strong"]
    (tmp_path / "years.pdf").write_bytes(make_script_pdf(pages))
    octavo(tmp_path / "data", "ingest", str(tmp_path / "years.pdf"))
    assert best(tmp_path / "data", "FY22") == ("years.pdf", 2)
    as_written = octavo(
        tmp_path / "data",
        *("search", "FY22", "--mode", "text", "--json"),
        *("--set", "retrieval.wording.variants=false"),
    )
    assert json.loads(as_written)["hits"] == []
