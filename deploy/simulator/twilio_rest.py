"""Twilio's Messages, Media and typing indicator as its own REST API answers them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from aiohttp import web

from deploy.simulator.faults import Faults
from deploy.simulator.settings import Settings
from deploy.simulator.state import Log, Media, Message, new_sid, now
from deploy.simulator.twilio_api import not_found, problem
from deploy.simulator.twilio_content import Contents
from deploy.simulator.twilio_inbound import ADDRESS, SID
from deploy.simulator.twilio_reports import Reports
from deploy.simulator.wire import Answer, json_answer

BODY_UNITS: Final = 1600
"""Longest body. Whether Twilio counts characters or UTF-16 units is not documented: the stricter is taken."""
CALLBACK_CHARACTERS: Final = 4000
PAGE_SIZE: Final = 50
QUEUED_AT_MOST: Final = timedelta(hours=10)
"""How long after its creation a message can still be sent, which bounds a search by date."""


class Messages:
    """The message resources."""

    def __init__(
        self,
        *,
        settings: Settings,
        log: Log,
        faults: Faults,
        reports: Reports,
        contents: Contents,
        typed: Callable[[Message], None] = lambda _message: None,
    ) -> None:
        """`typed` is told of the message in answer to which the bot shows that it is typing."""
        self._typed = typed
        self._number = settings.number
        self._base = f"/2010-04-01/Accounts/{settings.account_sid}/Messages"
        self._account = settings.account_sid
        self._log = log
        self._faults = faults
        self._reports = reports
        self._contents = contents

    async def create(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`POST Messages.json`: 201 and the message, on its way."""
        del request, fault
        form, media_urls = _read_form(body)
        text = self._contents.render(form) if "ContentSid" in form else form.get("Body", "")
        if isinstance(text, int):
            return problem(text)
        if code := self._mistake(form, text, media_urls):
            return problem(code)
        message = self._accept(form, text, media_urls)
        self._reports.follow(message)
        return json_answer(self._as_json(message), status=201, about=message.sid)

    async def list(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`GET Messages.json`: newest first, filtered, in pages."""
        del body, fault
        query = request.query
        size = int(query["PageSize"]) if query.get("PageSize", "").isdecimal() else PAGE_SIZE
        size = max(1, min(size, 1000))
        page = int(query["Page"]) if query.get("Page", "").isdecimal() else 0
        token = self._log.find(query.get("PageToken", "")[2:])
        if "PageToken" in query and token is None:
            return problem(20404, status=404, message="Page token is not known")
        try:
            rows = self._matching(query, before=token.number if token else None)
        except ValueError:
            return problem(20001, message="A date is not valid")
        for _ in range(0 if token else page * size):
            next(rows, None)
        found = [row for _, row in zip(range(size), rows, strict=False)]
        more = next(rows, None) is not None
        for message in found:
            self._log.find_later(message)
        return json_answer(self._page(query, found, page=page, size=size, more=more))

    async def fetch(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`GET Messages/{sid}.json`."""
        del body, fault
        message = self._known(request.match_info["sid"])
        return json_answer(self._as_json(message), about=message.sid) if message else not_found(request.path)

    async def update(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`POST Messages/{sid}.json`: only an empty Body is known, which blanks the text."""
        del fault
        message = self._known(request.match_info["sid"])
        if message is None:
            return not_found(request.path)
        form, _ = _read_form(body)
        if form.get("Body") != "":
            return problem(20001, message="Only Body='' can be set")
        self._log.redact(message)
        return json_answer(self._as_json(message), about=message.sid)

    async def delete(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`DELETE Messages/{sid}.json`: the message and its media."""
        del body, fault
        message = self._known(request.match_info["sid"])
        if message is None:
            return not_found(request.path)
        self._log.remove(message)
        return Answer(status=204, about=message.sid)

    async def media_list(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`GET Messages/{sid}/Media.json`."""
        del body, fault
        message = self._known(request.match_info["sid"])
        if message is None:
            return not_found(request.path)
        rows = [self._media_json(message, media) for media in message.media]
        frame = _frame(request.path, {}, page=0, size=PAGE_SIZE, count=len(rows), next_token="")
        return json_answer({"media_list": rows, **frame}, about=message.sid)

    async def media_fetch(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`GET Messages/{sid}/Media/{me}`: a redirect to where the bytes are; with `.json` what they are."""
        del body, fault
        message = self._known(request.match_info["sid"])
        media_sid, dot, _ = request.match_info["media"].partition(".json")
        media = next((m for m in message.media if m.sid == media_sid), None) if message else None
        if message is None or media is None or self._log.media(media_sid) is None:
            return not_found(request.path)
        if dot:
            return json_answer(self._media_json(message, media), about=message.sid)
        return Answer(status=307, headers={"Location": f"/simulator/media/{media.sid}"}, about=message.sid)

    async def media_delete(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`DELETE Messages/{sid}/Media/{me}`."""
        del body, fault
        media_sid = request.match_info["media"].removesuffix(".json")
        if self._log.media(media_sid) is None:
            return not_found(request.path)
        self._log.remove_media(media_sid)
        return Answer(status=204)

    async def typing(self, request: web.Request, body: bytes, fault: str) -> Answer:
        """`POST Indicators/Typing.json`: for a message that a person sent; it also marks it read."""
        del fault
        form, _ = _read_form(body)
        if form.get("channel") != "whatsapp" or not SID.fullmatch(form.get("messageId", "")):
            return problem(20001, message="channel must be whatsapp and messageId a message SID")
        message = self._known(form["messageId"])
        if message is None or message.direction != "inbound":
            return not_found(request.path)
        self._log.mark_read(message)
        self._typed(message)
        return json_answer({"success": True}, about=message.sid)

    def _known(self, sid: str) -> Message | None:
        message = self._log.find(sid)
        return None if message is None or message.forged else message

    def _mistake(self, form: Mapping[str, str], text: str, media_urls: Sequence[str]) -> int:
        """Returns Twilio's code for what is wrong with a create, 0 for nothing."""
        callback = form.get("StatusCallback", "")
        parts = urlsplit(callback)
        bad_host = not parts.hostname or "_" in parts.hostname or parts.scheme not in {"http", "https"}
        recipient = form.get("To", "")
        checks = (
            (21604, not recipient),
            (21211, not ADDRESS.fullmatch(recipient)),
            (21603, not form.get("From") and not form.get("MessagingServiceSid")),
            (63007, bool(form.get("From")) and form.get("From") != self._number),
            (21619, not text and not media_urls),
            (21617, len(text.encode("utf-16-le", errors="surrogatepass")) // 2 > BODY_UNITS),
            (21609, bool(callback) and (bad_host or len(callback) > CALLBACK_CHARACTERS)),
            (21610, recipient in self._faults.document.twilio.opted_out),
        )
        return next((code for code, wrong in checks if wrong), 0)

    def _accept(self, form: Mapping[str, str], text: str, media_urls: Sequence[str]) -> Message:
        at = now()
        media = tuple(
            Media(sid=new_sid("ME"), content_type="application/octet-stream", size_bytes=0, url=url, created_at=at)
            for url in media_urls
        )
        service = form.get("MessagingServiceSid")
        message = Message(
            sid=new_sid("MM" if media else "SM"),
            direction="outbound-api",
            sender=self._number,
            recipient=form["To"],
            body=text,
            status="accepted" if service else "queued",
            created_at=at,
            updated_at=at,
            media=media,
            status_callback=form.get("StatusCallback", ""),
            service_sid=service,
        )
        self._log.add(message)
        return message

    def _matching(self, query: Mapping[str, str], *, before: int | None) -> Iterator[Message]:
        bounds = [_bounds(query[n], n) for n in ("DateSent", "DateSent>", "DateSent<") if query.get(n)]
        first = max((low for low, _ in bounds), default=_BEGINNING)
        last = min((high for _, high in bounds), default=_END)
        told = self._log.newest_first(sender=query.get("From", ""), recipient=query.get("To", ""), before=before)
        rows = (message for message in told if not message.forged)
        if not bounds:
            return rows
        return _sent_between(rows, first, last)

    def _page(
        self, query: Mapping[str, str], found: Sequence[Message], *, page: int, size: int, more: bool
    ) -> dict[str, Any]:
        kept = {k: v for k, v in query.items() if k not in {"Page", "PageToken", "PageSize"}}
        token = f"PA{found[-1].sid}" if more else ""
        frame = _frame(f"{self._base}.json", kept, page=page, size=size, count=len(found), next_token=token)
        return {"messages": [self._as_json(message) for message in found], **frame}

    def _as_json(self, message: Message) -> dict[str, Any]:
        path = f"{self._base}/{message.sid}"
        return {
            "account_sid": self._account,
            "api_version": "2010-04-01",
            "body": message.body,
            "date_created": format_datetime(message.created_at),
            "date_sent": format_datetime(message.sent_at) if message.sent_at else None,
            "date_updated": format_datetime(message.updated_at),
            "direction": message.direction,
            "error_code": message.error_code,
            "error_message": message.error_message,
            "from": message.sender,
            "messaging_service_sid": message.service_sid,
            "num_media": str(len(message.media)),
            "num_segments": "1",
            "price": None,
            "price_unit": None,
            "sid": message.sid,
            "status": message.status,
            "subresource_uris": {"media": f"{path}/Media.json"},
            "to": message.recipient,
            "uri": f"{path}.json",
        }

    def _media_json(self, message: Message, media: Media) -> dict[str, Any]:
        at = format_datetime(media.created_at)
        return {
            "account_sid": self._account,
            "content_type": media.content_type,
            "date_created": at,
            "date_updated": at,
            "parent_sid": message.sid,
            "sid": media.sid,
            "uri": f"{self._base}/{message.sid}/Media/{media.sid}.json",
        }


_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_END: Final = datetime.max.replace(tzinfo=UTC)
_DAY: Final = timedelta(days=1)


def _bounds(text: str, name: str) -> tuple[datetime, datetime]:
    """Returns the span, ends included, that a date filter allows. A date means the whole day, in UTC.

    Raises: ValueError for what is no date.
    """
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        low = datetime.combine(date.fromisoformat(text), datetime.min.time(), tzinfo=UTC)
        high = low + _DAY - timedelta(microseconds=1)
    else:
        low = datetime.fromisoformat(text)
        low = high = low if low.tzinfo else low.replace(tzinfo=UTC)
        high += timedelta(seconds=1, microseconds=-1)  # the wire form has whole seconds
    match name:
        case "DateSent>":
            return low, _END
        case "DateSent<":
            return _BEGINNING, high
        case _:
            day = low.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            return day, day + _DAY - timedelta(microseconds=1)


def _sent_between(rows: Iterator[Message], first: datetime, last: datetime) -> Iterator[Message]:
    """A message that was not sent yet has no date and is not found by one."""
    for row in rows:
        if row.created_at + QUEUED_AT_MOST < first:
            return
        if row.sent_at and first <= row.sent_at <= last:
            yield row


def _frame(path: str, query: Mapping[str, str], *, page: int, size: int, count: int, next_token: str) -> dict[str, Any]:
    """Returns what stands around the rows of a page."""

    def uri(number: int, token: str = "") -> str:
        more = {"PageSize": str(size), "Page": str(number), **({"PageToken": token} if token else {})}
        return f"{path}?{urlencode({**query, **more}, quote_via=quote)}"

    start = page * size
    return {
        "first_page_uri": uri(0),
        "previous_page_uri": uri(page - 1) if page else None,
        "next_page_uri": uri(page + 1, next_token) if next_token else None,
        "uri": uri(page),
        "page": page,
        "page_size": size,
        "start": start,
        "end": start + max(0, count - 1),
    }


def _read_form(body: bytes) -> tuple[dict[str, str], list[str]]:
    """Returns the fields, and the values of MediaUrl, the only one that may repeat here."""
    pairs = parse_qsl(body.decode("utf-8", errors="replace"), keep_blank_values=True)
    return dict(pairs), [value for name, value in pairs if name == "MediaUrl"]
