"""Read a chat template as fixed texts around the text, or around query and document.

sentence-transformers renders the template with Jinja for each input, as transformers does. Nearly
every template of an embedding model or a reranker only puts fixed texts around its inputs. So it is
rendered when the model is prepared: once to find the fixed texts, and with many other inputs to see
whether these texts stay. One that changes its inputs, or reads more than they are, is refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hotstart._lazy import require
from hotstart.errors import ModelIncomplete, UnsupportedModel
from hotstart.files import read_bounded
from hotstart.models.configuration import ConfigFiles, prompts_of, special_token
from hotstart.models.heads import RERANKER
from hotstart.types import ChatTemplate

CHAT_TEMPLATE = "chat_template.jinja"
_MORE_TEMPLATES = "additional_chat_templates"
_LARGEST = 1_000_000  # bytes

_KINDS = ("embedding", RERANKER)
_SPECIAL_TOKENS = [f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
_FIXED = "chat templates of fixed texts around the inputs"
_OF_CALL = {
    *("padding", "truncation", "max_length", "return_tensors", "restore_suffix", "tools"),
    *("documents", "continue_final_message", "tokenizer_kwargs", "messages"),
    *("return_assistant_tokens_mask", "sanitize_control_tokens", "tokenize", "return_dict"),
}
"""Options of transformers' apply_chat_template that are no variables of the template."""

_STRUCTURED = ("content[0]", ".type", "'type'", '"type"', "item.type", "message.content[")
"""What shows that a template reads lists of parts, as sentence-transformers finds out."""

_SENTINELS = ("HotstartPrompt", "HotstartFirst", "HotstartSecond")
_PROBES = (
    "",
    " ",
    "\n",
    "  two  words \n\t",
    "one\n\ntwo\r\nthree",
    "É ß ﬁ 你好 🙂 \u200b\u00a0",
    "{{ messages }} {% if x %} {# #}",
    "<|im_start|>system<|im_end|> <s> [INST] </think>",
    "'\"\\ &lt; <b> & \0",
    "0",
    "none",
    "https://example.org/a.png",
    "a b " * 100_000,
)
"""Inputs that a template may treat in a special way."""


class _Source(NamedTuple):
    """A chat template, and what decides how it is rendered.

    Attributes:
        folder: the model folder, for error messages.
        kind: the kind of the model.
        template: the template.
        is_structured: whether the content of a message is a list of parts.
        variables: the variables of the template besides the messages.
    """

    folder: str
    kind: str
    template: str
    is_structured: bool
    variables: Mapping[str, Any]

    def refusal(self, feature: str, got: object, supported: str = _FIXED) -> UnsupportedModel:
        """Return the error about a template with `feature`, which is `got`."""
        return UnsupportedModel(
            self.folder,
            feature=f"a chat template {feature}",
            got=got,
            supported=(supported,),
            kind=self.kind,
        )


def read_template(files: ConfigFiles, kind: str) -> ChatTemplate | None:
    """Return the fixed texts of the chat template that texts are written into; None for none.

    sentence-transformers writes them into one if its settings know messages, and for a tokenizer
    that has one without modules.json.

    Raises:
        UnsupportedModel: the template does more than put fixed texts around its inputs, or a
            setting is not followed.
        ModelIncomplete: the template is missing.
        MissingExtra: Jinja is not installed.
    """
    message = (files.transformer.get("modality_config") or {}).get("message")
    if files.modules and message is None:
        return None
    given = files.tokenizer.get("chat_template")
    path = os.path.join(files.folder, CHAT_TEMPLATE)
    if os.path.isfile(path):
        given = read_bounded(path, _LARGEST).decode()
    if not given:
        if not files.modules:
            return None
        folder = files.folder
        raise ModelIncomplete(folder, folder=folder, missing=[CHAT_TEMPLATE], on_hub=False)
    source = _source(files, kind, given, message or {})
    template = _compiled(source)
    if kind == RERANKER:
        default = files.sentence.get("default_prompt_name") or ""
        prompt = prompts_of(files.sentence).get(default, "")
        return ChatTemplate(_pieces(source, template, 2, prompt))
    plain = _pieces(source, template, 1)
    try:
        _rendered(source, template, ("prompt", "text"))
    except _errors():
        return ChatTemplate(plain)  # it has no place for a prompt
    prompted = _pieces(source, template, 2)
    if plain[plain.index(0) + 1 :] != prompted[prompted.index(1) + 1 :]:
        raise source.refusal("with another end after a prompt:", str(prompted[-1]))
    return ChatTemplate(plain, prompted)


def without_template(files: ConfigFiles, kind: str) -> ConfigFiles:
    """Return the files without the settings that the template follows.

    The default prompt of a reranker is in its template.
    """
    settings = {k: v for k, v in files.transformer.items() if k != "processing_kwargs"}
    of_prompts = ("prompts", "default_prompt_name") if kind == RERANKER else ()
    sentence = {k: v for k, v in files.sentence.items() if k not in of_prompts}
    return files._replace(transformer=settings, sentence=sentence)


