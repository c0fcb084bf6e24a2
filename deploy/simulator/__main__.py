"""Runs the simulator until SIGTERM or Ctrl-C: `python -m deploy.simulator`."""

import asyncio
import os
import signal
import sys
from urllib.parse import urldefrag

from deploy.simulator.server import start
from deploy.simulator.settings import Settings, SettingsError, read_settings


async def _run(settings: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    simulator = await start(settings)
    print(f"simulated Twilio and OpenAI: {simulator.url} (webhook {urldefrag(settings.webhook_url).url})", flush=True)
    await stopped.wait()
    await simulator.stop()


def main() -> int:
    """Returns the exit code: 0 stopped as asked, 2 wrong configuration, one problem a line on stderr."""
    try:
        settings = read_settings(os.environ)
        asyncio.run(_run(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"SIMULATOR_HOST, SIMULATOR_PORT: cannot listen there ({error.strerror})", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
