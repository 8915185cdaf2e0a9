"""What stands beside figures: months, words of scale, currencies and units, and their one name."""

from __future__ import annotations

MONTHS: dict[str, int] = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar janvier enero gennaio janeiro januari",
            "february feb februar f\u00e9vrier febrero febbraio fevereiro februari",
            "march mar m\u00e4rz mars marzo mar\u00e7o maart",
            "april apr avril abril aprile",
            "may mai mayo maggio maio mei",
            "june jun juni juin junio giugno junho",
            "july jul juli juillet julio luglio julho",
            "august aug ao\u00fbt agosto augustus",
            "september sept sep septembre septiembre settembre setembro",
            "october oct oktober okt octobre octubre ottobre outubro",
            "november nov novembre noviembre novembro",
            "december dec dezember dez d\u00e9cembre diciembre dicembre dezembro",
        ),
        start=1,
    )
    for name in names.split()
}
"""English, German, French, Spanish, Italian, Portuguese, Dutch."""

SCALES: dict[str, float] = {
    "hundred": 1e2, "thousand": 1e3, "thousands": 1e3, "tausend": 1e3,
    "lakh": 1e5, "lakhs": 1e5, "lac": 1e5, "lacs": 1e5,
    "million": 1e6, "millions": 1e6, "mn": 1e6, "mln": 1e6, "mio": 1e6, "millionen": 1e6,
    "crore": 1e7, "crores": 1e7,
    "billion": 1e9, "billions": 1e9, "bn": 1e9, "mrd": 1e9, "milliarden": 1e9, "milliards": 1e9,
    "trillion": 1e12, "trillions": 1e12, "tn": 1e12, "trn": 1e12,
}  # fmt: skip

CURRENCIES: dict[str, str] = {
    "$": "$", "dollar": "$", "dollars": "$",
    "US$": "USD", "U.S.$": "USD", "USD": "USD", "US dollars": "USD", "U.S. dollars": "USD",
    "C$": "CAD", "CA$": "CAD", "CAD": "CAD", "A$": "AUD", "AU$": "AUD", "AUD": "AUD",
    "HK$": "HKD", "HKD": "HKD", "S$": "SGD", "SGD": "SGD", "NZ$": "NZD", "NZD": "NZD",
    "R$": "BRL", "BRL": "BRL", "MXN": "MXN", "ZAR": "ZAR",
    "\u20ac": "EUR", "EUR": "EUR", "euro": "EUR", "euros": "EUR", "Euro": "EUR",
    "\u00a3": "GBP", "GBP": "GBP", "pounds sterling": "GBP",
    "\u00a5": "\u00a5", "JPY": "JPY", "yen": "JPY", "CNY": "CNY", "RMB": "CNY", "yuan": "CNY",
    "\u20b9": "INR", "Rs.": "INR", "Rs": "INR", "INR": "INR", "rupees": "INR",
    "CHF": "CHF", "SEK": "SEK", "NOK": "NOK", "DKK": "DKK", "PLN": "PLN", "KRW": "KRW",
    "\u20a9": "KRW", "TRY": "TRY", "\u20ba": "TRY", "RUB": "RUB", "\u20bd": "RUB",
    "EURO": "EUR", "EUROS": "EUR", "AED": "AED", "SAR": "SAR", "QAR": "QAR", "KWD": "KWD",
    "THB": "THB", "TWD": "TWD", "IDR": "IDR", "MYR": "MYR", "PHP": "PHP", "VND": "VND",
    "CZK": "CZK", "HUF": "HUF", "ILS": "ILS",
    "\u00a2": "cent", "cents": "cent",
}  # fmt: skip
"""Signs, codes and names to what they are called here."""

_ONE_OF = {
    "$": frozenset("$ USD CAD AUD HKD SGD NZD BRL MXN".split()),
    "\u00a5": frozenset("\u00a5 JPY CNY".split()),
}

# The name first, then its other writings. Plurals in -s are made.
_UNITS = """
%: percent, per cent, pct, pct.
percentage point: percentage points, percent points, % points, %-points, pp, ppt, ppts, pps
basis point: basis points, bps, bp
x: times, \u00d7
year: years, yrs, yr
month: months
week: weeks
day: days
hour: hours, hrs, hr, h
minute: minutes, mins, min
second: seconds, secs, sec
ms: milliseconds, millisecond
kg: kilograms, kilogram, kilos, kilo, kgs
g: grams, gram
mg: milligrams, milligram
tonne: tonnes, metric tons, metric ton, mt
ton: tons
lb: lbs, pounds, pound
oz: ounces, ounce
km: kilometres, kilometers, kilometre, kilometer
m: metres, meters, metre, meter
cm: centimetres, centimeters
mm: millimetres, millimeters
\u00b5m: microns, micrometres, micrometers, \u03bcm
nm: nanometres, nanometers
mile: miles, mi
foot: feet, ft
inch: inches, in.
square foot: square feet, sq ft, sq. ft., sqft
square metre: square metres, square meters, square meter, sq m, m2, m\u00b2
km2: km\u00b2, square kilometres, square kilometers
hectare: hectares, ha
acre: acres
litre: litres, liters, liter, L, l
ml: millilitres, milliliters, mL
gallon: gallons, gal
barrel: barrels, bbl, bbls
boe: BOE, barrels of oil equivalent
m3: m\u00b3, cubic metres, cubic meters
W: watts, watt
kW: kilowatts
MW: megawatts, megawatt
GW: gigawatts
Wh:
kWh: kilowatt hours, kilowatt-hours
MWh: megawatt hours, megawatt-hours
GWh: gigawatt hours, gigawatt-hours
TWh: terawatt hours, terawatt-hours
V: volts, volt
A: amps, amperes
Hz:
kHz:
MHz:
GHz:
J: joules
kJ:
MJ:
GJ:
kcal: calories
Pa:
kPa:
MPa:
bar:
\u00b0C: \u00b0 C, \u2103, degrees Celsius
\u00b0F: \u00b0 F, degrees Fahrenheit
\u00b0: degrees, degree
KB: kilobytes, kB
MB: megabytes, megabyte
GB: gigabytes, gigabyte
TB: terabytes, terabyte
page: pages
share: shares
employee: employees
person: people, persons
customer: customers
store: stores
unit: units
point: points, pts
""".replace("\u00b0 C", "\u00b0 C")


def _other_writings() -> dict[str, str]:
    writings = {}
    for line in _UNITS.strip().splitlines():
        name, others = line.split(":")
        for writing in (name, *others.split(",")):
            if writing.strip():
                writings[writing.strip()] = name.strip()
    return writings


UNITS = _other_writings()
"""Writings of units to what they are called here; letters alone keep their case."""


def unit_of(writing: str) -> str:
    """What a unit is called here."""
    return UNITS[writing]


def are_one_currency(first: str, second: str) -> bool:
    """Whether two of `CURRENCIES`' names may be the same money: "$" is any dollar."""
    return (
        first == second
        or second in _ONE_OF.get(first, frozenset())
        or first in _ONE_OF.get(second, frozenset())
    )
