"""Which pages want reading from their pixels, on words and pixels made for each case."""

import string
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from rag.ocr.decide import needs_ocr, width_agreement
from rag.page_text import PageText
from rag.types import RenderedPage

WIDTH_PT, HEIGHT_PT = 612, 792
FONT = ImageFont.load_default(11)

ENGLISH = """The company reported higher revenue in every region this year, while operating costs
fell for the third quarter in a row. Management expects demand to remain strong through next spring
and plans to open several new plants abroad. Shareholders will receive a dividend of forty cents."""
LANGUAGES = {
    "english": ENGLISH,
    "czech": """Společnost vykázala vyšší tržby ve všech krajích, zatímco provozní náklady klesly už
    třetí čtvrtletí po sobě. Vedení očekává, že poptávka zůstane silná a plánuje otevřít několik
    nových závodů v zahraničí. Akcionáři dostanou dividendu čtyřicet haléřů na akcii.""",
    "welsh": """Adroddodd y cwmni refeniw uwch ym mhob rhanbarth eleni, tra gostyngodd costau
    gweithredu am y trydydd chwarter yn olynol. Mae'r rheolwyr yn disgwyl i'r galw barhau'n gryf
    drwy'r gwanwyn nesaf ac yn bwriadu agor sawl ffatri newydd dramor.""",
    "vietnamese": """Công ty báo cáo doanh thu cao hơn ở mọi khu vực trong năm nay, trong khi chi
    phí hoạt động giảm quý thứ ba liên tiếp. Ban lãnh đạo kỳ vọng nhu cầu vẫn mạnh đến mùa xuân
    năm sau và dự định mở một số nhà máy mới ở nước ngoài.""",
    "russian": """Компания сообщила о росте выручки во всех регионах в этом году, тогда как расходы
    снизились третий квартал подряд. Руководство ожидает, что спрос останется высоким.""",  # noqa: RUF001 - Russian
    "greek": """Η εταιρεία ανακοίνωσε υψηλότερα έσοδα σε κάθε περιοχή φέτος, ενώ τα
    λειτουργικά έξοδα μειώθηκαν για τρίτο συνεχόμενο τρίμηνο και η ζήτηση παραμένει ισχυρή.""",  # noqa: RUF001 - Greek
    "arabic": "أعلنت الشركة عن ارتفاع الإيرادات في كل منطقة هذا العام بينما انخفضت التكاليف",
    "chinese": "公司 今年 在 各 地区 的 收入 均 有所 增长 而 运营 成本 连续 第三 个 季度 下降",
    "hindi": "कंपनी ने इस वर्ष हर क्षेत्र में अधिक राजस्व की सूचना दी जबकि लागत में गिरावट आई",
    "code": """def main(argv: list[str]) -> int: parser = argparse.ArgumentParser(add_help=1)
    parser.add_argument("--path", type=Path, required=True) args = parser.parse_args(argv[1:])
    for index, line in enumerate(args.path.read_text().splitlines()): print(f"{index:>4} {line}")
    if not args.path.exists(): raise SystemExit(f"{args.path} is not there") return 0""",
    "numbers": " ".join(f"${n:,} ({n % 97}.{n % 7}%)" for n in range(1000, 90000, 997)),
    "contents": " ".join(f"Chapter {n} {'.' * 60} {n * 3}" for n in range(1, 30)),
    "formulas": "x = ( a + b ) / 2 ; y = { 1 , 2 } ; f ( x ) = sin ( x ) + 1 ; " * 3,
}


def sheet(words: list[str], *, drawn: list[str] | None = None) -> tuple[PageText, RenderedPage]:
    """A page in a proportional typeface; `drawn` is what is printed where the words are not it."""
    image = Image.new("RGB", (WIDTH_PT, HEIGHT_PT), "white")
    draw = ImageDraw.Draw(image)
    boxes, x, y = [], 50.0, 60.0
    for word in drawn or words:
        width = draw.textlength(word, FONT)
        if x + width > 560:
            x, y = 50.0, y + 14
        draw.text((x, y), word, "black", FONT)
        boxes.append([x, y, x + width, y + 12])
        x += width + 4
    n = len(words)
    text = PageText(
        tuple(words),
        np.array(boxes, np.float32).reshape(n, 4),
        np.zeros(n, np.int32),
        np.full(n, 11, np.float32),
        np.zeros(n, np.bool_),
    )
    small = image.resize((340, 440), Image.Resampling.BOX)
    return text, RenderedPage(small, WIDTH_PT, HEIGHT_PT)


