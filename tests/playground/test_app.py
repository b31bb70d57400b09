"""The frame of all pages: who may ask, what every reply says, and what a broken or foreign workspace looks like."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.playground.app import create_app
from quintet.playground.errors import PlaygroundError
from quintet.playground.guard import COOKIE
from quintet.playground.serving import address, server


def asking(workspace: Path, host: str = "127.0.0.1", token: str = "", name: str = "127.0.0.1:8420") -> TestClient:
    app = create_app(workspace, host=host, token=token)
    return TestClient(app, base_url=f"http://{name}", raise_server_exceptions=False, follow_redirects=False)


def test_a_run_stands_in_the_list(client: TestClient, ledger: RunLedger) -> None:
    page = client.get("/").text
    assert f'href="/runs/{ledger.run}"' in page
    assert "finished" in page


def test_every_reply_forbids_inline_scripts_and_other_origins(client: TestClient) -> None:
    for path in ("/", "/nothing", "/static/quintet.css"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8420", "127.0.0.1.evil.example", "10.0.0.7", ""])
def test_on_loopback_no_other_name_is_answered(workspace: Path, name: str) -> None:
    reply = asking(workspace).get("/", headers={"host": name})
    assert reply.status_code == 421
    assert "Runs" not in reply.text


@pytest.mark.parametrize("name", ["localhost:8420", "127.0.0.1", "[::1]:8420"])
def test_names_of_loopback_are_answered(workspace: Path, name: str) -> None:
    assert asking(workspace).get("/", headers={"host": name}).status_code == 200


def test_a_page_of_another_origin_is_refused(client: TestClient) -> None:
    assert client.get("/", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/", headers={"origin": "null"}).status_code == 403
    assert client.post("/", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200
    assert client.get("/", headers={"origin": "http://127.0.0.1:8420"}).status_code == 200


def test_a_token_is_asked_for_said_once_and_kept_out_of_the_address(workspace: Path) -> None:
    client = asking(workspace, host="0.0.0.0", token="se cret", name="box.example:8420")  # noqa: S104, S106
    assert client.get("/").status_code == 401
    assert client.get("/static/quintet.css").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    told = client.get("/?token=se%20cret&q=x")
    assert (told.status_code, told.headers["location"]) == (303, "/?q=x")
    assert "HttpOnly" in told.headers["set-cookie"]
    assert "SameSite=strict" in told.headers["set-cookie"]
    assert client.get("/").status_code == 200
    assert COOKIE in client.cookies
    other = asking(workspace, host="0.0.0.0", token="se cret", name="box.example")  # noqa: S104, S106
    assert other.get("/", headers={"authorization": "Bearer se cret"}).status_code == 200
    assert other.get("http://box.example//evil.example/?token=se%20cret").headers["location"] == "/evil.example/"


def test_another_host_demands_a_token(workspace: Path) -> None:
    with pytest.raises(PlaygroundError, match="--token"):
        server(workspace, "0.0.0.0", 0)  # noqa: S104


def test_a_port_that_is_taken_is_said_in_one_line(workspace: Path) -> None:
    _, listening = server(workspace, port=0)
    with listening:
        port = int(re.findall(r"\d+", address(listening))[-1])
        with pytest.raises(PlaygroundError, match=rf"127.0.0.1:{port}.*--port"):
            server(workspace, port=port)


def test_nothing_is_changed_by_get(client: TestClient, ledger: RunLedger) -> None:
    before = ledger.digest()
    client.get("/")
    assert client.post("/").status_code == 405
    assert ledger.digest() == before


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/vendor"]
)
def test_paths_out_of_the_static_files_lead_nowhere(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_an_empty_workspace_says_how_to_begin(tmp_path: Path) -> None:
    reply = asking(tmp_path).get("/")
    assert reply.status_code == 200
    assert "quintet run" in reply.text
    assert not (tmp_path / "ledger.db").exists()


def test_a_workspace_filled_later_is_seen(tmp_path: Path) -> None:
    client = asking(tmp_path)
    assert "No runs here yet" in client.get("/").text
    with Workspace(tmp_path).ledger() as ledgers:
        ledgers.begin("late", 0, {"rounds": 1})
        assert "/runs/late" in client.get("/").text


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_damaged_workspace_gets_a_page_that_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.db").write_bytes(content)
    reply = asking(tmp_path).get("/")
    if content:
        assert reply.status_code == 503
        assert "cannot be read" in reply.text
        assert "damaged" in reply.text
    else:
        assert reply.status_code == 200


def test_a_run_that_is_not_there_names_the_nearest(client: TestClient, ledger: RunLedger) -> None:
    reply = client.get("/runs/tinny/stream")
    assert reply.status_code == 404
    assert ledger.run in reply.text


def test_a_page_that_fails_forbids_the_same(workspace: Path) -> None:
    client = asking(workspace)
    client.app.state.site = Broken()  # type: ignore[attr-defined]
    reply = client.get("/")
    assert reply.status_code == 500
    assert "broken &lt;b&gt;" in reply.text
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert reply.headers["cache-control"] == "no-store"


class Broken:
    """A site that fails on every page."""

    chat = False
    path = "runs"

    def ledger(self) -> None:
        raise RuntimeError("broken <b>")


@pytest.mark.parametrize("origin", ["http://[", "http://127.0.0.1:8420:1", "nonsense", ""])
def test_an_origin_that_is_none_is_refused(client: TestClient, origin: str) -> None:
    assert client.get("/", headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize("path", ["/%00", "/?q=%00", "/runs/a%00b", "/records/%00", "/static/%00"])
def test_a_zero_byte_is_refused(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 400


@pytest.mark.parametrize("token", ["s\u20accret", "s\u00e9", 'a;b "c', "100%"])
def test_a_token_may_hold_any_character(workspace: Path, token: str) -> None:
    client = asking(workspace, host="0.0.0.0", token=token, name="box.example")  # noqa: S104
    assert client.get("/", params={"token": token}).status_code == 303
    assert client.get("/").status_code == 200
    other = asking(workspace, host="0.0.0.0", token=token, name="box.example")  # noqa: S104
    assert other.get("/", headers={"authorization": f"Bearer {token}".encode()}).status_code == 200


NONSENSE = (
    "9" * 5000,
    "9" * 30,
    "-1",
    "1e9",
    "\u0661\u0662",
    "\u00b2",
    "%_\\",
    "\ud7ff",
    "'\"><script>",
    "..",
    "//evil",
)


@pytest.mark.parametrize(
    "path",
    [
        "adapters?before=",
        "events?round=",
        "events?after=",
        "events?q=",
        "rows?round=",
        "rows?after=",
        "outline?page=",
        "conversations?round=",
        "memory/retired?before=",
        "stream?after=",
        "../../compare?after=",
        "../../compare/items?after=",
    ],
)
def test_nonsense_in_an_address_is_no_failure(client: TestClient, ledger: RunLedger, path: str) -> None:
    for word in NONSENSE:
        page, _, name = path.partition("?")
        start = page.removeprefix("../..") if page.startswith("..") else f"/runs/{ledger.run}/{page}"
        reply = client.get(start, params={name.rstrip("="): word})
        assert reply.status_code == 200, (path, word[:40])
        if "stream" not in path:
            assert "<script>'" not in reply.text
            assert '"><script>' not in reply.text
