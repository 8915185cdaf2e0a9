"""Which engine reads pixels here, and how to get one where there is none.

Installed is what can be found, not what imports: imports are left to the reading processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rag.errors import ConfigError
from rag.ocr import rapid, tesseract
from rag.ports import OcrEngine

HOW_TO_GET = {
    "tesseract": "Install the package tesseract-ocr of your system (macOS: brew install "
    "tesseract).",
    "rapidocr": "pip install 'octavo[ocr]'.",
}
ENGINES = tuple(HOW_TO_GET)  # the one that auto prefers first


@dataclass(frozen=True)
class ChosenEngine:
    """An engine that is installed, and what it is to read."""

    name: str
    languages: tuple[str, ...]


def is_installed(name: str) -> bool:
    if name == "rapidocr":
        return rapid.is_installed()
    return bool(tesseract.installed_languages()) and (
        tesseract.has_library() or tesseract.program() is not None
    )


def installed_engines() -> list[str]:
    """In the order of `auto`."""
    return [name for name in ENGINES if is_installed(name)]


def choose_engine(name: str, languages: Sequence[str]) -> ChosenEngine | None:
    """The engine called `name`; `auto` is the first that is installed, None where none is.

    Raises:
        ConfigError: `ocr_missing`, the engine asked for is not installed; `ocr_language_missing`,
            it cannot read one of the languages; a name that is no engine's.
    """
    if name == "auto":
        found = installed_engines()
        if not found:
            return None
        name = found[0]
    elif name not in ENGINES:
        raise ConfigError(
            f"there is no OCR engine {name!r}",
            next_step=f"Set ocr.engine to auto, {' or '.join(ENGINES)}.",
        )
    elif not is_installed(name):
        raise ConfigError(
            f"OCR engine {name!r} is not installed",
            code="ocr_missing",
            next_step=f"{HOW_TO_GET[name]} Or set ocr.engine to auto, or ocr.mode to off.",
        )
    _require_languages(name, languages)
    return ChosenEngine(name, tuple(languages))


def load_engine(chosen: ChosenEngine) -> OcrEngine:
    """Raises BackendError `ocr_failed` where it cannot be loaded."""
    if chosen.name == "rapidocr":
        return rapid.RapidEngine()
    return tesseract.TesseractEngine(chosen.languages)


def describe_engine(chosen: ChosenEngine) -> str:
    """Its version and what it can read, for people."""
    if chosen.name == "rapidocr":
        return f"{rapid.describe()}; reads {', '.join(chosen.languages)} and others"
    known = ", ".join(tesseract.installed_languages(chosen.languages))
    return f"{tesseract.describe()}; languages here: {known}; reads {', '.join(chosen.languages)}"


def how_to_get_one() -> str:
    """For whoever has no engine at all."""
    return f"{HOW_TO_GET['tesseract']} Or {HOW_TO_GET['rapidocr']}"


def _require_languages(name: str, languages: Sequence[str]) -> None:
    known = (
        sorted(rapid.LANGUAGES) if name == "rapidocr" else tesseract.installed_languages(languages)
    )
    missing = [language for language in languages if language not in known]
    if not missing:
        return
    if name == "rapidocr":
        next_step = "Install Tesseract, which reads them, or take them out of ocr.languages."
    else:
        packages = " ".join(
            f"tesseract-ocr-{language.replace('_', '-').lower()}" for language in missing
        )
        next_step = (
            f"Install {packages} (Debian, Ubuntu; macOS: tesseract-lang), or take them out of "
            "ocr.languages."
        )
    raise ConfigError(
        f"{name} cannot read {', '.join(missing)} here; it can read {', '.join(known)}",
        code="ocr_language_missing",
        next_step=next_step,
    )
