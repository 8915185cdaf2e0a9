"""The contract of chat models over the local one, on tiny checkpoints that say what is wanted."""

import re
from functools import cache

import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from rag.encoders.torchvision_guard import ensure_torchvision

ensure_torchvision()
import torch
from chat_contract import IMAGE, LAWS

from rag.local_chat import model as local_model
from rag.local_chat.prompt import prompt_of
from rag.settings import ChatSettings
from rag.testing import tiny_tokenizers
from rag.testing.tiny_chat import make_chat
from rag.wiring import load_chat

ENDLESS = 20_000  # tokens; a hundred seconds here
_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)
_VISION = re.compile(r"<\|vision_start\|>.*?<\|vision_end\|>", re.DOTALL)


class LocalChats:
    counts = True

    def __init__(self, family, made, monkeypatch):
        self._family, self._made = family, made
        self._asked = []

        def watched(loaded, messages):
            prompt = prompt_of(loaded, messages)
            self._asked.append(loaded.tokenizer.decode(prompt.inputs["input_ids"][0]))
            return prompt

        monkeypatch.setattr(local_model, "prompt_of", watched)

    def saying(self, *pieces):
        return self._chat(*pieces)

    def answering(self):
        return self._chat()

    def endless(self):
        return self._without_end(self._chat("on ", max_tokens=ENDLESS))

    def silent(self):
        """It thinks."""
        template = tiny_tokenizers.QWEN3_TEMPLATE + "{{ '<think>\\n' }}"
        if self._family == "Qwen2":
            template = tiny_tokenizers.QWEN2_TEMPLATE + "{{ '<think>\\n' }}"
        return self._without_end(self._chat("so ", template=template, max_tokens=ENDLESS))

    def refusing(self, key):
        return None

    @property
    def n_asked(self):
        return len(self._asked)

    def told(self):
        return [
            (role, [IMAGE if part == "\0" else part for part in re.split("(\0)", said) if part])
            for role, said in _TURN.findall(_VISION.sub("\0", self._asked[-1]))
        ]

    def _chat(self, *says, template=None, **settings):
        folder = self._made(self._family, says, template)
        given = {"provider": "local", "model": str(folder), "device": "cpu", **settings}
        return load_chat(ChatSettings(**given))

    def _without_end(self, chat):
        """Its one word is followed by itself."""
        model = chat._loaded.model
        with torch.no_grad():
            inward, outward = (
                model.get_input_embeddings().weight,
                model.get_output_embeddings().weight,
            )
            last = len(chat._loaded.tokenizer) - 1  # the piece was added after all others
            outward[[*chat._loaded.ends]] = 0
            outward[last] += 10 * inward[last]
        return chat


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
    """Of a family, what it says and a template, the folder of its checkpoint."""

    @cache
    def make(family, says, template):
        folder = make_chat(family, tmp_path_factory.mktemp("chat") / "model", says=says)
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        return folder

    return make


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("family", ["Qwen3VL", "Qwen2"])
def test_the_local_chat_model_keeps_the_contract(family, law, made, monkeypatch):
    law(LocalChats(family, made, monkeypatch))
