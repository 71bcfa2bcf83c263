"""No code path of ours opens a connection that leaves the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

# Python loads it at its start. An audit hook sees every socket of this process, whoever kept which function, and
# cannot be taken back. Attempts are written down too, since libraries swallow the refusal.
BLOCKER = """
import ipaddress
import os
import socket
import sys


def _leaves(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        connection, address = arguments
        if address is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        host = address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
        if host is None:
            return False
    else:
        return False
    host = host.decode() if isinstance(host, bytes) else str(host)
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host not in ("", "localhost")


def _watch(event, arguments):
    if event.startswith("socket.") and _leaves(event, arguments):
        with open(os.environ["ATTEMPTS"], "a", encoding="utf-8") as file:
            file.write(f"{event} {arguments[-1] if event == 'socket.connect' else arguments[0]}\\n")
        raise OSError(f"{event} is refused: it leaves the machine")


sys.addaudithook(_watch)
"""

# Services that CodeCarbon would ask if it heeded the settings of the user's own tracker.
TEMPTATION = {
    "CODECARBON_ELECTRICITYMAPS_API_TOKEN": "secret",
    "CODECARBON_CO2_SIGNAL_API_TOKEN": "secret",
    "CODECARBON_EMISSIONS_ENDPOINT": "http://192.0.2.1/emissions",
    "CODECARBON_SAVE_TO_API": "true",
    "CODECARBON_CLOUD_PROVIDER": "gcp",
    "CODECARBON_CLOUD_REGION": "us-east1",
}


@pytest.fixture
def attempts(tmp_path, monkeypatch):
    """Block the network in every Python that is started from here; what was tried stands in this file."""
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker" / "sitecustomize.py").write_text(BLOCKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "blocker"))
    monkeypatch.setenv("ATTEMPTS", str(tmp_path / "attempts"))
    for name, value in TEMPTATION.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "attempts"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "call",
    [
        "socket.create_connection(('192.0.2.1', 80), timeout=1)",
        "socket.socket().connect(('192.0.2.1', 80))",
        "socket.socket().connect_ex(('192.0.2.1', 80))",
        "socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "socket.getaddrinfo('example.org', 80)",
        "socket.gethostbyname('example.org')",
        "__import__('urllib.request').request.urlopen('http://192.0.2.1/', timeout=1)",
        "__import__('requests').get('http://example.org/', timeout=1)",
    ],
)
def test_the_block_refuses_what_leaves_the_machine(attempts, call):
    code = f"import socket\ntry:\n    {call}\nexcept OSError as error:\n    print(error)"
    assert "it leaves the machine" in run(code)
    assert attempts.read_text()


def test_the_block_lets_the_machine_talk_to_itself(attempts):
    code = """
import socket, tempfile
for family, host in ((socket.AF_INET, "127.0.0.1"),):
    with socket.create_server((host, 0), family=family) as server:
        socket.create_connection(server.getsockname()[:2], timeout=5).close()
socket.getaddrinfo("localhost", 80)
folder = tempfile.mkdtemp()
with socket.socket(socket.AF_UNIX) as server:
    server.bind(f"{folder}/s")
    server.listen()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{folder}/s")
print("connected")
"""
    assert run(code) == "connected\n"
    assert not attempts.exists()


def test_no_meter_and_no_carbon_table_asks_the_network(attempts):
    code = """
from energyaware.meters.carbon import intensity
from energyaware.meters.gpu_state import open_gpu_state
from energyaware.meters.selection import open_meter, survey

print(*(report.name for report in survey(None, {}) if report.works))
for name in ("auto", "cpu-time", "codecarbon"):
    meter = open_meter(name, None, {})
    print(*meter.stop(meter.start()))
    meter.close()
for place in (None, "DEU", "USA-CA", "CAN-quebec", "CHN-BJ", "SWE-SE3"):
    assert intensity(place).g_per_kwh > 0
state = open_gpu_state()
"""
    lines = run(code).splitlines()
    assert {"cpu-time", "codecarbon"} <= set(lines[0].split())
    assert len(lines) == 4
    assert not attempts.exists(), attempts.read_text()


@pytest.mark.parametrize("meter", ["cpu-time", "codecarbon"])
def test_a_measured_run_asks_no_network(pytester, attempts, meter):
    pytester.makepyfile("def test_sum(energy):\n    assert energy(sum, range(1000)) == 499500\n")
    result = pytester.runpytest_subprocess(
        "--energy", f"--energy-meter={meter}", "--energy-rounds=2", "--energy-country=USA-CA", "--energy-report=out"
    )
    assert result.ret == 0
    assert (Path(pytester.path) / "out" / "energy.md").exists()
    assert not attempts.exists(), attempts.read_text()
