"""Draws examples/sample-report.pdf: four pages of an invented company's annual report.

Prose, a table, charts of vectors and an outlook, all with a real text layer. Everything in it is
made up for this project, so it may be shipped; its figures agree with one another.

    python scripts/make_sample_report.py [OUT.pdf]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pymupdf

COMPANY = "Northwind Tidal Energy"
WIDTH_PT, HEIGHT_PT = 595.0, 842.0
LEFT, RIGHT = 64.0, WIDTH_PT - 64.0

Colour = tuple[float, float, float]
NAVY: Colour = (0.06, 0.17, 0.30)
TEAL: Colour = (0.05, 0.49, 0.53)
FOAM: Colour = (0.68, 0.84, 0.84)
INK: Colour = (0.16, 0.19, 0.23)
GREY: Colour = (0.43, 0.47, 0.52)
RULE: Colour = (0.82, 0.85, 0.88)
BAND: Colour = (0.955, 0.97, 0.975)
WHITE: Colour = (1.0, 1.0, 1.0)

SANS, BOLD, SERIF = "helv", "hebo", "tiro"
PARAGRAPH_SIZE, LEADING = 10.8, 1.5


def text_width(text: str, font: str, size: float) -> float:
    return float(pymupdf.get_text_length(text, fontname=font, fontsize=size))


def put(
    page: pymupdf.Page,
    x: float,
    y: float,
    text: str,
    *,
    font: str = SANS,
    size: float = 10.0,
    colour: Colour = INK,
    anchor: str = "left",
) -> None:
    """One line; `y` is its baseline and `anchor` says which end of it `x` is."""
    width = text_width(text, font, size)
    shift = {"left": 0.0, "middle": width / 2, "right": width}[anchor]
    page.insert_text((x - shift, y), text, fontname=font, fontsize=size, color=colour)


def paragraphs(page: pymupdf.Page, y: float, text: str) -> float:
    """Set in lines that fit, from `y` down; returns where the next thing may start."""
    for paragraph in text.split("\n\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if text_width(longer, SERIF, PARAGRAPH_SIZE) > RIGHT - LEFT:
                put(page, LEFT, y, line, font=SERIF, size=PARAGRAPH_SIZE)
                y += PARAGRAPH_SIZE * LEADING
                longer = word
            line = longer
        put(page, LEFT, y, line, font=SERIF, size=PARAGRAPH_SIZE)
        y += PARAGRAPH_SIZE * (LEADING + 0.7)
    return y


def box(page: pymupdf.Page, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
    page.draw_rect(pymupdf.Rect(x0, y0, x1, y1), color=None, fill=fill, width=0)


def rule(page: pymupdf.Page, y: float, *, colour: Colour = RULE, width: float = 0.6) -> None:
    page.draw_line((LEFT, y), (RIGHT, y), color=colour, width=width)


def foot(page: pymupdf.Page) -> None:
    rule(page, HEIGHT_PT - 62)
    put(page, LEFT, HEIGHT_PT - 46, COMPANY, size=8.5, colour=GREY)
    put(page, RIGHT, HEIGHT_PT - 46, str(page.number + 1), size=8.5, colour=GREY, anchor="right")


def new_page(report: pymupdf.Document, section: str) -> pymupdf.Page:
    """An empty page with its running head and foot."""
    page = report.new_page(width=WIDTH_PT, height=HEIGHT_PT)
    box(page, LEFT, 46, LEFT + 22, 49, TEAL)
    put(page, LEFT, 66, section, font=BOLD, size=8.5, colour=GREY)
    put(page, RIGHT, 66, "Annual report 2024", size=8.5, colour=GREY, anchor="right")
    foot(page)
    return page


def heading(page: pymupdf.Page, y: float, text: str) -> float:
    put(page, LEFT, y, text, font=BOLD, size=23, colour=NAVY)
    return y + 32


def subheading(page: pymupdf.Page, y: float, text: str) -> float:
    put(page, LEFT, y, text, font=BOLD, size=12.5, colour=TEAL)
    return y + 20


def table(
    page: pymupdf.Page,
    y: float,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    has_total: bool,
) -> float:
    """A first column of names, then right-aligned columns; the last row may be a total."""
    row_height = 25.0
    step = 84.0
    ends = [RIGHT - 12 - step * back for back in reversed(range(len(head) - 1))]
    box(page, LEFT, y, RIGHT, y + row_height, NAVY)
    put(page, LEFT + 12, y + 16.5, head[0], font=BOLD, size=9.5, colour=WHITE)
    for end, name in zip(ends, head[1:], strict=True):
        put(page, end, y + 16.5, name, font=BOLD, size=9.5, colour=WHITE, anchor="right")
    y += row_height
    for number, row in enumerate(rows):
        is_total = has_total and number == len(rows) - 1
        if number % 2:
            box(page, LEFT, y, RIGHT, y + row_height, BAND)
        if is_total:
            rule(page, y, colour=NAVY, width=1.1)
        font = BOLD if is_total else SANS
        put(page, LEFT + 12, y + 16.5, row[0], font=font)
        for end, value in zip(ends, row[1:], strict=True):
            put(page, end, y + 16.5, value, font=font, anchor="right")
        y += row_height
    rule(page, y)
    return y + 16


def columns_chart(
    page: pymupdf.Page,
    y: float,
    *,
    height: float,
    top: float,
    tick: float,
    labels: Sequence[str],
    series: Sequence[tuple[str, Colour, Sequence[float]]],
) -> float:
    """Upright bars, one group a label, drawn as vectors, each with its value on top."""
    left, floor = LEFT + 34, y + height
    for step in range(int(top / tick) + 1):
        level = floor - height * step * tick / top
        page.draw_line((left, level), (RIGHT, level), color=RULE, width=0.5)
        put(page, left - 8, level + 3, f"{step * tick:.0f}", size=8, colour=GREY, anchor="right")
    group = (RIGHT - left) / len(labels)
    bar = min(40.0, group * 0.72 / len(series))
    for number, label in enumerate(labels):
        middle = left + group * (number + 0.5)
        for place, (_, colour, values) in enumerate(series):
            x0 = middle + bar * (place - len(series) / 2) + 1.5
            peak = floor - height * values[number] / top
            box(page, x0, peak, x0 + bar - 3, floor, colour)
            put(
                page,
                x0 + (bar - 3) / 2,
                peak - 5,
                f"{values[number]:.0f}",
                font=BOLD,
                size=8.5,
                anchor="middle",
            )
        put(page, middle, floor + 15, label, size=9, anchor="middle")
    page.draw_line((left, floor), (RIGHT, floor), color=INK, width=0.9)
    if len(series) > 1:
        x = left
        for name, colour, _ in series:
            box(page, x, floor + 27, x + 9, floor + 36, colour)
            put(page, x + 14, floor + 35, name, size=9)
            x += 34 + text_width(name, SANS, 9)
    return floor + 52


def year_in_brief(report: pymupdf.Document) -> None:
    page = report.new_page(width=WIDTH_PT, height=HEIGHT_PT)
    box(page, 0, 0, WIDTH_PT, 236, NAVY)
    for number, colour in enumerate(((0.09, 0.25, 0.39), (0.07, 0.36, 0.45), TEAL)):
        crest = 176.0 + 18 * number
        wave = page.new_shape()
        at = pymupdf.Point(0, crest)
        for swell in range(4):
            x = WIDTH_PT / 4 * swell
            nxt = pymupdf.Point(x + WIDTH_PT / 4, crest)
            wave.draw_bezier(at, (x + 45, crest - 24), (x + 100, crest + 22), nxt)
            at = nxt
        wave.draw_polyline([at, (WIDTH_PT, 236), (0, 236), (0, crest)])
        wave.finish(color=None, fill=colour, width=0)
        wave.commit()
    put(page, LEFT, 92, COMPANY, font=BOLD, size=31, colour=WHITE)
    put(page, LEFT, 122, "Annual report 2024", size=16, colour=FOAM)
    y = heading(page, 288, "The year in brief")
    y = paragraphs(
        page,
        y,
        """
        Northwind Tidal Energy builds and operates turbines that turn the tides into
        electricity. In 2024 we delivered 1,648 gigawatt hours to the grids of five countries,
        12.3 percent more than the year before, and no turbine was out of service for longer
        than nine days.

        Revenue rose by 23.0 percent to EUR 325.0 million. Every region grew, Atlantic Canada
        fastest: the Fundy Narrows array completed its first full year of operation. EBITDA
        reached EUR 101.4 million, and the board proposes a dividend of EUR 0.60 per share,
        after EUR 0.48 for 2023.
        """,
    )
    y = subheading(page, y + 8, "What made the difference")
    y = paragraphs(
        page,
        y,
        """
        The second generation of our Petrel turbine starts to turn at a current of 0.9 metres
        per second instead of 1.3. It therefore works almost two hours longer in each tide. By
        the end of the year 86 of our 214 turbines were of this kind.

        Maintenance ships now leave port only when a bearing asks for it: vibration sensors cut
        the number of service trips from 412 to 267. Nobody was seriously injured in 1.9 million
        working hours.
        """,
    )
    put(page, LEFT, y + 14, "Ingrid Halvorsen", font=BOLD, size=10.5, colour=NAVY)
    put(page, LEFT, y + 29, "Chief executive officer", size=9.5, colour=GREY)
    foot(page)


def results(report: pymupdf.Document) -> None:
    page = new_page(report, "Financial results")
    y = heading(page, 116, "Revenue by region")
    y = paragraphs(
        page,
        y,
        """
        Electricity is sold under contracts of ten to fifteen years; about a fifth goes to the
        spot market. Revenue is shown where the electricity is fed in.
        """,
    )
    put(page, LEFT, y + 4, "Revenue by region, EUR million", font=BOLD, size=10, colour=TEAL)
    y = table(
        page,
        y + 14,
        ("Region", "2022", "2023", "2024", "Change 2024"),
        (
            ("North Sea", "118.4", "131.9", "152.6", "+15.7 %"),
            ("Celtic Sea", "64.2", "71.8", "90.3", "+25.8 %"),
            ("Bay of Biscay", "37.5", "41.0", "48.7", "+18.8 %"),
            ("Atlantic Canada", "12.1", "19.6", "33.4", "+70.4 %"),
            ("Total", "232.2", "264.3", "325.0", "+23.0 %"),
        ),
        has_total=True,
    )
    y = subheading(page, y + 22, "Key figures")
    y = paragraphs(
        page,
        y,
        """
        Costs grew more slowly than revenue, so that the EBITDA margin rose from 28.3 to 31.2
        percent. Net debt fell for the first time since the Celtic Sea programme began.
        """,
    )
    put(page, LEFT, y + 4, "Key figures of the group", font=BOLD, size=10, colour=TEAL)
    y = table(
        page,
        y + 14,
        ("Figure", "Unit", "2022", "2023", "2024"),
        (
            ("EBITDA", "EUR million", "61.0", "74.9", "101.4"),
            ("Capital expenditure", "EUR million", "96.7", "118.2", "104.9"),
            ("Net debt", "EUR million", "412.0", "455.6", "438.2"),
            ("Employees at year end", "people", "640", "712", "803"),
            ("Dividend per share", "EUR", "0.42", "0.48", "0.60"),
        ),
        has_total=False,
    )
    put(
        page,
        LEFT,
        y,
        "Dividend for 2024 as proposed to the annual general meeting.",
        size=8.5,
        colour=GREY,
    )


def production(report: pymupdf.Document) -> None:
    page = new_page(report, "Production")
    y = heading(page, 116, "Electricity delivered")
    y = paragraphs(
        page,
        y,
        """
        Tides do not depend on the weather, but grids and maintenance do. The strongest quarter
        was the fourth, when the rebuilt substation at Pentland came back on line.
        """,
    )
    put(page, LEFT, y + 4, "Electricity delivered per quarter, GWh", font=BOLD, colour=TEAL)
    y = columns_chart(
        page,
        y + 30,
        height=184,
        top=500,
        tick=100,
        labels=("Q1", "Q2", "Q3", "Q4"),
        series=(
            ("2023 (total 1,468 GWh)", FOAM, (371, 349, 352, 396)),
            ("2024 (total 1,648 GWh)", TEAL, (412, 388, 397, 451)),
        ),
    )
    y = subheading(page, y + 24, "Installed capacity")
    put(page, LEFT, y + 2, "Installed capacity at year end, MW", font=BOLD, colour=TEAL)
    y = columns_chart(
        page,
        y + 28,
        height=140,
        top=600,
        tick=200,
        labels=("2020", "2021", "2022", "2023", "2024"),
        series=(("MW", NAVY, (310, 345, 402, 468, 536)),),
    )
    put(
        page,
        LEFT,
        y - 14,
        "Capacity counts turbines that passed acceptance before 31 December.",
        size=8.5,
        colour=GREY,
    )


def outlook(report: pymupdf.Document) -> None:
    page = new_page(report, "Outlook")
    y = heading(page, 116, "Outlook for 2025")
    y = paragraphs(
        page,
        y,
        """
        For 2025 we expect revenue between EUR 350 million and EUR 370 million and an EBITDA
        margin of at least 32 percent. Capital expenditure will rise to about EUR 140 million,
        most of it for the second phase of Fundy Narrows and for 38 Petrel turbines in the
        Celtic Sea. Installed capacity should reach 610 megawatts by the end of 2025.

        From 2026 the first floating platform, Stormglass, is to be tested off Brittany. It
        opens sites deeper than 60 metres, which our fixed foundations cannot use.
        """,
    )
    y = subheading(page, y + 8, "Risks")
    y = paragraphs(
        page,
        y,
        """
        A quarter of our turbines share one supplier of blades. A second supplier has been
        qualified and will deliver from July 2025. Interest rates matter: a rise of one
        percentage point would cost only EUR 1.3 million a year, because 71 percent of our debt
        carries a fixed rate.

        The permit for Bay of Biscay South is under review. If it were refused, EUR 12.5 million
        of development cost would have to be written off.
        """,
    )
    y = subheading(page, y + 8, "Financial calendar")
    for day, event in (
        ("14 May 2025", "Annual general meeting, Bergen"),
        ("21 May 2025", "Payment of the dividend"),
        ("21 August 2025", "Half-year report"),
        ("12 March 2026", "Annual report 2025"),
    ):
        rule(page, y - 12)
        put(page, LEFT, y + 3, day, font=BOLD, colour=NAVY)
        put(page, LEFT + 130, y + 3, event)
        y += 25
    rule(page, y - 12)
    put(
        page,
        LEFT,
        y + 14,
        "Northwind Tidal Energy is an invented company; nothing in this report is real.",
        size=8.5,
        colour=GREY,
    )


def main() -> None:
    default = Path(__file__).parents[1] / "examples" / "sample-report.pdf"
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    report = pymupdf.open()
    for draw in (year_in_brief, results, production, outlook):
        draw(report)
    report.set_metadata(
        {
            "title": f"{COMPANY}: Annual report 2024",
            "author": COMPANY,
            "producer": "",
            "creator": "",
        }
    )
    report.save(out, garbage=4, deflate=True, use_objstms=True, no_new_id=True)
    print(f"{out}: {len(report)} pages, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
