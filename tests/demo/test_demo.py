"""The page of `yoyak demo` in a real browser, and its server as others may call it."""

import json
import shutil
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from browser import browser, find_chromium
from onnx_models import save_model
from servers import yoyak
from yoyak import cli
from yoyak.demo.server import page
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export

SHORT = "#Person1#: 네"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_model(save_model("bart", folder / "torch"), folder / "onnx", Export(precision="fp32"))
    return folder / "onnx"


@pytest.fixture
def project(project):
    shutil.copy(Path(__file__).parents[2] / "params.yaml", project)
    return project


@pytest.fixture
def alone():
    """A page whose model's server is gone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        gone = free.getsockname()[1]
    with page("127.0.0.1", 0, url=f"http://127.0.0.1:{gone}", about={"model": "m"}) as url:
        yield url


def ask(url, body=None, kind="application/json"):
    """Return status, headers and text of an answer; a body is posted."""
    request = urllib.request.Request(url, body, {"Content-Type": kind} if body is not None else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


@pytest.mark.slow
@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium or Chrome on the PATH")
def test_a_person_reads_summaries_on_the_page(project, exported):
    with yoyak("demo", str(exported), "--port", "0", ready="Ctrl-C ends it") as started, browser() as tab:
        tab.open(started.url)
        tab.until("document.querySelector('#model').textContent")
        assert tab.run("document.querySelector('#model').textContent").endswith("exported in fp32, without torch")
        assert tab.run("document.documentElement.lang") == "ko"
        assert tab.run("document.querySelector('#max_new_tokens').placeholder") == "12 (기본값)"

        def summarized(seen="!document.querySelector('#summary').hidden"):
            tab.click("#submit")
            tab.until("!document.querySelector('#submit').disabled")
            tab.until(seen)
            return tab.run("document.querySelector('#summary').textContent")

        failed = "!document.querySelector('#error').hidden"
        summarized(failed)
        assert tab.run("document.querySelector('#error').textContent") == "요약할 대화를 먼저 붙여 넣으십시오."

        tab.click("#samples button")
        assert "호텔" in tab.run("document.querySelector('#samples button').textContent")
        assert "빈방" in tab.run("document.querySelector('#dialogue').value")
        sample = summarized()
        assert sample
        assert tab.run("document.querySelector('#error').hidden")
        assert "뒷부분은 읽지 않고" in tab.run("document.querySelector('#answer').innerText")

        tab.fill("#dialogue", SHORT)
        short = summarized()
        assert short != sample
        assert tab.run("document.querySelector('#truncated').hidden")
        tab.fill("#max_new_tokens", "2")
        tab.fill("#num_beams", "3")
        assert len(summarized()) < len(short)

        tab.fill("#num_beams", "99")
        summarized(failed)
        said = "params.num_beams is 99, but at most 32 is allowed."
        assert tab.run("document.querySelector('#error').textContent") == f"요약하지 못했습니다: {said}"
        assert tab.run("document.querySelector('#summary').hidden")
        tab.click("#language")
        assert tab.run("document.querySelector('#error').textContent") == f"No summary: {said}"
        assert tab.run("document.querySelector('#submit').textContent") == "Summarize"
        tab.fill("#num_beams", "0")
        summarized(failed)
        assert tab.run("document.querySelector('#error').textContent") == "num_beams takes a whole number of 1 or more."

        tab.open(f"{started.url}/", width=390, dark=True, language="en")
        tab.until("document.querySelector('#model').textContent")
        assert tab.run("document.querySelector('h1').textContent") == "Paste a dialogue and read its summary"
        assert tab.run("document.documentElement.scrollWidth") == 390
        tab.fill("#dialogue", "<img src=x onerror=alert(1)> 네")
        summarized()

        assert started.end() == 130
        tab.click("#submit")
        tab.until(failed)
        assert "`yoyak demo`" in tab.run("document.querySelector('#error').textContent")
        assert all(asked.startswith((started.url, "data:")) for asked in tab.requests)
        assert tab.errors == []


def test_the_page_uses_nothing_from_elsewhere(alone):
    status, headers, text = ask(f"{alone}/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    for path in ("/page.css", "/page.js"):
        text += ask(alone + path)[2]
    assert "http://" not in text
    assert "https://" not in text
    assert json.loads(ask(f"{alone}/about")[2]) == {"model": "m"}


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "said"),
    [
        ("/summarize", {"dialogue": SHORT}, "application/json", 502, "does not answer"),
        ("/summarize", {"dialogue": SHORT}, "text/plain", 415, "A request is JSON, and says so."),
        ("/summarize", {"text": SHORT}, "application/json", 400, 'A request is JSON with a "dialogue".'),
        ("/summarize", [SHORT], "application/json", 400, 'A request is JSON with a "dialogue".'),
        ("/summarize", {"dialogue": "네" * (2 << 20)}, "application/json", 413, "A request has at most 4 MiB."),
        ("/", {"dialogue": SHORT}, "application/json", 404, "There is nothing at this address."),
        ("/../server.py", None, "", 404, "There is nothing at this address."),
    ],
)
def test_a_wrong_request_is_told_why(alone, path, body, kind, status, said):
    found = ask(alone + path, None if body is None else json.dumps(body, ensure_ascii=False).encode(), kind)
    assert found[0] == status
    assert said in json.loads(found[2])["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "127.0.0.1:1"], "--url '127.0.0.1:1' is no address: give the one that `yoyak serve` says"),
        (["--url", "http://127.0.0.1:1/"], "No model's server answers at http://127.0.0.1:1: start it with"),
        (["exports/bart", "--url", "http://127.0.0.1:1"], "--url names a server that has its model"),
        (["nowhere"], "There is no model at 'nowhere'"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(project, arguments, said, capsys):
    assert cli.main(["demo", "--port", "0", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"yoyak demo: {said}")
    assert error.count("\n") == 1
