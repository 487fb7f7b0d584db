"""Chat templates that are fixed texts around their inputs, and those that are refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from hotstart import Reranker
from hotstart.errors import InvalidInput, MissingExtra, ModelIncomplete, UnsupportedModel
from hotstart.models.chat_template import read_template
from hotstart.models.configuration import ConfigFiles
from hotstart.models.description import describe
from hotstart.pool.pool import Pool
from hotstart.types import ChatTemplate, TaskText
from support.golden import RERANKERS

CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}"
QUERY = "(messages | selectattr('role', 'eq', 'query') | first).content"
DOCUMENT = "(messages | selectattr('role', 'eq', 'document') | first).content"

PARTS = "{{ messages[0].content[0].text }}-{{ messages[1].content[0].text }}"


def read(
    template: Any, kind: str = "reranker", prompt: str = "", folder: str = "", **settings: Any
) -> ChatTemplate:
    files = ConfigFiles(
        folder=folder,
        config={},
        sentence={"prompts": {"usual": prompt}, "default_prompt_name": "usual"},
        tokenizer={"chat_template": template, "bos_token": "<s>"},
        transformer=settings,
    )
    found = read_template(files, kind)
    assert found is not None
    return found


def test_a_pair_is_a_message_of_each_role() -> None:
    template = read(CHAT + "{% if add_generation_prompt %}!{% endif %}")
    assert template.plain == ("<query>", 0, "</><document>", 1, "</>")
    assert template.render(("what?", "this")) == "<query>what?</><document>this</>"


def test_the_default_prompt_of_a_reranker_is_the_system_message() -> None:
    assert read(CHAT, prompt="judge").plain[0] == "<system>judge</><query>"


def test_a_text_may_stand_anywhere_and_often() -> None:
    template = read(f"{{{{ {DOCUMENT} }}}}|{{{{ {QUERY} }}}}|{{{{ {DOCUMENT} }}}}")
    assert template.render(("q", "d")) == "d|q|d"


@pytest.mark.parametrize(
    ("template", "settings"),
    [
        ("{{ bos_token }}" + PARTS, {}),
        (
            "{{ bos_token }}{{ messages[0]['content'] }}-{{ messages[1]['content'] }}",
            {"modality_config": {"message": {"format": "flat"}}},
        ),
        (
            "{{ messages[0].content }}{% if add_generation_prompt %}-{{ messages[1].content }}"
            "{% endif %}",
            {"processing_kwargs": {"chat_template": {"add_generation_prompt": True}}},
        ),
        (
            [
                {"name": "default", "template": "x"},
                {"name": "rank", "template": PARTS},
            ],
            {"processing_kwargs": {"chat_template": {"chat_template": "rank"}}},
        ),
    ],
    ids=["parts", "flat", "variable", "named"],
)
def test_settings_decide_how_it_is_rendered(template: Any, settings: dict[str, Any]) -> None:
    assert read(template, **settings).render(("q", "d")).removeprefix("<s>") == "q-d"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (CHAT.replace("m['content']", "m['content'] | trim"), "changes the text ' '"),
        (CHAT.replace("m['content']", "m['content'][:1000]"), "changes the text 'a b a b"),
        (CHAT.replace("m['content']", "m['content'] or 'nothing'"), "changes the text ''"),
        (f"{{{{ {QUERY} }}}}", "leaves out an input"),
        ("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
         "leaves out an input"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ strftime_now('%Y') }}" + CHAT, "strftime_now"),
        ("{{ eos_token }}" + CHAT, "eos_token"),
        ("{% for m in messages %}", "end of template"),
        ("{{ ''.__class__.__mro__ }}" + CHAT, "unsafe"),
    ],
)  # fmt: skip
def test_a_template_that_does_more_is_refused(template: str, message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        read(template)


def test_settings_that_are_not_followed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="max_length"):
        read(CHAT, processing_kwargs={"chat_template": {"max_length": 3}})
    with pytest.raises(UnsupportedModel, match=r"\['text'\]"):
        read(CHAT, processing_kwargs={"text": {"max_length": 3}})
    with pytest.raises(UnsupportedModel, match="read texts as they are"):
        read(CHAT, kind="sparse")
    with pytest.raises(UnsupportedModel, match="without the name 'default'"):
        read([{"name": "rank", "template": CHAT}])
    (tmp_path / "additional_chat_templates").mkdir()
    with pytest.raises(UnsupportedModel, match="additional_chat_templates"):
        read(CHAT, folder=str(tmp_path))


def test_a_text_of_an_embedding_model_has_the_prompt_as_system_message() -> None:
    template = read(CHAT, kind="embedding")
    assert template.render("text") == "<user>text</>"
    assert template.render(TaskText("text", "find")) == "<system>find</><user>text</>"
    strict = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    with pytest.raises(InvalidInput, match="prompt must be none"):
        read(strict + CHAT, kind="embedding").render(TaskText("text", "find"))
    with pytest.raises(UnsupportedModel, match="task"):
        read("{{ task }}" + CHAT, kind="embedding")
    with pytest.raises(UnsupportedModel, match="another end"):
        read(CHAT + "{{ messages | length }}", kind="embedding")


def test_jinja_is_in_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith("jinja2.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"hotstart\[chat-template\]"):
        read(CHAT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RERANKERS / "qwen3-chat-modern" / "model", tmp_path / "model"))


def test_a_description_follows_the_template_of_its_folder(folder: Path) -> None:
    model = describe(str(folder), "m", "reranker")
    assert model.tokens is not None
    assert model.tokens.template is not None
    written = model.tokens.template.render(("q", "d"))
    assert "Given a web search query, retrieve relevant passages\n<Query>: q\n" in written
    assert (model.prompts, model.default_prompt_name, model.adds_special) == ({}, None, False)


def test_without_a_message_among_its_settings_texts_are_read_as_they_are(folder: Path) -> None:
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    del settings["modality_config"]["message"]
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    model = describe(str(folder), "m", "reranker")
    assert (model.tokens, model.adds_special) == (None, True)


def test_messages_without_a_template_are_incomplete(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelIncomplete, match=r"chat_template\.jinja"):
        describe(str(folder), "m", "reranker")


def test_another_template_is_another_model(folder: Path) -> None:
    pair = ("what?", "this")
    reranker = Reranker(folder, pool=Pool())
    before = reranker.predict(pair)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("Answer yes or no.", "Judge."))
    assert abs(Reranker(folder, pool=Pool()).predict(pair) - before) > 1e-6


def test_a_text_that_is_cut_keeps_the_end_of_its_template(folder: Path) -> None:
    template = folder / "chat_template.jinja"
    pair = ("what?", "the cat sat on the mat " * 50)
    scores = {}
    for end in ("yes", "no"):
        template.write_text(f"{{{{ {QUERY} }}}}: {{{{ {DOCUMENT} }}}} {end} " * 2)
        scores[end] = Reranker(folder, pool=Pool()).predict(pair)
        other = (pair[0], pair[1] + "and slept")
        assert Reranker(folder, pool=Pool()).predict(other) == pytest.approx(scores[end], abs=1e-6)
    assert abs(scores["yes"] - scores["no"]) > 1e-3
