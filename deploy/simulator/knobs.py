"""The catalogue of what can be made to go wrong, for the phone page and for tests: each knob is an HTTP call."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from deploy.simulator.faults import Document, Section

Group = Literal["person", "webhook", "callbacks", "twilio", "llm", "moderation"]
_SENDS: Final = {"calls": ["create"]}
_ALWAYS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """Either `faults`, a part of the document for `PUT /simulator/faults`, or `inbound`, keys for one message."""

    id: str
    group: Group
    label: str
    help: str
    faults: Mapping[str, Any] | None = None
    inbound: Mapping[str, Any] | None = None
    once: bool = False
    """Whether it wears off by itself."""


def _twilio(**faults: Any) -> dict[str, Any]:
    return {"twilio": {**_SENDS, **faults}}


def _llm(**faults: Any) -> dict[str, Any]:
    return {"llm": faults}


_FIVE: Final = ("hi", "are you there?", "I wanted to ask", "about music", "which song should I begin with?")
_THREE: Final = ("first", "second", "third")

KNOBS: Final = (
    Knob(
        id="send_twice",
        group="person",
        label="Send twice",
        help="Twilio delivers the very same webhook twice at once: it must be answered once.",
        inbound={"times": 2},
    ),
    Knob(
        id="send_late",
        group="person",
        label="Send late",
        help="The webhook goes out 5 s after the message was written.",
        inbound={"delay_ms": 5000},
    ),
    Knob(
        id="burst_five",
        group="person",
        label="Burst of five",
        help="Five messages within 300 ms: one reply answers them together.",
        inbound={"burst": [{"body": text} for text in _FIVE], "gap_ms": 50},
    ),
    Knob(
        id="out_of_order",
        group="person",
        label="Out of order",
        help="Three messages whose webhooks arrive in the opposite order: answered as they arrive.",
        inbound={"burst": [{"body": text} for text in _THREE], "shuffle": True, "gap_ms": 50},
    ),
    Knob(
        id="wrong_signature",
        group="person",
        label="Wrong signature",
        help="Signed with another token, as by a stranger past Twilio: the bot answers 403, and that is all.",
        inbound={"wrong_signature": True},
    ),
    Knob(
        id="webhook_timeout",
        group="webhook",
        label="Webhook too slow",
        help="The bot's answer comes after Twilio's own timeout, and Twilio tries again: see attempts 1 and 2.",
        faults={"webhook": {"timeout": _ALWAYS}},
    ),
    Knob(
        id="webhook_duplicate",
        group="webhook",
        label="Every webhook twice",
        help="Each message is delivered twice.",
        faults={"webhook": {"duplicate": _ALWAYS}},
    ),
    Knob(
        id="webhook_reorder",
        group="webhook",
        label="Webhooks overtake",
        help="Every other webhook, by chance, is held up for 0.3 s and overtaken by the next.",
        faults={"webhook": {"reorder": 0.5}},
    ),
    Knob(
        id="webhook_delay",
        group="webhook",
        label="Webhooks late",
        help="Each webhook is held up for 5 s.",
        faults={"webhook": {"delay_ms": 5000}},
    ),
    Knob(
        id="webhook_drop",
        group="webhook",
        label="Webhooks lost",
        help="Nothing reaches the bot; only Twilio's log knows, where catch-up finds it within about 2 minutes.",
        faults={"webhook": {"drop": _ALWAYS}},
    ),
    Knob(
        id="callbacks_drop",
        group="callbacks",
        label="Status reports lost",
        help="The bot is never told that anything was sent, delivered or read; pieces still go on after 1.5 s.",
        faults={"twilio": {"callbacks": {"drop": _ALWAYS}}},
    ),
    Knob(
        id="callbacks_delay",
        group="callbacks",
        label="Status reports late",
        help="Each report is held up for 5 s.",
        faults={"twilio": {"callbacks": {"delay_ms": 5000}}},
    ),
    Knob(
        id="callbacks_duplicate",
        group="callbacks",
        label="Status reports twice",
        help="Each report is told twice.",
        faults={"twilio": {"callbacks": {"duplicate": _ALWAYS}}},
    ),
    Knob(
        id="callbacks_reorder",
        group="callbacks",
        label="Status reports overtake",
        help="Every other report, by chance, is held up for 0.3 s: read may come before delivered.",
        faults={"twilio": {"callbacks": {"reorder": 0.5}}},
    ),
    Knob(
        id="twilio_429",
        group="twilio",
        label="429 too many requests",
        help="Twilio refuses to send for now: tried again later.",
        faults=_twilio(status=429, retry_after=2),
    ),
    Knob(
        id="twilio_500",
        group="twilio",
        label="500 error",
        help="Twilio fails and says no more: sent or not, the bot has to find out.",
        faults=_twilio(status=500),
    ),
    Knob(
        id="twilio_slow",
        group="twilio",
        label="Slow",
        help="Each send takes 3 s longer.",
        faults=_twilio(slow_ms=3000),
    ),
    Knob(
        id="twilio_cut",
        group="twilio",
        label="Accepted, then cut",
        help="The message goes out and the connection is cut before the answer: it must not go twice.",
        faults=_twilio(accept_then_cut=_ALWAYS),
    ),
    Knob(
        id="twilio_hang",
        group="twilio",
        label="Accepted, then silence",
        help="The message goes out and no answer ever comes.",
        faults=_twilio(accept_then_hang=_ALWAYS),
    ),
    Knob(
        id="twilio_63016",
        group="twilio",
        label="63016 outside the window",
        help="Messages are accepted and then reported undelivered: the person did not write within 24 hours.",
        faults={"twilio": {"undelivered_code": 63016}},
    ),
    Knob(
        id="llm_slow",
        group="llm",
        label="Slow",
        help="Each answer takes 8 s longer: see the typing bubble, and what is written meanwhile.",
        faults=_llm(slow_ms=8000),
    ),
    Knob(
        id="llm_429",
        group="llm",
        label="429 rate limit",
        help="The model refuses for now: tried again, then a notice.",
        faults=_llm(status=429, retry_after=2),
    ),
    Knob(
        id="llm_500",
        group="llm",
        label="500 error",
        help="The model fails: tried again, then a notice.",
        faults=_llm(status=500),
    ),
    Knob(
        id="llm_hang",
        group="llm",
        label="Never answers",
        help="Calls hang until the bot gives up (LLM_TIMEOUT_S).",
        faults=_llm(hang=_ALWAYS),
    ),
    Knob(
        id="llm_trickle",
        group="llm",
        label="Trickles",
        help="The answer comes byte by byte over 10 s.",
        faults=_llm(trickle=_ALWAYS, trickle_ms=10_000),
    ),
    Knob(
        id="llm_empty",
        group="llm",
        label="Empty answer",
        help="The model says nothing: asked again, then a notice.",
        faults=_llm(empty=_ALWAYS),
    ),
    Knob(
        id="llm_overlong",
        group="llm",
        label="Over-long answer",
        help="The model talks until its limit: cut back to a whole sentence, sent in pieces.",
        faults=_llm(overlong=_ALWAYS),
    ),
    Knob(
        id="llm_markdown",
        group="llm",
        label="Heavy Markdown",
        help="Headings, tables, nested lists, code: WhatsApp knows none of it.",
        faults=_llm(markdown=_ALWAYS),
    ),
    Knob(
        id="llm_wrong_language",
        group="llm",
        label="Wrong language",
        help="The model answers in Finnish.",
        faults=_llm(wrong_language=_ALWAYS),
    ),
    Knob(
        id="llm_refusal",
        group="llm",
        label="Refuses",
        help="The model declines to answer.",
        faults=_llm(refusal=_ALWAYS),
    ),
    Knob(
        id="llm_quota",
        group="llm",
        label="No money left",
        help="429 insufficient_quota: the account is empty.",
        faults=_llm(status=429, code="insufficient_quota"),
    ),
    Knob(
        id="moderation_flag",
        group="moderation",
        label="Flags the next message",
        help="The next text that is checked is flagged as harassment, whatever it says.",
        faults={"moderation": {"flag_next": 1, "flag_category": "harassment"}},
        once=True,
    ),
    Knob(
        id="moderation_self_harm",
        group="moderation",
        label="Hears self-harm in the next message",
        help="The next text that is checked is flagged as self-harm: help comes before refusal.",
        faults={"moderation": {"flag_next": 1, "flag_category": "self-harm"}},
        once=True,
    ),
    Knob(
        id="moderation_down",
        group="moderation",
        label="Does not answer",
        help="Moderation fails: texts pass unchecked, and that is counted.",
        faults={"moderation": {"status": 503}},
    ),
)
"""In the order in which the page shows them."""


def knobs_json() -> list[dict[str, Any]]:
    """Returns the catalogue for `GET /simulator/knobs`; knobs that `conflicts` names cannot go together."""
    return [_as_json(knob) for knob in KNOBS]


def _as_json(knob: Knob) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": knob.id, "group": knob.group, "label": knob.label, "help": knob.help}
    if knob.inbound is not None:
        return shown | {"inbound": knob.inbound, "once": True, "conflicts": _others(knob)}
    return shown | {"faults": knob.faults, "once": knob.once, "conflicts": _others(knob)}


def _others(knob: Knob) -> list[str]:
    """Returns the knobs that cannot go together with this one: both write the same key, or both end the same calls."""
    own = _claims(knob)
    return [each.id for each in KNOBS if each is not knob and not own.isdisjoint(_claims(each))]


def _claims(knob: Knob) -> frozenset[str]:
    if knob.inbound is not None:
        return frozenset(("burst", *knob.inbound) if "burst" in knob.inbound else knob.inbound)
    faults = knob.faults or {}
    return frozenset((*_keys(faults), *_ended(Document.model_validate(faults), "")))


def _keys(part: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in part.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{above}{key}.")  # pyright: ignore[reportUnknownArgumentType]
        elif {key: value} != _SENDS:
            yield f"{above}{key}"


def _ended(document: Document | Section, above: str) -> Iterator[str]:
    """The sections whose calls it ends in a way of its own: only one fault can befall a call."""
    if isinstance(document, Section) and document.rates():
        yield above
    for key in type(document).model_fields:
        if isinstance(section := getattr(document, key), Section):
            yield from _ended(section, f"{above}{key} ends")