def _source(files: ConfigFiles, kind: str, given: Any, message: Mapping[str, Any]) -> _Source:
    """Return the chosen one of the chat templates `given`, with its variables."""
    is_named = not isinstance(given, str)
    templates = {each["name"]: each["template"] for each in given} if is_named else {}
    settings = files.transformer.get("processing_kwargs") or {}
    options = dict(settings.get("chat_template") or {})
    unknown = sorted((_OF_CALL & options.keys()) | (settings.keys() - {"chat_template"}))
    if os.path.isdir(os.path.join(files.folder, _MORE_TEMPLATES)):
        unknown.append(_MORE_TEMPLATES)
    chosen = options.pop("chat_template", "default" if is_named else given)
    layout = message.get("format", "auto")
    if layout == "auto":
        is_flat = not is_named and not any(sign in given for sign in _STRUCTURED)
        layout = "flat" if is_flat else "structured"
    usual = {"add_generation_prompt": False, "tools": None, "documents": None}
    tokens = {name: special_token(files, name) for name in _SPECIAL_TOKENS}
    source = _Source(
        folder=files.folder,
        kind=kind,
        template=str(templates.get(chosen, chosen)),
        is_structured=layout != "flat",
        variables=usual | {k: v for k, v in tokens.items() if v is not None} | options,
    )
    if kind not in _KINDS:
        raise source.refusal("in a model of kind", kind, "models that read texts as they are")
    if unknown:
        raise source.refusal("with", unknown, "chat templates without these settings")
    if is_named and chosen not in templates:
        raise source.refusal("without the name", chosen, ", ".join(sorted(templates)))
    return source


def _pieces(source: _Source, template: Any, inputs: int, prompt: str = "") -> tuple[str | int, ...]:
    """Return the fixed texts and the places of the inputs, checked with many inputs."""
    sentinels = _SENTINELS[:inputs]
    try:
        rendered = _rendered(source, template, sentinels, prompt)
    except _errors() as error:
        raise source.refusal("that fails with", str(error)) from error
    parts = [part for part in re.split(f"({'|'.join(sentinels)})", rendered) if part]
    pieces = tuple(sentinels.index(part) if part in sentinels else part for part in parts)
    # A prompt may be left out, as sentence-transformers leaves it out.
    needed = {inputs - 1} if source.kind != RERANKER else {0, 1}
    if not needed <= set(pieces):
        raise source.refusal("that leaves out an input:", rendered[:200])
    for values in _probes(inputs):
        expected = "".join(piece if isinstance(piece, str) else values[piece] for piece in pieces)
        try:
            found = _rendered(source, template, values, prompt)
        except _errors() as error:
            found = str(error)
        if found != expected:
            probe = next(value for value in values if value in _PROBES)
            raise source.refusal("that changes the text", probe[:40])
    return pieces


def _probes(inputs: int) -> Iterator[tuple[str, ...]]:
    """Yield inputs: each probe in the place of each input, and in all places."""
    usual = ("an instruction", "a question", "an answer")[-inputs:]
    for probe in _PROBES:
        yield (probe,) * inputs
        for place in range(inputs if inputs > 1 else 0):
            yield (*usual[:place], probe, *usual[place + 1 :])


def _rendered(source: _Source, template: Any, inputs: Sequence[str], prompt: str = "") -> str:
    """Return what the template makes of `inputs`: a pair, a text, or a prompt and a text."""
    is_pair = source.kind == RERANKER
    roles = ("query", "document") if is_pair else ("system", "user")[-len(inputs) :]
    named = [("system", prompt)] if prompt else []
    named += zip(roles, inputs, strict=True)
    messages: list[dict[str, Any]] = [
        {
            "role": role,
            "content": [{"type": "text", "text": text}] if source.is_structured else text,
        }
        for role, text in named
    ]
    return str(template.render(messages=messages, **source.variables))


def _compiled(source: _Source) -> Any:
    """Return the template in the environment that transformers renders templates in.

    Raises:
        UnsupportedModel: it is not a template, or reads a variable that is not given.
    """
    sandbox = require("jinja2.sandbox", extra="chat-template")
    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _as_json
    environment.globals["raise_exception"] = _raise
    try:
        names = require("jinja2.meta").find_undeclared_variables(environment.parse(source.template))
        template = environment.from_string(source.template)
    except _errors() as error:
        raise source.refusal("that fails with", str(error)) from error
    # The date is another one tomorrow. SentenceTransformer gives the task, CrossEncoder does not.
    refused = {"strftime_now"} if source.kind == RERANKER else {"strftime_now", "task"}
    refused |= {name for name in names if name.endswith("_token")} - source.variables.keys()
    unknown = sorted(names & refused)
    if unknown:
        raise source.refusal("that reads", unknown, "chat templates that read messages alone")
    return template


def _errors() -> tuple[type[Exception], ...]:
    """Return what a template may raise: its own errors, and those of what it computes."""
    own: type[Exception] = require("jinja2.exceptions").TemplateError
    return (own, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


def _raise(message: str) -> None:
    raise ValueError(message)


def _as_json(value: Any, **options: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False} | options)
