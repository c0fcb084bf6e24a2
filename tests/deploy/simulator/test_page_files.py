from pathlib import Path

import pytest
from aiohttp import web

from deploy.simulator.page_files import FOLDER, Page
from tests.deploy.simulator.world import World


def test_the_page_is_served_under_a_strict_policy(world: World):
    status, headers, body = world.raw("GET", "/")
    assert (status, body) == (200, (FOLDER / "index.html").read_bytes())
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "media-src": "'self' blob:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "form-action": "'none'",
    }
    assert world.raw("GET", "/page/index.html")[2] == body


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py",
        "/page/%2e%2e/server.py",
        "/page/..%2fserver.py",
        "/page/%2fetc/passwd",
        "/page/%2Fetc%2Fpasswd",
        "/page/....//server.py",
        "/page/index.html%00.js",
        "/page/missing.js",
        "/page/",
        "/page/.",
    ],
)
def test_nothing_outside_the_folder_is_there(world: World, path: str):
    assert world.raw("GET", path)[0] == 404


@pytest.mark.parametrize("name", ["link.txt", "hidden.py", "folder.js"])
def test_a_link_out_another_kind_and_a_folder_are_not_there(tmp_path: Path, name: str):
    folder = tmp_path / "page"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "hidden.py").write_text("x")
    (folder / "folder.js").mkdir()
    (folder / "good.txt").write_text("good")
    page = Page(folder)
    assert page.answer("good.txt").status == 200
    answer: web.Response = page.answer(name)
    assert answer.status == 404
