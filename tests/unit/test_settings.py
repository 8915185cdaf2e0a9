"""Settings from a file, the environment and flags, and what is said of those that are wrong."""

from pathlib import Path

import pytest
import typer

from rag.apps.cli.flags import Common
from rag.errors import ConfigError
from rag.settings import Settings, changed_settings, dotted, load_settings, nested


def refused(file: Path | None = None, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_settings(file, environ=environ)
    return caught.value


def test_without_anything_there_are_the_defaults():
    assert load_settings(environ={}) == Settings()


def test_two_underscores_lead_one_level_down():
    settings = load_settings(
        environ={
            "OCTAVO_ENCODER__THREADS": "9",
            "OCTAVO_RETRIEVAL__WEIGHTS__HEADING_WORDS": "2",
            "OCTAVO_RETRIEVAL__TOP_K": "7",
        }
    )
    assert settings.encoder.threads == 9
    assert settings.retrieval.weights.heading_words == 2
    assert settings.retrieval.weights.words == 1
    assert settings.retrieval.top_k == 7


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("OCTAVO_ENCODER_THREADS", "OCTAVO_ENCODER__THREADS"),
        ("OCTAVO_RETRIEVAL__TOPK", "OCTAVO_RETRIEVAL__TOP_K"),
        ("OCTAVO_RETRIEVAL__WEIGHTS_WORDS", "OCTAVO_RETRIEVAL__WEIGHTS__WORDS"),
        ("OCTAVO_retrieval__top_k", "OCTAVO_RETRIEVAL__TOP_K"),
    ],
)
def test_a_name_that_is_no_setting_is_refused_with_the_nearest(name, nearest):
    error = refused(**{name: "9"})
    assert name in error.message
    assert nearest in error.next_step


def test_names_of_other_things_are_left_alone():
    others = {"OCTAVO_TRACEBACK": "1", "OCTAVO": "x", "MY_OCTAVO_THING": "y", "PATH": "/bin"}
    assert load_settings(environ=others) == Settings()


def test_the_short_names_reach_their_settings():
    settings = load_settings(
        environ={"OCTAVO_DATA_DIR": "there", "QDRANT_URL": "http://q:1", "QDRANT_API_KEY": "k"}
    )
    assert settings.store.data_dir == Path("there")
    assert settings.store.qdrant_url == "http://q:1"
    assert settings.store.qdrant_api_key.get_secret_value() == "k"


def test_a_value_out_of_bounds_is_named_with_its_meaning_bounds_and_default():
    message = refused(OCTAVO_RETRIEVAL__TOP_K="500").message
    assert message.startswith("setting retrieval.top_k: ")
    assert message.endswith("Pages that come back. At least 1, at most 50; default 5.")
    assert "auto" in refused(OCTAVO_RENDER__RENDERER="acrobat").message


