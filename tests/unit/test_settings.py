"""Settings from a file, the environment and flags, and what is said of those that are wrong."""

from pathlib import Path

import pytest

from rag.errors import ConfigError
from rag.settings import Settings, load_settings


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
    assert "setting retrieval: " in refused(file).message


def test_the_variable_that_chooses_the_kernels_is_no_setting():
    assert load_settings(environ={"OCTAVO_NATIVE": "off"}) == load_settings(environ={})
