"""ngrok in front of a port of ours: started, and asked for the address that it got."""

import shutil
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from deploy.local.child import StartFailed
from deploy.local.loopback import Refused, call
from deploy.local.processes import Processes

API: Final = "http://127.0.0.1:4040"
"""Where ngrok tells of itself. Source: ngrok's documentation of its agent API as of 2026-11."""
_WITHIN: Final = timedelta(seconds=30)


def open_tunnel(processes: Processes, environ: Mapping[str, str], *, port: int) -> str:
    """Returns the public https address that leads to that port.

    NGROK_URL asks for one address of yours, NGROK_API_URL tells where ngrok's own API is if not at its usual place.
    Raises: StartFailed.
    """
    if not environ.get("NGROK_AUTHTOKEN"):
        raise StartFailed("NGROK_AUTHTOKEN: missing; it stands on https://dashboard.ngrok.com, put it into .env")
    if not (program := shutil.which("ngrok", path=environ.get("PATH"))):
        raise StartFailed("ngrok: not found; install it from https://ngrok.com/download so that it is on the PATH")
    wanted = ["--url", environ["NGROK_URL"]] if environ.get("NGROK_URL") else []
    command = [program, "http", f"127.0.0.1:{port}", *wanted, "--log", "stdout", "--log-format", "json"]
    child = processes.start("ngrok", command, environ)
    api = environ.get("NGROK_API_URL", API)
    child.wait_until(lambda: _address(api, port) is not None, within=_WITHIN, name="ngrok")
    address = _address(api, port)
    if address is None:
        raise StartFailed("ngrok closed the tunnel again")
    return address


def _address(api: str, port: int) -> str | None:
    """The tunnel of that port, not one that another ngrok of this machine holds."""
    try:
        tunnels: list[dict[str, Any]] = call("GET", f"{api}/api/tunnels", timeout_s=2.0)["tunnels"]
    except (OSError, Refused, ValueError, KeyError, TypeError):
        return None
    for tunnel in tunnels:
        inner = str(tunnel.get("config", {}).get("addr", "")).rstrip("/")
        if inner.endswith(f":{port}") and str(tunnel.get("public_url", "")).startswith("https://"):
            return tunnel["public_url"].rstrip("/")
    return None