def test_a_key_of_a_file_that_is_no_setting_is_refused_with_the_nearest(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[retrieval]\ntopk = 3\n")
    error = refused(file)
    assert "retrieval.topk" in error.message
    assert error.next_step == "Did you mean retrieval.top_k?"
    file.write_text("retrieval = 3\n")
    assert "retrieval is a section" in refused(file).message


def test_the_variable_that_chooses_the_kernels_is_no_setting():
    assert load_settings(environ={"OCTAVO_NATIVE": "off"}) == load_settings(environ={})


# --- settings by their dotted names -------------------------------------------------------------
def test_dotted_names_and_sections_say_the_same():
    sections = {"retrieval": {"fusion": "rrf", "weights": {"words": 2}}, "ocr": {"mode": "off"}}
    flat = {"retrieval.fusion": "rrf", "retrieval.weights.words": 2, "ocr.mode": "off"}
    assert dotted(sections) == flat
    assert nested(flat) == sections


def test_a_dotted_name_that_is_no_setting_gives_the_nearest():
    with pytest.raises(ConfigError, match=r"no setting retreival\.fusion") as caught:
        nested({"retreival.fusion": "rrf"})
    assert caught.value.next_step == "Did you mean retrieval.fusion?"


def test_a_section_is_no_setting():
    with pytest.raises(ConfigError, match="retrieval is a section of settings"):
        nested({"retrieval": "rrf"})


def test_a_secret_is_not_for_flags():
    with pytest.raises(ConfigError, match="secret") as caught:
        nested({"chat.api_key": "sesame"})
    assert "OCTAVO_CHAT__API_KEY" in caught.value.next_step


def test_changed_settings_remember_what_was_set_before_and_now():
    base = load_settings(overrides={"retrieval": {"weights": {"words": 2}}}, environ={})
    changed = changed_settings(base, {"retrieval": {"weights": {"dense": "3"}}})
    assert changed.retrieval.weights.words == 2
    assert changed.retrieval.weights.dense == 3
    assert changed.retrieval.weights.model_fields_set == {"words", "dense"}
    with pytest.raises(ConfigError, match=r"retrieval\.top_k"):
        changed_settings(base, {"retrieval": {"top_k": "many"}})


# --- flags --------------------------------------------------------------------------------------
def test_any_setting_can_be_set_by_a_flag(monkeypatch):
    monkeypatch.delenv("OCTAVO_RETRIEVAL__TOP_K", raising=False)
    common = Common(
        sets=[
            "retrieval.fusion=rrf",
            "retrieval.weights.words = 0.5",
            'ocr.languages=["eng", "deu"]',
            "retrieval.wording.variants=false",
            "encoder.model=null",
            "chat.url=http://x/v1?a=b",
        ]
    )
    settings = common.settings()
    assert settings.retrieval.fusion == "rrf"
    assert settings.retrieval.weights.words == 0.5
    assert settings.retrieval.wording.variants is False
    assert settings.ocr.languages == ("eng", "deu")
    assert settings.encoder.model is None
    assert settings.chat.url == "http://x/v1?a=b"


def test_a_flag_of_its_own_goes_before_a_setting():
    common = Common(sets=["store.data_dir=there", "encoder.name=dense"], data_dir=Path("here"))
    assert common.settings().store.data_dir == Path("here")
    assert common.settings().encoder.name == "dense"


@pytest.mark.parametrize("text", ["retrieval.fusion", "=rrf", "  =x", "ocr.languages=[eng"])
def test_a_flag_that_does_not_read_is_refused(text):
    with pytest.raises(typer.BadParameter):
        Common(sets=[text]).settings()


def test_a_setting_given_twice_is_refused():
    with pytest.raises(typer.BadParameter, match="given twice"):
        Common(sets=["retrieval.fusion=rrf", "retrieval.fusion=ucmr"]).settings()


def _numbers() -> list[str]:
    """Every setting that may be a number with decimals."""
    flat = dotted(Settings().model_dump())
    return sorted(name for name, value in flat.items() if isinstance(value, float))


@pytest.mark.parametrize("name", _numbers())
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e308", "1e400"])
def test_a_number_without_measure_is_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        load_settings(overrides=nested({name: value}), environ={})


@pytest.mark.parametrize("name", ["temperature", "learning_rate"])
def test_what_is_divided_by_or_stepped_with_is_not_all_but_zero(name):
    with pytest.raises(ConfigError, match=name):
        load_settings(overrides=nested({f"retrieval.refine.{name}": "1e-320"}), environ={})


def test_no_more_pages_can_be_asked_for_than_stores_can_count():
    flat = dotted(Settings().retrieval.model_dump())
    for name in (name for name, value in flat.items() if type(value) is int):
        with pytest.raises(ConfigError, match=name):
            load_settings(overrides=nested({f"retrieval.{name}": 10**19}), environ={})


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 5000, "[retrieval", "x = " + "9" * 5000], ids=["deep", "open", "long"]
)
def test_a_settings_file_that_is_no_toml_is_told_with_what_to_do(tmp_path, text):
    file = tmp_path / "octavo.toml"
    file.write_text(text)
    error = refused(file)
    assert "octavo.toml is not readable TOML" in error.message
    assert error.next_step


def test_a_folder_is_no_settings_file(tmp_path):
    error = refused(tmp_path)
    assert tmp_path.name in error.message
    assert str(tmp_path) not in error.message
    assert "TOML file" in error.next_step
