"""Chat templates: the text around a dialogue in a conversation with a model, and the token that ends a reply.

A template is a Jinja program that comes with the tokenizer. It is rendered once, when a member is trained, and the
result is saved: some templates write the day's date, and a model must be served with the prompt of its training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from yoyak.errors import UserError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DIALOGUE, REPLY = "\ue000dialogue\ue000", "\ue000reply\ue000"
"""Stand for the texts while a template is rendered; private-use characters, which no template contains."""


def render_prompt(
    tokenizer: PreTrainedTokenizerBase, before: str, after: str, system: str | None, variables: Mapping[str, Any]
) -> tuple[str, str]:
    """Return what precedes and follows a dialogue when the model is asked to reply to it, special tokens included.

    Args:
        before: Text before the dialogue in the user's message, as ``after`` is after it.
        system: The system message; None means the template's own, if it has one.
        variables: Passed to the template, such as Qwen3's ``enable_thinking``. Templates ignore those that they do not
            know.

    Raises UserError if the tokenizer has no template, or one that fails or changes the user's message.
    """
    head, found, tail = _render(tokenizer, before, after, system, variables).partition(DIALOGUE)
    if not found or DIALOGUE in tail:
        raise UserError("its chat template does not show the user's message once, as it is: use chat: false.")
    return head, tail


def end_of_reply(
    tokenizer: PreTrainedTokenizerBase, before: str, after: str, system: str | None, variables: Mapping[str, Any]
) -> str | None:
    """Return the special token with which the template ends a reply; None if it ends replies without one."""
    text = _render(tokenizer, before, after, system, variables, reply=REPLY)
    rest = text.rpartition(REPLY)[2].lstrip()
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return max((token for token in special if rest.startswith(token)), key=len, default=None)


def template_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a digest of the template that is rendered; line ends do not count, since saving changes them."""
    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    return hashlib.sha256("\n".join(template.splitlines()).encode()).hexdigest()


def escape_special_tokens(tokenizer: PreTrainedTokenizerBase, dialogue: str) -> str:
    """Return the dialogue with special tokens spelled so that they are ordinary text.

    Otherwise a dialogue that contains, say, ``<|im_end|>`` would end the user's message and could go on with its own.
    """
    for token in tokenizer.added_tokens_decoder.values():
        if token.special and token.content in dialogue:
            dialogue = dialogue.replace(token.content, f"{token.content[0]} {token.content[1:]}")
    return dialogue


def _render(
    tokenizer: PreTrainedTokenizerBase,
    before: str,
    after: str,
    system: str | None,
    variables: Mapping[str, Any],
    reply: str | None = None,
) -> str:
    if not tokenizer.chat_template:
        raise UserError("its tokenizer has no chat template: use chat: false, with a prefix and a separator.")
    messages = [{"role": "user", "content": f"{before}{DIALOGUE}{after}"}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    if reply is not None:
        messages.append({"role": "assistant", "content": reply})
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=reply is None, **variables)
    except Exception as error:  # Templates are programs: Jinja's errors, and those that they raise themselves.
        raise UserError(f"its chat template fails: {first_line(error)}") from error
    return str(text)
