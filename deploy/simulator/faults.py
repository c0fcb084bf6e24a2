"""What goes wrong on purpose: one typed document, the same for tests, chaos and the phone page, and its seeded dice."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

Rate = Annotated[float, Field(ge=0, le=1)]
"""How often, 0 to 1; `true` counts as always."""
Milliseconds = Annotated[int, Field(ge=0, le=600_000)]
Status = Annotated[int, Field(ge=400, le=599)]
Statuses = Annotated[tuple[Status, ...], BeforeValidator(lambda v: (v,) if isinstance(v, int) else (v or ()))]
"""One, or a list of which each failing call gets any."""
Names = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
"""A list of names; a single one may stand alone."""


class Section(BaseModel):
    """One part of the document. `kinds` names the fields that are rates of a fault that ends a call in its own way.

    At most one of them befalls a call; `count` bounds how many calls are hit in all (unset: no bound).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kinds: ClassVar[tuple[str, ...]] = ()
    count: Annotated[int, Field(ge=0)] | None = None

    def rates(self) -> Sequence[tuple[str, float]]:
        """The faults of this section that can happen, with how often."""
        return [(kind, rate) for kind in self.kinds if (rate := float(getattr(self, kind)))]

    def delay(self) -> tuple[float, float]:
        """How long a call is held up, in seconds, and how often."""
        return 0.0, 0.0


class Trouble(Section):
    """What may befall any call to a vendor.

    `status`: answered with this error (or one of these) instead, at `rate`. `slow_ms`: held up before anything happens,
    at `slow_rate`. `cut_before`: the connection is cut and nothing was done. `hang`: nothing is done and no answer ever
    comes.
    """

    kinds = ("cut_before", "hang")
    status: Statuses = ()
    rate: Rate = 1.0
    retry_after: Annotated[float, Field(ge=0)] | None = None
    slow_ms: Milliseconds = 0
    slow_rate: Rate = 1.0
    cut_before: Rate = 0.0
    hang: Rate = 0.0

    def rates(self) -> Sequence[tuple[str, float]]:
        """As above, and the error status at its rate."""
        faults = super().rates()
        return [*faults, ("status", self.rate)] if self.status and self.rate else faults

    def delay(self) -> tuple[float, float]:
        """From `slow_ms` and `slow_rate`."""
        return self.slow_ms / 1000, self.slow_rate


class CallbackFaults(Section):
    """Status reports: never sent, sent twice, overtaken by the next one; at `delay_rate` `delay_ms` later."""

    kinds = ("drop", "duplicate", "reorder")
    drop: Rate = 0.0
    duplicate: Rate = 0.0
    reorder: Rate = 0.0
    delay_ms: Milliseconds = 0
    delay_rate: Rate = 1.0

    def delay(self) -> tuple[float, float]:
        """From `delay_ms` and `delay_rate`."""
        return self.delay_ms / 1000, self.delay_rate


class WebhookFaults(CallbackFaults):
    """Inbound webhooks, in the same ways; a dropped one stands in the provider's log only.

    `timeout`: the first answer comes after Twilio's read timeout, whatever the bot did, so that Twilio tries again.
    """

    kinds = (*CallbackFaults.kinds, "timeout")
    timeout: Rate = 0.0


class TwilioFaults(Trouble):
    """The REST API.

    The three `accept_then_...` carry the message out and then cut the connection, never answer, or answer an error of
    `status` that leaves it open (500 when none does): what a client cannot tell from a failure. `undelivered_code`
    turns reports into failures.
    """

    kinds = (*Trouble.kinds, "accept_then_cut", "accept_then_hang", "accept_then_status")
    code: int | None = None
    calls: tuple[Literal["create", "list", "fetch", "typing", "media", "content"], ...] = ()
    """Which calls the faults of this section befall; empty: all."""
    accept_then_cut: Rate = 0.0
    accept_then_hang: Rate = 0.0
    accept_then_status: Rate = 0.0
    opted_out: Names = ()
    """Addresses that sent STOP to Twilio itself: 21610."""
    enforce_window: bool = False
    """Whether a person who did not write within 24 h gets 63016, as on the real channel."""
    undelivered_code: int | None = None
    undelivered_rate: Rate = 1.0
    undelivered_after_sent: bool = False
    """Whether such a failure is reported only after "sent" was."""
    status_delays_ms: Annotated[tuple[Milliseconds, ...], Field(max_length=3)] = (50, 250, 1000)
    """When sent, delivered and read happen, each counted from the acceptance; what is left out never happens."""
    callbacks: CallbackFaults = CallbackFaults()

    def rates(self) -> Sequence[tuple[str, float]]:
        """As above; where no `rate` is given, `status` only serves `accept_then_status`."""
        faults = super().rates()
        serves = self.accept_then_status and "rate" not in self.model_fields_set
        return [fault for fault in faults if fault[0] != "status"] if serves else faults


