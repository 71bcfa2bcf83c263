"""The example in docs/own_meter.md, run as it stands there."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "own_meter.md"
STEP_WH = 0.001  # 3.6 J


# A plug that stands still while nobody asks draws no idle power worth watching for seconds.
QUICK = """
from energyaware.measure import idle

idle.idle_power_w.__defaults__ = (0.05, idle.time.sleep)
"""


class Plug(ThreadingHTTPServer):
    """A plug whose counter moves by one step per question, so that every difference is known."""

    def __init__(self):
        self.asked = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        with self.server.lock:
            self.server.asked += 1
            body = json.dumps({"energy_wh": 1234.5 + STEP_WH * self.server.asked}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Keep quiet."""


@pytest.fixture
def plug():
    with Plug() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def repository(pytester, monkeypatch):
    """A repository with the two blocks of code from the document."""
    monkeypatch.delenv("CI", raising=False)
    # A proxy must not come between.
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:1/")
    monkeypatch.setenv("COLUMNS", "200")
    conftest, test = re.findall(
        r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    pytester.makeconftest(conftest)
    pytester.makepyfile(test_sorting=test, quick=QUICK)
    return pytester


def test_the_number_that_is_stored_is_the_plugs(repository, monkeypatch, plug):
    monkeypatch.setenv("PLUG_URL", plug.url)
    monkeypatch.setenv("PLUG_RESOLUTION_S", "0.0001")
    result = repository.runpytest_subprocess("-pquick", "--energy", "--energy-meter=plug", "--energy-rounds=3")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*wall measured by plug*", "*Energy is measured (wall: plug)*"])
    (file,) = repository.path.glob(".benchmarks/*/*.json")
    stored = json.loads(file.read_text())
    (bench,) = stored["benchmarks"]
    domain = bench["energy"]["domains"]["wall"]
    assert (domain["meter"], domain["source"], domain["resolution_s"]) == ("plug", "measured", 0.0001)
    readings = [entry["reading"]["energy_j"] for entry in bench["energy"]["rounds"]]
    # One question opens a window, the next closes it.
    assert readings == [{"wall": pytest.approx(3.6)}] * 3
    # So does the session, whose total holds every question of the rounds and no other joules.
    total_j = stored["energyaware"]["totals"]["energy_j"]
    assert total_j == pytest.approx(3.6 * round(total_j / 3.6))
    assert 3 * 3.6 < total_j < 3.6 * plug.asked


def test_a_plug_that_does_not_answer_is_named_with_a_remedy(repository, monkeypatch, plug):
    monkeypatch.setenv("PLUG_URL", f"{plug.url[:-1]}0/")  # no such port
    result = repository.runpytest_subprocess("--energy", "--energy-meter=plug")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the plug at * does not answer*see PLUG_URL and the bridge*"])
    assert plug.asked == 0
