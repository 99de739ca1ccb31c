"""The page of `yoyak demo` in a real browser, and its server as others may call it."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser import chromium, find_chromium
from onnx_models import save_model
from servers import yoyak
from yoyak import cli
from yoyak.demo.app import ModelInfo
from yoyak.demo.server import running_page
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export

SHORT = "#Person1#: 네"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_model(save_model("bart", folder / "torch"), folder / "onnx", Export(precision="fp32"))
    return folder / "onnx"


@pytest.fixture
def project(project: Path) -> Path:
    shutil.copy(Path(__file__).parents[2] / "params.yaml", project)
    return project


@pytest.fixture
def alone() -> Iterator[str]:
    """A page whose model's server is gone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        unused_port = free.getsockname()[1]
    model_url = f"http://127.0.0.1:{unused_port}"
    with running_page("127.0.0.1", 0, model_url=model_url, model=ModelInfo(model="m")) as url:
        yield url


def ask(url: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, Message, str]:
    """Return status, headers and text of an answer; a body is posted."""
    request = urllib.request.Request(url, body, {"Content-Type": kind} if body is not None else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def watch(page: Page, url: str) -> tuple[list[str], list[str]]:
    """Open the page; return what it complains about and which addresses it asks."""
    errors: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # A request that is refused is no fault of the page; anything else in the console is.
    refused = "Failed to load resource"
    page.on("console", lambda message: None if message.text.startswith(refused) else errors.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    expect(page.locator("#model")).not_to_be_empty()
    return errors, requests


def summarize(page: Page, text: str | None = None, expected: str = "#summary") -> str:
    """Submit the form, wait for what it should show and return its text."""
    if text is not None:
        page.fill("#dialogue", text)
    page.click("#submit")
    expect(page.locator(expected)).to_be_visible(timeout=60_000)
    return page.text_content(expected) or ""


@pytest.mark.slow
@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium or Chrome on the PATH")
def test_summaries_appear_on_the_page(project: Path, exported: Path) -> None:
    with yoyak("demo", str(exported), "--port", "0", ready="Ctrl-C ends it") as started, chromium() as browser:
        page = browser.new_page(locale="ko-KR", viewport={"width": 1280, "height": 900})
        errors, requests = watch(page, started.url)
        expect(page.locator("#model")).to_have_text(re.compile("exported in fp32, without torch$"))
        assert page.get_attribute("html", "lang") == "ko"
        assert page.get_attribute("#max_new_tokens", "placeholder") == "12 (기본값)"
        assert summarize(page, expected="#error") == "요약할 대화를 먼저 붙여 넣으십시오."

        page.get_by_role("button", name="호텔 예약").click()
        assert "빈방" in page.input_value("#dialogue")
        sample = summarize(page)
        assert sample
        expect(page.locator("#error")).to_be_hidden()
        expect(page.locator("#truncated")).to_be_visible()

        short = summarize(page, SHORT)
        assert short != sample
        expect(page.locator("#truncated")).to_be_hidden()
        page.fill("#max_new_tokens", "2")
        page.fill("#num_beams", "3")
        assert len(summarize(page)) < len(short)

        page.fill("#num_beams", "99")
        korean = summarize(page, expected="#error")
        assert re.search(r"num_beams.*32", korean)
        expect(page.locator("#summary")).to_be_hidden()
        page.click("#language")
        english = page.text_content("#error") or ""
        assert english != korean
        assert re.search(r"num_beams.*32", english)
        expect(page.locator("#submit")).to_have_text("Summarize")
        page.fill("#num_beams", "0")
        assert summarize(page, expected="#error").startswith("num_beams ")

        narrow = browser.new_page(locale="en-US", viewport={"width": 390, "height": 844}, color_scheme="dark")
        more_errors, more_requests = watch(narrow, f"{started.url}/")
        expect(narrow.locator("h1")).to_have_text("Paste a dialogue and read its summary")
        assert narrow.evaluate("document.documentElement.scrollWidth") == 390
        summarize(narrow, "<img src=x onerror=alert(1)> 네")

        # The page is a part of the model's server.
        body = json.dumps({"inputs": [SHORT]}).encode()
        status, _, text = ask(f"{started.url}/invocations", body)
        assert (status, len(json.loads(text)["predictions"])) == (200, 1)
        status, _, text = ask(f"{started.url}/summarize", json.dumps({"dialogue": SHORT, "num_beams": 99}).encode())
        assert (status, json.loads(text)["message"]) == (400, "params.num_beams may be at most 32.")

        assert started.end() == 130
        assert "`yoyak demo`" in summarize(narrow, expected="#error")
        assert all(url.startswith((started.url, "data:")) for url in [*requests, *more_requests])
        assert errors + more_errors == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have 127.0.0.1 alone")
def test_a_server_answers_at_each_address_of_this_machine_and_to_no_foreign_name_there() -> None:
    with running_page("127.0.0.2", 0, model_url="http://127.0.0.1:9", model=ModelInfo(model="m")) as url:
        assert url.startswith("http://127.0.0.2:")
        for host, status in (("127.0.0.2", 200), ("localhost", 200), ("127.0.0.3", 400), ("evil.example", 400)):
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
            connection.request("GET", "/model", headers={"Host": host})
            assert connection.getresponse().status == status, host
            connection.close()


def test_the_page_of_another_server_answers_to_the_hosts_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_ALLOWED_HOSTS", "page.example, *.internal")
    with running_page("127.0.0.1", 0, model_url="http://127.0.0.1:9", model=ModelInfo(model="m")) as url:
        for host, status in (("page.example", 200), ("a.internal", 200), ("evil.example", 400)):
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
            connection.request("GET", "/model", headers={"Host": host})
            assert connection.getresponse().status == status, host
            connection.close()


def test_the_page_loads_nothing_from_other_hosts(alone: str) -> None:
    status, headers, text = ask(f"{alone}/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    for path in ("/page.css", "/page.js"):
        text += ask(alone + path)[2]
    assert "http://" not in text
    assert "https://" not in text
    assert json.loads(ask(f"{alone}/model")[2]) == {"model": "m"}


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "why"),
    [
        ("/summarize", {"dialogue": SHORT}, "application/json", 502, "does not answer"),
        ("/summarize", {"dialogue": SHORT}, "text/plain", 415, "JSON"),
        ("/summarize", {"dialogue": SHORT}, "application/x-www-form-urlencoded", 415, "JSON"),
        ("/summarize", {"text": SHORT}, "application/json", 400, "dialogue"),
        ("/summarize", [SHORT], "application/json", 400, "dialogue"),
        ("/summarize", {"dialogue": 3}, "application/json", 400, "dialogue"),
        ("/summarize", {"dialogue": SHORT, "num_beams": "many"}, "application/json", 400, "num_beams"),
        ("/summarize", {"dialogue": "네" * (2 << 20)}, "application/json", 413, "4 MB"),
        ("/", {"dialogue": SHORT}, "application/json", 405, "Method Not Allowed"),
        ("/../server.py", None, "", 404, "nothing at this address"),
        ("/docs", None, "", 404, "nothing at this address"),
        ("/summarize/", {"dialogue": SHORT}, "application/json", 404, "nothing at this address"),
    ],
)
def test_a_wrong_request_gets_a_reason(alone: str, path: str, body: object, kind: str, status: int, why: str) -> None:
    data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
    answered, headers, text = ask(alone + path, data, kind)
    assert answered == status
    assert why in json.loads(text)["message"]
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (rb'{"dialogue": "#Person1#: \ud83d"}', 502),
        (b"[" * 100_000, 400),
        (b'{"dialogue": "\xff"}', 400),
        (b'{"dialogue": "a", "num_beams": ' + b"9" * 6000 + b"}", 400),
    ],
)
def test_a_pathological_json_body_is_answered_with_a_sentence(alone: str, body: bytes, status: int) -> None:
    answered, _, text = ask(f"{alone}/summarize", body)
    assert answered == status
    assert json.loads(text)["message"].endswith(".")