class LlmFaults(Trouble):
    """Chat completions. `latency_ms` (unset: SIMULATOR_LLM_LATENCY_MS) is no fault and is not counted as one."""

    kinds = (
        *Trouble.kinds,
        "trickle",
        "empty",
        "refusal",
        "content_filter",
        "cut",
        "overlong",
        "markdown",
        "malformed",
        "wrong_language",
    )
    latency_ms: Milliseconds | None = None
    code: str | None = None
    """For example "insufficient_quota"; unset: what goes with the status."""
    trickle: Rate = 0.0
    """The answer comes byte by byte over `trickle_ms`."""
    trickle_ms: Milliseconds = 30_000
    empty: Rate = 0.0
    refusal: Rate = 0.0
    content_filter: Rate = 0.0
    cut: Rate = 0.0
    """The connection is cut in the middle of the answer."""
    overlong: Rate = 0.0
    markdown: Rate = 0.0
    malformed: Rate = 0.0
    """200 with a body that is no completion."""
    wrong_language: Rate = 0.0
    unsupported_parameter: Names = ()
    """A request that carries one of these gets the vendor's 400."""
    unsupported_value: Names = ()
    models: Names = ()
    """Which models all this befalls; empty: all. Several providers can share one simulator that way."""
    api_key: str | None = None
    """The only key that is accepted; unset: any."""


class ModerationFaults(Trouble):
    """Moderations; `flag_next` calls are flagged with `flag_category` whatever they say."""

    code: str | None = None
    flag_next: Annotated[int, Field(ge=0)] = 0
    flag_category: str = "harassment"


class OtherFaults(Trouble):
    """Embeddings and transcriptions."""

    code: str | None = None


class Document(BaseModel):
    """Everything that goes wrong. `seed` makes the dice repeatable for the same order of calls."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    seed: int = 0
    twilio: TwilioFaults = TwilioFaults()
    webhook: WebhookFaults = WebhookFaults()
    llm: LlmFaults = LlmFaults()
    moderation: ModerationFaults = ModerationFaults()
    embeddings: OtherFaults = OtherFaults()
    transcriptions: OtherFaults = OtherFaults()


class FaultsError(ValueError):
    """A document that is none; `problems` names each key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def problems_of(error: ValidationError) -> list[str]:
    """Returns one sentence for each mistake in a JSON document, the key first."""
    return [
        f"{'.'.join(map(str, e['loc'])) or 'document'}: "
        + ("unknown key" if e["type"] == "extra_forbidden" else e["msg"])
        for e in error.errors(include_url=False, include_input=False)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What befalls one call: it waits `delay_s`, then `kind` happens ("": nothing)."""

    delay_s: float = 0.0
    kind: str = ""


SPARED: Final = Fate()


class Dice:
    """The faults of one section at run time, with how many are left of its `count`."""

    def __init__(self, section: Section, seed: str, spent: Callable[[], None] = lambda: None) -> None:
        """`spent` is told when another of its `count` is used up."""
        self.left = section.count
        self._spent = spent
        self._rates = section.rates()
        self._delay_s, self._delay_rate = section.delay()
        self._harmless = not self._rates and not self._delay_s
        self._random = random.Random(seed)  # noqa: S311 - repeatable is the point

    def draw(self) -> Fate:
        """Returns what befalls the next call. One number is drawn for all kinds, so that rates of 5 % mean 5 %."""
        if self._harmless or self.left == 0:
            return SPARED
        delay_s = self._delay_s if self._delay_s and self._random.random() < self._delay_rate else 0.0
        kind, number = "", self._random.random()
        for name, rate in self._rates:
            if number < rate:
                kind = name
                break
            number -= rate
        if not kind and not delay_s:
            return SPARED
        if self.left is not None:
            self.left -= 1
            self._spent()
        return Fate(delay_s=delay_s, kind=kind)

    def pick(self, statuses: Sequence[int]) -> int:
        """Returns any of them, 500 where there is none."""
        return self._random.choice(statuses) if statuses else 500

    def happens(self, rate: float) -> bool:
        """Whether something of this rate happens now."""
        return rate >= 1 or (rate > 0 and self._random.random() < rate)


class Faults:
    """The document in force and its dice."""

    def __init__(self, watcher: Callable[[], None] = lambda: None) -> None:
        """`watcher` is told when the document changes, or when what is left of it does."""
        self._watcher = watcher
        self.set(Document())

    def replace(self, raw: bytes) -> None:
        """Puts another document in force; what it leaves out has its default.

        Raises: FaultsError.
        """
        try:
            document = Document.model_validate_json(raw or b"{}")
        except ValidationError as error:
            raise FaultsError(problems_of(error)) from None
        self.set(document)

    def set(self, document: Document) -> None:
        """Puts a document in force; every section starts its own dice from the seed."""
        self.document = document
        self.flags_left = document.moderation.flag_next

        def dice(section: Section, name: str) -> Dice:
            return Dice(section, f"{document.seed} {name}", self._watcher)

        self.twilio = dice(document.twilio, "twilio")
        self.callbacks = dice(document.twilio.callbacks, "callbacks")
        self.undelivered = dice(Section(), "undelivered")
        self.webhook = dice(document.webhook, "webhook")
        self.llm = dice(document.llm, "llm")
        self.moderation = dice(document.moderation, "moderation")
        self.embeddings = dice(document.embeddings, "embeddings")
        self.transcriptions = dice(document.transcriptions, "transcriptions")
        self._watcher()

    def take_flag(self) -> bool:
        """Whether moderation flags the next text whatever it says; uses that up."""
        if not self.flags_left:
            return False
        self.flags_left -= 1
        self._watcher()
        return True

    def as_json(self) -> dict[str, object]:
        """Returns the document as JSON; `count` and `flag_next` tell what is left of them."""
        raw = self.document.model_dump(mode="json")
        for name in ("twilio", "webhook", "llm", "moderation", "embeddings", "transcriptions"):
            raw[name]["count"] = getattr(self, name).left
        raw["twilio"]["callbacks"]["count"] = self.callbacks.left
        raw["moderation"]["flag_next"] = self.flags_left
        return raw
