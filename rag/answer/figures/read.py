"""Numbers, dates and units as texts write them, and what they come to.

What is ambiguous is read as the texts we know mean it, and never guessed further: "1.234" is a
decimal, "1 234" are two figures unless a currency or a word of scale closes them, and "3/4/2022" is
a day nobody can name.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from rag.answer.figures.dates import LOOK_BACK, YEAR, date_at
from rag.answer.figures.figure import Figure, Found
from rag.answer.figures.words import CURRENCIES, SCALES, UNITS, unit_of

__all__ = ["Figure", "figures_in", "unread_in"]


def figures_in(words: Sequence[str]) -> list[Figure]:
    """All figures of a text in its order; a year alone ("2022") is a number that may be a date.

    Ordinals, reference marks, names with digits ("10-K", "COVID-19", "3M") and numbers of sections
    with two points are none. Of a range and of a fraction both ends are figures.
    """
    text = " ".join(map(_plain, words))
    starts: list[int] = []
    at = 0
    for word in words:
        starts.append(at)
        at += len(word) + 1
    return [
        replace(
            each.figure,
            text=text[each.start : each.end].strip(),  # "($ 5" has a blank where its sign was
            start=bisect_right(starts, each.start) - 1,
            end=bisect_right(starts, each.end - 1),
        )
        for each in _found_in(text)
        if each.figure is not None
    ]


def unread_in(words: Sequence[str], *, covered: Sequence[tuple[int, int]] = ()) -> list[str]:
    """Digits and numerals that no figure of `figures_in` reads, each with what it is glued to.

    Args:
        words: of a text.
        covered: (start, end) characters of the words joined by one space that were read otherwise.
    """
    text = " ".join(words)
    spans = [
        *covered,
        *((each.start, each.end) for each in _found_in(" ".join(map(_plain, words)))),
    ]
    is_read = bytearray(len(text))
    for start, end in spans:
        is_read[start:end] = b"\1" * (end - start)
    found: list[str] = []
    for pattern in (_NUMERALS, _ROMAN, _EASTERN):
        found += [
            match.group().strip(_MARKS)
            for match in pattern.finditer(text)
            if _is_numeral(match, is_read)
        ]
    return list(dict.fromkeys(found))


def _found_in(text: str) -> list[Found]:
    found: list[Found] = []
    position = 0
    while (digits := _RUN.search(text, position)) is not None:
        last = found[-1].end if found else 0
        read = date_at(text, digits.start(), last) or _number_at(text, digits, last)
        position = max(read.end, digits.start() + 1)
        if read.figure is not None:
            found.append(_ranged(text, found, read))
    return found


# --- characters -----------------------------------------------------------------------------------
class _Signs(dict[int, str]):
    """For `str.translate`, a character for a character: digits of any script, widths, minus."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        digit = unicodedata.decimal(char, None)
        if digit is not None:
            plain = str(digit)
        else:
            wide = unicodedata.normalize("NFKC", char) if 0xFF00 <= code < 0xFFEF else char
            plain = wide if len(wide) == 1 else char
        self[code] = plain
        return plain


# Minus, hyphen, non-breaking hyphen; the dashes stay, they may be no signs.
_SIGNS = _Signs({0x2212: "-", 0x2010: "-", 0x2011: "-", 0x2019: "'", 0xA0: " ", 0x202F: " "})


def _plain(word: str) -> str:
    return word if word.isascii() else word.translate(_SIGNS)


# --- what is not read -----------------------------------------------------------------------------
_EAST = "\u3005-\u30ff\u3400-\u9fff\uac00-\ud7af"  # scripts that leave no space between words
_EASTERN_DIGITS = (
    "\u3007\u96f6\u4e00\u4e8c\u4e24\u5169\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341"
    "\u5eff\u5345\u767e\u5343\u4e07\u842c\u4ebf\u5104\u5146\u58f9\u8d30\u53c1\u8086\u4f0d"
    "\u9646\u67d2\u634c\u7396\u62fe\u4f70\u4edf"
)
_MARKS = ".,;:!?()[]{}\"'\u201c\u201d\u2018\u2019"
_NUMERALS = re.compile(rf"[^\s{_EAST}]+[{_EASTERN_DIGITS}]*")
_EASTERN = re.compile(rf"[{_EASTERN_DIGITS}]{{2,}}")
_ROMAN_NUMBER = r"(?=[MDCLXVI])M{0,4}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_ROMAN = re.compile(
    rf"(?:(?<=\b[Ii]n )(?=[A-Z]{{2}})|(?=[A-Z]{{3}})){_ROMAN_NUMBER}(?![\w&])(?<![^\W_]-)"
    rf"|\b(?=[A-Z]{{2}}){_ROMAN_NUMBER}(?= (?:{'|'.join(SCALES)}|%|percent)\b)"
)


