"""Hostile requests: other names, other origins, other tokens, too much, and what does not lie in the run."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient
from tests.inspector.conftest import TEXT

from gateflow.errors import ConfigError
from gateflow.inspector.server.address import is_loopback, listen
from gateflow.inspector.server.guard import HEADERS, LARGEST_BODY, Keys
from gateflow.inspector.server.serve import guarded

PORT = 8765
OWN = f"http://127.0.0.1:{PORT}"
READ = {"text": TEXT}


class Browser:
    """A browser, or what says that it is one."""

    def __init__(self, session, host="127.0.0.1"):
        self.keys = Keys(PORT)
        self.http = TestClient(guarded(session, self.keys, host, PORT), base_url=OWN)

    def post(self, path, body, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body)
        headers = {"origin": OWN, "content_type": "application/json"} | headers
        kept = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        return self.http.post(path, content=content, headers=kept)


@pytest.fixture
def stranger(session):
    return Browser(session)


@pytest.fixture
def friend(session):
    browser = Browser(session)
    assert browser.post("/session", {"token": browser.keys.token}).status_code == 200
    return browser


def test_a_friend_is_answered(friend):
    answer = friend.post("/ask/read", READ)
    assert answer.status_code == 200
    assert answer.json()["tokens"] == TEXT.split()
    assert "access-control-allow-origin" not in answer.headers
    assert all(answer.headers[name] == value for name, value in HEADERS.items())
    assert friend.post("/about", {}).json()["runs"][1]["agreement"] is True


def test_the_cookie_is_for_this_page_alone(session):
    browser = Browser(session)
    cookie = browser.post("/session", {"token": browser.keys.token}).headers["set-cookie"].lower()
    assert f"gateflow-{PORT}=" in cookie
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_the_page_has_nothing_of_a_run_and_a_strict_policy(stranger, session):
    page = stranger.http.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "script-src 'self';" in page.headers["content-security-policy"]
    for name in ("inspector.js", "start.js", "inspector.css", "plotly.js"):
        assert stranger.http.get(f"/{name}").status_code == 200
    assert session.subjects[0].name not in page.text


def test_a_token_is_good_once(session):
    browser = Browser(session)
    assert browser.post("/session", {"token": "guessed"}).status_code == 403
    assert browser.post("/ask/read", READ).status_code == 403
    assert browser.post("/session", {"token": browser.keys.token}).status_code == 200
    browser.http.cookies.clear()
    assert browser.post("/session", {"token": browser.keys.token}).status_code == 403
    assert browser.post("/ask/read", READ).status_code == 403
    assert browser.post("/session", {"token": 1}).status_code == 400


WRONG = {
    "the name of another site": ({"host": "evil.example"}, 403),
    "the name of another site with our port": ({"host": f"evil.example:{PORT}"}, 403),
    "another port": ({"host": "127.0.0.1:80"}, 403),
    "no port": ({"host": "127.0.0.1"}, 403),
    "another address of this machine": ({"host": f"0.0.0.0:{PORT}"}, 403),
    "another origin": ({"origin": "https://evil.example"}, 403),
    "another port's origin": ({"origin": "http://127.0.0.1:3000"}, 403),
    "an origin that ends like ours": ({"origin": f"http://127.0.0.1:{PORT}.evil.example"}, 403),
    "an origin with us as its user": ({"origin": f"http://127.0.0.1:{PORT}@evil.example:{PORT}"}, 403),
    "our origin by another protocol": ({"origin": f"https://127.0.0.1:{PORT}"}, 403),
    "the origin of a file": ({"origin": "null"}, 403),
    "no origin": ({"origin": None}, 403),
    "another site, as the browser says": ({"sec_fetch_site": "cross-site"}, 403),
    "another origin of this site, as the browser says": ({"sec_fetch_site": "same-site"}, 403),
    "a wrong cookie": ({"cookie": f"gateflow-{PORT}=guessed"}, 403),
    "no cookie that anybody could read": ({"cookie": "\x01=;;="}, 403),
    "a form": ({"content_type": "application/x-www-form-urlencoded"}, 415),
    "a form that says text": ({"content_type": "text/plain"}, 415),
    "no type": ({"content_type": None}, 415),
}


# A token is exchanged without a cookie.
CASES = [
    (path, wrong)
    for path in ("/ask/read", "/session")
    for wrong in WRONG
    if path == "/ask/read" or "cookie" not in wrong
]


@pytest.mark.parametrize(("path", "wrong"), CASES)
def test_strangers_are_refused(friend, path, wrong):
    headers, status = WRONG[wrong]
    if "cookie" in headers:
        friend.http.cookies.clear()
    answer = friend.post(path, {"token": friend.keys.token} if path == "/session" else READ, **headers)
    assert answer.status_code == status
    assert "tokens" not in answer.text


def test_too_much_is_refused(friend):
    long = b'{"text": "' + b"a" * LARGEST_BODY + b'"}'
    assert friend.post("/ask/read", long).status_code == 413
    # As it comes in pieces, without its length.
    piecewise = friend.http.post(
        "/ask/read", content=iter([b"x" * 65536] * 8), headers={"origin": OWN, "content-type": "application/json"}
    )
    assert piecewise.status_code == 413
    for body in (b"", b"{", b"[]", b'{"text": NaN}', b"[" * 50_000, b'{"text": "\xff"}', {"text": "a " * 2500}):
        answer = friend.post("/ask/read", body)
        assert answer.status_code == 400
        assert answer.json()["error"]
    many = [{"layer": "layer.l0", "part": "c", "value": 0.0, "begin": 0, "end": 1}] * 9
    assert friend.post("/ask/intervention", {**READ, "place": 2, "holds": many}).status_code == 400
    assert friend.post("/export", {"state": "{}", "questions": [["read", READ]] * 300}).status_code == 400


ELSEWHERE = (
    "/config.toml /model.safetensors /../config.toml /%2e%2e/config.toml /..%2fconfig.toml /page.html /__init__.py"
)
ELSEWHERE += " //etc/passwd /inspector.js/../page.html /ask/../config.toml /.%00./x /file.html /INSPECTOR.JS"


@pytest.mark.parametrize("path", ELSEWHERE.split())
def test_no_other_file_is_served(friend, path):
    assert friend.http.get(path).status_code in (403, 404, 405)


def test_other_methods_are_refused(friend):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = friend.http.request(method, "/ask/read", headers={"origin": OWN})
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers
    assert friend.http.get("/ask/read").status_code == 405


def test_work_goes_beside_and_ends(friend):
    with friend.http:
        number = friend.post("/work/reach", READ).json()["work"]
        events = friend.http.get(f"/work/{number}").text.split("\n\n")
        assert '"layers"' in events[-2]
        assert events[-2].startswith("event: answer")
        number = friend.post("/work/alike", {"text": "the cats"}).json()["work"]
        assert "event: failed" in friend.http.get(f"/work/{number}").text
        assert friend.post(f"/work/{number}/cancel", {}).json() == {"ok": True}
    assert friend.post("/ask/reach", READ).status_code == 400
    assert friend.post("/work/read", READ).status_code == 400
    assert friend.post("/work/99/cancel", {}).status_code == 400
    assert friend.http.get("/work/99").status_code == 400


def test_work_can_be_cancelled(session):
    from gateflow.inspector.jobs import Jobs

    jobs = Jobs(session)
    jobs._copy, jobs._worker_waits = session, None
    asked = json.dumps({**READ, "layer": "layer.l0", "part": "input", "threshold": -1, "span": {"begin": 0, "end": 1}})
    first = jobs.job(jobs.start("alike", asked.encode()))
    second = jobs.job(jobs.start("alike", asked.encode()))
    second.stop.set()
    assert first.ended.wait(30)
    assert second.ended.wait(30)
    assert first.answer is not None
    assert (second.answer, second.error) == (None, "")
    jobs.close()


def test_what_can_be_asked_is_published(friend):
    schema = friend.http.get("/schema").json()
    assert schema["attribution"]["question"]["additionalProperties"] is False
    assert "surprise" in json.dumps(schema["read"]["answer"])


def test_an_export_holds_text_and_cannot_be_more(friend):
    evil = "</script><script>alert(1)</script>"
    recorded = {"state": json.dumps({"text": evil}), "questions": [["read", READ], ["read", {"text": evil}]]}
    page = friend.post("/export", recorded)
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "default-src 'none'" in page.text
    assert not any(f'{kind}="http' in page.text.partition("<body>")[0] for kind in ("src", "href"))
    assert friend.post("/export", {"state": "{}", "questions": [["rm", {}]]}).status_code == 400


def test_an_address_that_others_reach_is_asked_for_by_addresses_alone(session):
    browser = Browser(session, host="0.0.0.0")  # it is what is tried
    assert browser.http.get("/", headers={"host": f"192.0.2.7:{PORT}"}).status_code == 200
    assert browser.http.get("/", headers={"host": f"evil.example:{PORT}"}).status_code == 403


def test_where_it_listens():
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1")] == [
        *[True] * 3,
        *[False] * 3,
    ]
    with listen("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="choose others"):
        listen("127.0.0.1", taken.getsockname()[1])