@pytest.mark.parametrize("path", ["/", "/page.js", "/model", "/summarize"])
def test_a_page_of_another_site_cannot_use_it_under_its_own_name(alone: str, path: str) -> None:
    request = urllib.request.Request(alone + path, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code == 400


def test_a_body_without_a_length_is_limited_too(alone: str) -> None:
    connection = http.client.HTTPConnection(alone.removeprefix("http://"), timeout=60)
    chunks = (b"x" * (1 << 20) for _ in range(5))
    connection.request("POST", "/summarize", chunks, {"Content-Type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 413


def test_the_schema_names_what_is_sent_and_answered(alone: str) -> None:
    schema = json.loads(ask(f"{alone}/openapi.json")[2])
    assert set(schema["paths"]) == {"/model", "/summarize"}
    post = schema["paths"]["/summarize"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/SummaryRequest")
    assert {"200", "400", "413", "415", "502"} <= set(post["responses"])
    assert set(schema["components"]["schemas"]["Summary"]["properties"]) == {"summary", "truncated", "read"}
    assert schema["components"]["schemas"]["SummaryRequest"]["required"] == ["dialogue"]


def post_summarize(url: str) -> socket.socket:
    """Return a connection that has sent a dialogue and waits for its summary."""
    waiting = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    body = json.dumps({"dialogue": SHORT}).encode()
    head = "POST /summarize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}"
    waiting.sendall(head.encode() + b"\r\n\r\n" + body)
    return waiting


def test_the_page_stops_at_once_while_a_summary_is_being_written() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        model_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with running_page("127.0.0.1", 0, model_url=model_url, model=ModelInfo(model="m")) as url:
            waiting = post_summarize(url)
            connection, _ = silent.accept()
        # Without the limit, this line would be reached after ten minutes.
        with connection, waiting:
            waiting.settimeout(30)
            assert waiting.recv(1) in (b"", b"H")


def test_a_page_that_is_closed_ends_its_search() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        model_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with running_page("127.0.0.1", 0, model_url=model_url, model=ModelInfo(model="m")) as url:
            with post_summarize(url):
                connection, _ = silent.accept()
            # The model's server ends the search of a client that hangs up.
            with connection:
                connection.settimeout(20)
                while connection.recv(65536):
                    pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "127.0.0.1:1"], "--url '127.0.0.1:1'"),
        (["--url", "http://127.0.0.1:1/"], "http://127.0.0.1:1"),
        (["exports/bart", "--url", "http://127.0.0.1:1"], "--url"),
        (["nowhere"], "'nowhere'"),
    ],
)
def test_what_cannot_be_shown_gives_one_sentence(
    project: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["demo", "--port", "0", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("yoyak demo: ")
    assert message in error
    assert error.count("\n") == 1