def reworded(change) -> tuple[PageText, RenderedPage]:
    """Pages of English as printed, whose letters come out of the file as others."""
    printed = 3 * ENGLISH.split()
    return sheet([change(word) for word in printed], drawn=printed)


def lettered(table: dict[int, str]):
    return lambda word: word.translate(table)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("times", [1, 4])
def test_words_that_can_be_read_are_taken_as_they_are(language, times):
    assert needs_ocr(*sheet(LANGUAGES[language].split() * times)) is None


def test_a_page_with_ink_and_no_words_wants_reading_and_one_without_ink_does_not():
    _, printed = sheet(ENGLISH.split())
    assert needs_ocr(PageText.empty(), printed) == "no_text"
    blank = RenderedPage(Image.new("RGB", (340, 440), "white"), WIDTH_PT, HEIGHT_PT)
    assert needs_ocr(PageText.empty(), blank) is None


@pytest.mark.parametrize("char", ["\ufffd", "\uf041", "\U000f0041"])
def test_characters_that_stand_for_nothing_want_reading(char):
    assert needs_ocr(*reworded(lambda word: char * len(word))) == "unmapped_glyphs"


def test_bullets_from_a_symbol_font_are_no_reason_to_read():
    assert needs_ocr(*sheet([w for word in ENGLISH.split() for w in ("\uf0b7", word)])) is None


SHIFTED = {ord(c): chr(max(33, ord(c) - 29)) for c in string.ascii_letters + string.digits}
NEXT_BUT_TWO = str.maketrans(
    string.ascii_letters,
    string.ascii_lowercase[3:] + "abc" + string.ascii_uppercase[3:] + "ABC",
)
FIRST_SEEN = {
    ord(c): chr(33 + place) for place, c in enumerate(dict.fromkeys("".join(ENGLISH.split())))
}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lettered(SHIFTED), id="codes shifted by 29"),
        pytest.param(lettered(NEXT_BUT_TWO), id="letters shifted by three"),
        pytest.param(lettered(FIRST_SEEN), id="codes in the order of first use"),
        pytest.param(lambda word: word.upper().translate(SHIFTED), id="symbols"),
        pytest.param(
            lambda word: "".join(chr(0xC0 + ord(c) % 32) for c in word), id="another code page"
        ),
    ],
)
def test_letters_of_a_font_whose_encoding_is_lost_want_reading(change):
    assert needs_ocr(*reworded(change)) == "looks_wrong"


def test_widths_agree_with_the_letters_that_are_printed_and_with_no_others():
    agreeing, _ = sheet(3 * ENGLISH.split())
    contradicting, _ = reworded(
        lambda word: "".join(string.ascii_letters[zlib.crc32(bytes([ord(c)])) % 52] for c in word)
    )
    assert width_agreement(agreeing) > 0.8
    assert width_agreement(contradicting) < 0.5
    assert width_agreement(sheet(ENGLISH.split()[:20])[0]) is None


def with_number(printed: RenderedPage) -> PageText:
    return PageText(
        ("7",),
        np.array([[300, 760, 306, 770]], np.float32),
        np.zeros(1, np.int32),
        np.full(1, 10, np.float32),
        np.zeros(1, np.bool_),
    )


def test_a_slide_that_is_an_image_with_a_page_number_wants_reading():
    _, printed = sheet(6 * ENGLISH.split())
    assert needs_ocr(with_number(printed), printed) == "mostly_pixels"


def test_a_photograph_with_a_page_number_does_not():
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(0, 256, (110, 85, 3)).astype(np.uint8))
    photo = RenderedPage(coarse.resize((340, 440), Image.Resampling.BICUBIC), WIDTH_PT, HEIGHT_PT)
    assert needs_ocr(with_number(photo), photo) is None


def test_few_words_that_are_all_there_is_want_no_reading():
    assert needs_ocr(*sheet("This page intentionally left blank".split())) is None
