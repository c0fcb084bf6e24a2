"""Twilio: do our credentials work, is the number ours, and does it call us where we listen."""

from contextlib import closing
from typing import Final

from core.adapters.twilio import MESSAGE_PATH, STATUS_PATH
from core.adapters.twilio_account import Sender, TwilioAccount
from core.config import SANDBOX_NUMBER, TwilioSettings, WebSettings
from core.doctor.environment import origin
from core.doctor.finding import Findings, told
from core.errors import OutsideError, Permanent

AREA: Final = "twilio"
_ONLINE: Final = "ONLINE"


def check(settings: TwilioSettings, web: WebSettings | None, *, looked_up: bool | None = None) -> Findings:
    """Returns what Twilio says of us, within about 30 s; sends nothing and changes nothing.

    `looked_up`: whether account and number are; unset: not at a stand-in, which knows neither.
    """
    findings = Findings(AREA)
    with closing(TwilioAccount(settings)) as twilio:
        try:
            twilio.log_in()
        except Permanent as error:
            findings.wrong(
                "credentials",
                f"Twilio refuses them ({told(error)})",
                "check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN (or TWILIO_API_KEY and _SECRET) in Twilio's console",
            )
            return findings
        except OutsideError as error:
            findings.broken("reachable", f"no answer ({told(error)})", "may this machine call api.twilio.com?")
            return findings
        by = f"by the stand-in at {origin(settings.base_url)}" if settings.base_url else "by Twilio"
        findings.good("credentials", f"accepted {by}")
        if not (not settings.base_url if looked_up is None else looked_up):
            findings.good("number", "not looked up: Twilio is a stand-in here")
            return findings
        _look_at_account(findings, twilio)
        _look_at_number(findings, twilio, settings, web)
    return findings


def _look_at_account(findings: Findings, twilio: TwilioAccount) -> None:
    try:
        account = twilio.account()
    except OutsideError as error:
        findings.good("account", f"not told ({told(error)}): this key may not read it")
        return
    if account.status != "active":
        findings.broken("account", f"{account.status}: nothing can be sent", "see Twilio's console")
    elif account.kind == "Trial":
        findings.risky("account", "a trial: few messages, and to joined people only", "upgrade it before you go live")
    else:
        findings.good("account", "active")


def _look_at_number(
    findings: Findings, twilio: TwilioAccount, settings: TwilioSettings, web: WebSettings | None
) -> None:
    if settings.number == SANDBOX_NUMBER:
        findings.risky(
            "number",
            "Twilio's sandbox: no interface tells where it calls",
            "compare by eye in the sandbox settings: " + _addresses(web),
        )
        return
    try:
        sender = twilio.sender(settings.number)
    except OutsideError as error:
        findings.risky(
            "number", f"could not be looked up ({told(error)})", "compare in the console: " + _addresses(web)
        )
        return
    if sender is None:
        findings.wrong(
            "number",
            "the account has no WhatsApp sender of this number",
            "register it (Messaging > Senders > WhatsApp senders), or correct TWILIO_WHATSAPP_NUMBER",
        )
        return
    if sender.status.startswith(_ONLINE):
        findings.good("number", "registered and online")
    else:
        findings.broken("number", f"registered and {sender.status}", "see the sender in Twilio's console")
    if web is not None:
        _compare_addresses(findings, sender, web)


def _compare_addresses(findings: Findings, sender: Sender, web: WebSettings) -> None:
    for subject, theirs, path in (
        ("webhook address", sender.webhook_url, MESSAGE_PATH),
        ("status address", sender.status_url, STATUS_PATH),
    ):
        ours = f"{web.public_url}{path}"
        if theirs.partition("#")[0] != ours.partition("#")[0]:
            severity = findings.wrong if path == MESSAGE_PATH else findings.risky
            severity(subject, "Twilio calls another address, or none", f"set it to {ours}")
        elif not theirs.partition("#")[2]:
            findings.risky(
                subject, "without retries: what meets a restart of ours is lost to catch-up", f"set it to {ours}"
            )
        else:
            findings.good(subject, "as it should be, with retries")


def _addresses(web: WebSettings | None) -> str:
    base = "PUBLIC_URL" if web is None else web.public_url
    return f"{base}{MESSAGE_PATH} for messages, {base}{STATUS_PATH} for status"
