"""Twilio and OpenAI on the wire, simulated: what the bot talks to when there is no account and no key.

Built on aiohttp, server and client. It comes with the twilio package, so it is no new dependency; and asyncio, because
hundreds of hanging LLM calls, cut connections and later server-sent events must cost next to nothing here. The
simulator speaks HTTP only and imports nothing of core, webhook or worker: what it proves holds on the real wire.
"""
