"""The chat as a process of its own, with the simulator alone: a bot that answers by hand, nobody who tells reasons."""

import os
import subprocess
import sys
from pathlib import Path

from deploy.simulator.settings import SIMULATED_NUMBER
from tests.deploy.simulator.world import World, eventually

ROOT = Path(__file__).parents[3]


def chatting(world: World) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.simulator.chat"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SIMULATOR_URL": world.url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_line_is_sent_and_its_answer_shown_before_the_next_goes_out(world: World):
    with chatting(world) as chat:
        assert chat.stdin is not None
        chat.stdin.write("hello \x1b[31mthere\n/people\n/nonsense\n/quit\nnever sent\n")
        chat.stdin.flush()
        eventually(lambda: bool(world.bot.heard), within_s=60)
        heard = world.bot.heard[0]
        assert heard.form["ProfileName"] == "Ana"
        world.twilio.messaging.v2.typing_indicator.create(channel="whatsapp", message_id=heard.form["MessageSid"])
        world.twilio.messages.create(to=heard.form["From"], from_=SIMULATED_NUMBER, body="*Rosa*: hi \x07!")
        shown, errors = chat.communicate(timeout=60)
    assert (chat.returncode, errors) == (0, "")
    assert "*Rosa*: hi \u2407!" in shown
    assert "\x1b" not in shown
    for expected in ("… typing", "✓✓ delivered", "✓✓ read", "hidden number", "/quit ends"):
        assert expected in shown
    assert len({h.form["MessageSid"] for h in world.bot.heard}) == 1


def test_a_person_who_hides_the_number_is_written_as(world: World):
    with chatting(world) as chat:
        assert chat.stdin is not None
        chat.stdin.write("/person nobody-here\n/person Noor\nhello\n")
        chat.stdin.flush()
        eventually(lambda: bool(world.bot.heard), within_s=60)
        assert world.bot.heard[0].form["From"].startswith("whatsapp:US.")
        chat.kill()
        shown = chat.stdout.read() if chat.stdout else ""
    assert "nobody is called 'nobody-here'" in shown
    assert "writing as Noor" in shown
