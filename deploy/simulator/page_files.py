"""The phone page: files of the folder page/, served as they stand under a policy that lets nothing else in."""

from pathlib import Path
from typing import Final

from aiohttp import web

FOLDER: Final = Path(__file__).resolve().parent / "page"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Permissions-Policy": "microphone=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".txt": "text/plain",
}
_TEXTS: Final = frozenset({"text/html", "text/css", "text/javascript", "application/json", "text/plain"})


class Page:
    """Serves the folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder.resolve()

    def routes(self) -> list[web.RouteDef]:
        """Where all this is found."""
        return [web.get("/", self.index), web.get("/page/{path:.+}", self.file)]

    async def index(self, request: web.Request) -> web.Response:
        """The page itself."""
        del request
        return self.answer("index.html")

    async def file(self, request: web.Request) -> web.Response:
        """What belongs to it."""
        return self.answer(request.match_info["path"])

    def answer(self, name: str) -> web.Response:
        """Returns the file of that name; one outside the folder (also by a link), or of another kind, is not there."""
        kind = _TYPES.get(Path(name).suffix)
        try:
            path = (self._folder / name).resolve()
            content = path.read_bytes() if kind and path.is_relative_to(self._folder) else None
        except (OSError, ValueError):  # not there, a folder, a NUL
            content = None
        if content is None or kind is None:
            return web.Response(status=404, text="not found\n")
        charset = "utf-8" if kind in _TEXTS else None
        return web.Response(body=content, content_type=kind, charset=charset, headers=_HEADERS)
