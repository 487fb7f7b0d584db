"""The conversation as a Telegram bot: updates in, messages out; nothing is decided here."""

from __future__ import annotations

import asyncio
import logging

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import PRODUCTION, TelegramAPIServer
from aiogram.exceptions import TelegramRetryAfter
from aiogram.types import Message

from examples.interview_bot.interviewer import Interviewer

SENDINGS = 3
"""Times a message is sent while Telegram asks for slower sending."""

_log = logging.getLogger(__name__)


async def serve(interviewer: Interviewer, token: str, api: str | None = None) -> None:
    """Answer everybody who writes to the bot, until SIGINT or SIGTERM.

    Args:
        interviewer: what answers.
        token: the bot's token.
        api: address of another Bot API server than Telegram's own.

    Raises:
        aiogram.utils.token.TokenValidationError: that is no token.
        aiogram.exceptions.TelegramAPIError: the server can't be reached or refuses the token.
    """
    server = PRODUCTION if api is None else TelegramAPIServer.from_base(api)
    dispatcher = Dispatcher()

    # In a group several people would share one conversation.
    @dispatcher.message(F.chat.type == "private")
    async def hear(message: Message) -> None:
        # Pictures and the like have no text: an empty answer.
        reply = await interviewer.hear(message.chat.id, message.text or "")
        for text in reply.messages:
            await _send(message, text)

    async with Bot(token, session=AiohttpSession(api=server)) as bot:
        interviewer.prepare()
        await bot.delete_webhook()  # with one set, Telegram refuses to be polled
        await dispatcher.start_polling(bot, close_bot_session=False)


async def _send(message: Message, text: str) -> None:
    """Send `text`, at the pace that Telegram demands."""
    for _ in range(SENDINGS - 1):
        try:
            await message.answer(text)
        except TelegramRetryAfter as refusal:
            _log.info("chat %s: sending again in %s s", message.chat.id, refusal.retry_after)
            await asyncio.sleep(refusal.retry_after)
        else:
            return
    await message.answer(text)
