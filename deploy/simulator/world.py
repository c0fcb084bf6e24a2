"""What all parts of the simulator share; whatever changes here is told to the pages that are open."""

from datetime import timedelta
from typing import Final

from deploy.simulator.background import Background
from deploy.simulator.calls import Call, Calls
from deploy.simulator.events import Events
from deploy.simulator.faults import Faults
from deploy.simulator.postman import Postman
from deploy.simulator.rows import call_json, message_json, person_of
from deploy.simulator.settings import Settings
from deploy.simulator.state import Change, Log, Message, iso, now

TYPING: Final = timedelta(seconds=25)
"""How long "typing" is shown, unless a message ends it. Source: Twilio docs on typing indicators as of 2026-11."""


class World:
    """The log, the calls, the faults in force, and what goes on by itself."""

    def __init__(self, settings: Settings) -> None:
        self.events: Final = Events()
        self.log: Final = Log(
            messages_kept=settings.messages_kept, media_bytes_kept=settings.media_bytes_kept, watcher=self._changed
        )
        self.calls: Final = Calls(kept=settings.calls_kept, watcher=self._called)
        self.faults: Final = Faults(watcher=self._set)
        self.background: Final = Background()
        self.postman: Final = Postman(token=settings.auth_token, calls=self.calls)

    def typed(self, message: Message) -> None:
        """The bot shows that it is typing in answer to this message."""
        person, until = person_of(self.log, message), iso(now() + TYPING)
        self.events.publish("typing", lambda: {"person": person, "sid": message.sid, "until": until})

    def clear(self) -> None:
        """Forgets messages, people, media and calls and stops what is under way; faults stay."""
        self.background.stop()
        self.log.clear()
        self.calls.clear()
        self.events.publish("cleared", dict[str, str])

    def _changed(self, change: Change, message: Message) -> None:
        gone = change == "removed"
        self.events.publish(change, lambda: {"sid": message.sid} if gone else message_json(self.log, message))

    def _called(self, number: int, call: Call) -> None:
        self.events.publish("call", lambda: call_json(self.log, number, call))

    def _set(self) -> None:
        # Read when it is asked for: the first document is set before there is anything to read.
        self.events.publish("faults", lambda: self.faults.as_json())  # noqa: PLW0108