def _is_numeral(match: re.Match[str], is_read: bytearray) -> bool:
    """Whether a token has an unread digit of any kind, or is nothing but letters that count."""
    if match.re is not _NUMERALS:
        return not all(is_read[match.start() : match.end()])
    return any(
        _is_digit(char) and not is_read[place]
        for place, char in enumerate(match.group(), start=match.start())
    )


def _is_digit(char: str) -> bool:
    return char.isdigit() or unicodedata.category(char) in ("Nd", "Nl", "No")


# --- numbers --------------------------------------------------------------------------------------
_MOST_DIGITS = 40  # more are no amount, and a float would end in infinity
_VULGAR = {
    char: unicodedata.numeric(char)
    for char in map(chr, [*range(0xBC, 0xBF), *range(0x2150, 0x215F)])
}
_PART = f"[{''.join(_VULGAR)}]"
_RUN = re.compile(rf"\d(?:[\d.,']*\d)?{_PART}?|{_PART}")
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(\.\d+)?")
_INDIAN = re.compile(r"\d{1,2}(?:,\d\d)+,\d{3}(\.\d+)?")
_POINTS = re.compile(r"\d{1,3}(?:\.\d{3})+(,\d+)|\d{1,3}(?:\.\d{3}){2,}()")
_APOSTROPHES = re.compile(r"\d{1,3}(?:'\d{3})+([.,]\d+)?")
_PLAIN_NUMBER = re.compile(r"\d+(\.\d+)?")
_COMMA = re.compile(r"\d+(,\d{1,2}|,\d{4,})|0(,\d+)")
_SPACED = re.compile(r"[1-9]\d{0,2}(?: \d{3})+(,\d{1,2})?(?![\d.,]*\d)")
_PARTED = re.compile(r"[1-9]\d{0,2}(?: ,\d{3})+(\.\d+)?(?![\d.,]*\d)")  # as OCR parts them

