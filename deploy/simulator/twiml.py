"""What a bot's answer to a webhook makes Twilio send: shown, so that a careless "OK" is seen as the message it is."""

import xml.etree.ElementTree as ET


def replies_in(content_type: str, body: bytes) -> list[str]:
    """Returns the texts that the person would get.

    Source: Twilio docs on TwiML as of 2026-11: `text/plain` is sent as it stands; XML and HTML are read as TwiML.
    """
    text = body.decode("utf-8", errors="replace").strip()
    if not text:
        return []
    if content_type.partition(";")[0].strip().lower() == "text/plain":
        return [text]
    try:
        root = ET.fromstring(text)  # noqa: S314 - the bot's own answer, at most 64 kB, and expat bounds expansion
    except ET.ParseError:
        return []  # Twilio would log 12100 and send nothing
    if root.tag != "Response":
        return []
    found = [((m.findtext("Body") or m.text) or "").strip() for m in root.iter("Message")]
    return [each for each in found if each]
