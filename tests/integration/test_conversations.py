"""Conversations through the service: read with what was said, kept with citations, one's own."""

from contextlib import closing

import pytest

from rag.apps.connection import Connection
from rag.apps.service import Service
from rag.errors import InputError, NotFound
from rag.manifest.conversations import Conversations
from rag.settings import load_settings
from rag.testing.pdfs import make_pdf
from rag.types import Principal
from rag.wiring import Engine

PAGES = [
    "The north harbour earned 1,204 euros in 2021.",
    "The north harbour earned 1,377 euros in 2022.",
    "The lighthouse keeper is Ada Brown.",
]


@pytest.fixture(name="settings", scope="module")
def _settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conversations")
    (folder / "harbour.pdf").write_bytes(make_pdf(PAGES))
    settings = load_settings(overrides={"store": {"data_dir": folder / "data"}}, environ={})
    with Connection(settings, command="test") as connection:
        connection.ingest([folder / "harbour.pdf"], readers=["*"])
    return settings


def test_a_follow_up_is_read_with_what_was_said_and_both_are_kept(settings):
    with Connection(settings, command="test") as connection:
        first = connection.chat("What did the north harbour earn in 2021?")
        held = first["conversation_id"]
        second = connection.chat("and in 2022?", conversation=held)
    assert (first["turn"], second["turn"]) == (1, 2)
    assert second["conversation_id"] == held
    assert second["searched_for"] == "What did the north harbour earn in 2022?"
    with Connection(settings, command="test") as connection:  # kept on disk
        kept = connection.conversation(held)
    assert kept["title"] == "What did the north harbour earn in 2021?"
    assert [each["question"] for each in kept["exchanges"]] == [
        "What did the north harbour earn in 2021?",
        "and in 2022?",
    ]
    assert kept["exchanges"][0]["citations"] == first["citations"] != []
    assert kept["exchanges"][0]["citations"][0]["boxes"]


def test_a_conversation_stays_in_the_collection_it_began_in(settings):
    with Connection(settings, command="test") as connection:
        held = connection.chat("Who keeps the lighthouse?")["conversation_id"]
        with pytest.raises(InputError, match="about the collection 'default'") as refused:
            connection.chat("Who is Ada Brown?", conversation=held, collection="elsewhere")
        assert refused.value.code == "other_collection"
        assert connection.chat("Who is Ada Brown?", conversation=held)["pages"]


def test_what_is_kept_of_a_question_is_its_words(settings):
    with Connection(settings, command="test") as connection:
        asked = connection.chat("Who keeps the \x1b[31mlighthous\udce9\x1b[0m?")
        kept = connection.conversation(asked["conversation_id"])
    assert asked["question"] == "Who keeps the lighthous??"
    assert kept["title"] == kept["exchanges"][0]["question"] == asked["question"]


def test_a_conversation_that_is_deleted_meanwhile_is_not_there_to_be_added_to(settings):
    with Connection(settings, command="test") as connection:
        held = connection.chat("Who keeps the lighthouse?")["conversation_id"]

        def delete(event):
            if event["event"] == "search_results":
                connection.delete_conversation(held)

        with pytest.raises(NotFound):
            connection.chat("Who is Ada Brown?", conversation=held, on_event=delete)
        with pytest.raises(NotFound):
            connection.conversation(held)


def test_a_long_conversation_is_read_from_its_last_turns(settings, monkeypatch):
    read = []
    real_ask = Service.ask

    def ask(self, **options):
        read.append(options["history"])
        return real_ask(self, **options)

    monkeypatch.setattr(Service, "ask", ask)
    monkeypatch.setattr("rag.apps.service._TURNS_READ", 1)
    with Connection(settings, command="test") as connection:
        held = None
        for question in ("Who keeps the lighthouse?", "Who is Ada Brown?", "And the harbour?"):
            held = connection.chat(question, conversation=held)["conversation_id"]
    assert [[turn[0] for turn in turns] for turns in read] == [
        [],
        ["Who keeps the lighthouse?"],
        ["Who is Ada Brown?"],
    ]


def test_conversations_are_named_last_first_and_forgotten_with_their_exchanges(settings):
    with Connection(settings, command="test") as connection:
        older = connection.chat("Who keeps the lighthouse?")["conversation_id"]
        newer = connection.chat("Who is Ada Brown?")["conversation_id"]
        connection.chat("And the harbour?", conversation=older)
        ids = [each["conversation_id"] for each in connection.conversations()["conversations"]]
        assert ids[:2] == [older, newer]
        connection.delete_conversation(older)
        with pytest.raises(NotFound):
            connection.conversation(older)
        with pytest.raises(NotFound):
            connection.chat("More?", conversation=older)
        assert connection.conversation(newer)["turns"] == 1


def test_nothing_of_a_deleted_conversation_is_left(tmp_path):
    with closing(Conversations.in_folder(tmp_path)) as held:
        gone, kept = (held.begin("ann", "default", "Who keeps the lighthouse?") for _ in range(2))
        for each in (gone, kept):
            held.add(each, "Who keeps the lighthouse?", {"answer": "Ada Brown."})
        held.delete(gone)
        assert (held.exchanges(gone), len(held.exchanges(kept))) == ([], 1)
        assert held.add(gone, "More?", {}) is None


def test_nobody_sees_the_conversations_of_another(settings):
    with Engine(settings) as engine:
        ann, bob = (Service(engine, Principal(name)) for name in ("ann", "bob"))
        held = ann.chat(question="Who keeps the lighthouse?", collection="default")
        named = held["conversation_id"]
        assert [each["conversation_id"] for each in ann.conversations()["conversations"]] == [named]
        assert bob.conversations() == {"conversations": []}
        for refused in (
            lambda: bob.conversation(conversation=named),
            lambda: bob.delete_conversation(conversation=named),
            lambda: bob.chat(question="More?", collection="default", conversation=named),
            lambda: engine.conversations(Principal("bob")).exchanges(named),
            lambda: engine.conversations(Principal("bob")).add(named, "More?", {}),
        ):
            with pytest.raises(NotFound) as theirs:
                refused()
            with pytest.raises(NotFound) as nobodys:
                bob.conversation(conversation="0" * 16)
            assert theirs.value.code == nobodys.value.code == "unknown_conversation"
        assert ann.conversation(conversation=named)["turns"] == 1


def test_who_deletes_a_document_is_told_which_conversations_quote_it(settings, tmp_path):
    (tmp_path / "keepers.pdf").write_bytes(make_pdf(["The keeper of the mill is Tom Reed."]))
    with Connection(settings, command="test") as connection:
        connection.ingest([tmp_path / "keepers.pdf"], collection="mills")
        asked = connection.chat("Who is the keeper of the mill?", collection="mills")
        assert asked["citations"]
        (deleted,) = connection.delete(["keepers.pdf"], collection="mills")["deleted"]
    assert deleted["quoted_in_conversations"] == [asked["conversation_id"]]