_CURRENCY = "|".join(re.escape(each) for each in sorted(CURRENCIES, key=len, reverse=True))
_BEFORE = re.compile(
    rf"(?:(?<![\w)\]%])(?P<sign>[-+\u2013]))?(?:(?<![^\W\d_])(?P<currency>{_CURRENCY}) ?)?"
    rf"(?P<open>\( ?)?(?:(?<![\w)\]%])(?P<inner>[-+\u2013]))?"
    rf"(?:(?<![^\W\d_])(?P<held>{_CURRENCY}) ?)?$"
)
_SCALE = "|".join(sorted(SCALES, key=len, reverse=True))
_SCALE_AFTER = re.compile(rf"[ -]?({_SCALE})\b\.?(?: ({_SCALE})\b)?", re.IGNORECASE)
_LETTER_SCALES = {"k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6, "mm": 1e6, "MM": 1e6, "b": 1e9, "B": 1e9}
_LETTERS_AFTER = re.compile(r" ?([kKmMbB]|mm|MM)\b")
_CURRENCY_AFTER = re.compile(rf" ?({_CURRENCY})(?![^\W\d_])")
_UNIT = "|".join(re.escape(each) for each in sorted(UNITS, key=len, reverse=True))
_UNIT_AFTER = re.compile(rf"[ -]?({_UNIT})(?![^\W\d_])")
_GLUED = re.compile(r"[^\W\d_]+")
# "450M" is an amount; "3M" and "10K" are names, "450m" is a length.
_GLUED_AMOUNT = re.compile(r"(?!10K)\d[\d,]*\d(?:[KMB]|(?<=\d\d\d) [MB])\b")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b", re.IGNORECASE)
_NAME_AFTER = re.compile(r"-?[A-Z]{1,2}\b(?!-)")
_CLOSE = re.compile(r" ?(%)? ?\)")
_PREFIX_BEFORE = re.compile(r"(?:[^\W\d_]+)-$")
_RANGE = re.compile(r"[-\u2013\u2014/]| to | [\u2013] ")


def _number_at(text: str, digits: re.Match[str], last: int) -> Found:
    start, end = digits.span()
    parsed = _value_of(digits.group())
    if parsed is None:
        # "2021,2022" are two; "4.1.2" is the number of a section.
        first = re.match(rf"\d{{1,{_MOST_DIGITS}}}(?!\d)", digits.group())
        if first is None or "." in digits.group():
            return Found(end)
        end = start + first.end()
        parsed = (float(first.group()), 0)
    value, decimals = parsed
    before = _BEFORE.search(text, max(last, start - LOOK_BACK), start)
    assert before is not None  # all its parts may be missing
    if start and text[start - 1] == "." and (start == 1 or not text[start - 2].isalnum()):
        decimals = len(digits.group())  # ".5"
        value = float(f"0.{digits.group()}") if digits.group().isdigit() else value
        start -= 1
        before = _BEFORE.search(text, max(last, start - LOOK_BACK), start) or before
    currency = before["currency"] or before["held"]
    if _is_name(text, start, end, currency):
        return Found(_end_of_glued(text, end))
    spaced = _SPACED.match(text, start)
    if spaced is not None and spaced.end() > end and _closes_spaced(text, spaced, currency):
        end = spaced.end()
        decimals = len(spaced[1]) - 1 if spaced[1] else 0
        value = float(spaced.group().replace(" ", "").replace(",", "."))
    parted = _PARTED.match(text, start)
    if parted is not None:
        end = parted.end()
        decimals = len(parted[1]) - 1 if parted[1] else 0
        value = float(re.sub("[ ,]", "", parted.group()))
    closed, is_bracketed = end, False
    close = _CLOSE.match(text, end) if before["open"] else None
    unit = currency or ""
    if close is not None:
        is_plain = currency is None and before["sign"] is None and before["inner"] is None
        lead = start - len(before.group())
        if is_plain and _is_mark(text, lead, end - start, close):
            return Found(close.end())
        is_bracketed = not _is_aside(text, start - len(before.group()), digits.group(), close)
        closed = close.end() if is_bracketed else end
        unit = unit or (close[1] or "" if is_bracketed else "")
    elif text[start - 1 : start] == "[" and text[end : end + 1] == "]":
        return Found(end + 1)
    scale, unit, stop = _closing(
        text,
        closed,
        unit,
        may_abbreviate=decimals > 0 or _GLUED_AMOUNT.match(text, start, end + 2) is not None,
    )
    if before["open"] and close is None and is_bracketed is False:
        held = _CLOSE.match(text, stop)
        if held is not None and _is_negative_amount(text, start - len(before.group()), held):
            is_bracketed, stop = True, held.end()
    is_negative = (
        is_bracketed
        or before["sign"] in ("-", "\u2013")
        or before["inner"]
        in (
            "-",
            "\u2013",
        )
    )
    figure = Figure(
        "",
        0,
        0,
        -value if is_negative else value,
        scale,
        decimals,
        CURRENCIES.get(unit, unit),
    )
    n_before = len(before.group())
    if before["open"] and not is_bracketed:
        n_before = len((before["inner"] or "") + (before["held"] or ""))
    return Found(stop, figure, start - n_before, closed)


def _value_of(run: str) -> tuple[float, int] | None:
    """What digits and the marks between them come to, and the decimals; None where two numbers."""
    part = _VULGAR.get(run[-1], 0.0)
    run = run[:-1] if part else run
    if not run:
        return part, _decimals_of(part)
    for pattern, group, point in (
        (_PLAIN_NUMBER, "", "."),
        (_GROUPED, ",", "."),
        (_INDIAN, ",", "."),
        (_POINTS, ".", ","),
        (_APOSTROPHES, "'", "."),
        (_COMMA, "", ","),
    ):
        match = pattern.fullmatch(run)
        if match is not None:
            tail = next(filter(None, match.groups()), "")
            bare = (run.replace(group, "") if group else run).replace(point, ".").replace(",", ".")
            if len(bare) > _MOST_DIGITS:
                return None
            return float(bare) + part, _decimals_of(part) if part else max(0, len(tail) - 1)
    return None


def _decimals_of(part: float) -> int:
    """Of a fraction written as one character: as many as say it, three where none do."""
    return next((n for n in (0, 1, 2) if round(part, n) == part), 3)


def _is_name(text: str, start: int, end: int, currency: str | None) -> bool:
    """Whether the digits are part of a name or an ordinal: A4, COVID-19, 10-K, 3M, 21st."""
    char = text[start - 1 : start]
    if currency is None and (char.isalpha() or char == "_"):
        return True
    prefix = _PREFIX_BEFORE.search(text[max(0, start - 12) : start])
    is_year = re.fullmatch(YEAR, text[start:end]) is not None
    if prefix is not None and not (prefix.group().islower() and is_year):
        return True
    if _ORDINAL.match(text, end) is not None:
        return True
    glued = _GLUED.match(text, end)
    if glued is not None:
        word = glued.group()
        is_known = word in UNITS or word.lower() in SCALES or word == "k" or word in CURRENCIES
        is_scale = word in _LETTER_SCALES and (
            currency is not None
            or "." in text[start:end]
            or _GLUED_AMOUNT.match(text, start, end + 1)
        )
        return not (is_known or is_scale or (word == "s" and is_year))
    return _NAME_AFTER.match(text, end) is not None


def _end_of_glued(text: str, end: int) -> int:
    match = re.compile(r"[\w-]*").match(text, end)
    return match.end() if match is not None else end


def _closes_spaced(text: str, spaced: re.Match[str], currency: str | None) -> bool:
    """Whether groups of digits between spaces are surely one number: money or a word of scale."""
    end = spaced.end()
    follows = _CURRENCY_AFTER.match(text, end) or _SCALE_AFTER.match(text, end)
    return follows is not None or (currency is not None and spaced[1] is not None)


def _is_mark(text: str, lead: int, n_digits: int, close: re.Match[str]) -> bool:
    """Whether a number in brackets refers to a note: glued to a word, or (1) after one."""
    if close[1] or n_digits > 2:
        return False
    if text[lead - 1 : lead].strip(" "):
        return True  # EBITDA(1), 12%(2)
    before = text[:lead].rstrip(" ")[-1:]
    follows = text[close.end() : close.end() + 2].lstrip(" ")[:1]
    # "(3) Includes": a list or a note; "Other (5)": a note; "12 (5)", "$ (5)": an amount.
    return (n_digits == 1 and before.isalpha()) or (
        before in (".", ";", ":", "") and follows.isalpha()
    )


def _is_aside(text: str, lead: int, digits: str, close: re.Match[str]) -> bool:
    """Whether brackets hold a remark and not a negative amount: a year, or a share in prose."""
    if re.fullmatch(YEAR, digits):
        return True
    if not close[1] and re.match(r" ?(?:%|percent\b)", text[close.end() : close.end() + 9]):
        return False
    before = text[:lead].rstrip(" ")[-1:]
    follows = text[close.end() : close.end() + 2].lstrip(" ")[:1]
    return bool(close[1]) and before.isalpha() and (follows.islower() or follows in (",", "."))


def _is_negative_amount(text: str, lead: int, close: re.Match[str]) -> bool:
    """Whether "($5 million)" is a loss: not where prose goes on around it."""
    before = text[:lead].rstrip(" ")[-1:]
    return not before.isalpha() and close is not None


def _closing(text: str, end: int, currency: str, *, may_abbreviate: bool) -> tuple[float, str, int]:
    """The scale and unit that follow a number, and where they end."""
    scale = 1.0
    if currency != "%":
        match = _SCALE_AFTER.match(text, end)
        letters = _LETTERS_AFTER.match(text, end)
        if match is not None:
            scale = SCALES[match[1].lower()] * (SCALES[match[2].lower()] if match[2] else 1.0)
            end = match.end() - (match.group().endswith(".") and text[match.end() :] == "")
        elif letters is not None and (
            currency
            or (letters.group() == "k")
            or (may_abbreviate and letters[1].isupper() and letters[1] != "MM")
        ):
            scale, end = _LETTER_SCALES[letters[1]], letters.end()
    if currency:
        return scale, currency, end
    money = _CURRENCY_AFTER.match(text, end)
    if money is not None and not _is_of_next(text, money):
        return scale, money[1], money.end()
    unit = _UNIT_AFTER.match(text, end)
    if unit is not None:
        return scale, unit_of(unit[1]), unit.end()
    return scale, "", end


def _is_of_next(text: str, money: re.Match[str]) -> bool:
    """Whether a sign between two numbers is the second one's: "5 $ 7" are columns of a table."""
    sign = money[1]
    if sign[0].isalpha() and "$" not in sign:
        return False
    return (
        re.match(rf" ?[(-]?\d[\d.,]*+\)?(?! ?{re.escape(sign)})", text[money.end() :][:20])
        is not None
    )


def _ranged(text: str, found: list[Found], read: Found) -> Found:
    """A figure after "5 to" or "2021-": both ends of a range share what is said of one of them."""
    if not found or read.figure is None or found[-1].figure is None:
        return read
    before, between = found[-1], text[found[-1].end : read.start]
    # The sign of "5-7" belongs to the range.
    first, second = before.figure, read.figure
    if first is None or first.value is None or second.value is None:
        return read
    if not _RANGE.fullmatch(between):
        return read
    is_years = re.fullmatch(YEAR, text[before.start : before.end]) is not None
    digits = text[read.start : read.run_end]
    if is_years and between in "-\u2013/" and re.fullmatch(r"\d\d", digits):
        if second.unit or second.scale != 1:
            return read
        year = int(first.value) // 100 * 100 + int(digits)
        if year > first.value:
            return replace(
                read, figure=Figure("", 0, 0, None, day=date(year, 1, 1), precision="year")
            )
    if between == "/" or is_years:
        return read
    is_bare = first.scale == 1 and (not first.unit or first.unit == second.unit)
    is_money = first.unit in CURRENCIES.values()
    if is_bare or (first.scale == 1 and is_money and not second.unit):
        found[-1] = replace(
            before,
            figure=replace(first, scale=second.scale, unit=first.unit or second.unit),
        )
    if is_money and not second.unit:
        read = replace(read, figure=replace(second, unit=first.unit))
    return read
