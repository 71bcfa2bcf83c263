"""No network, and clocks that move only when told."""

import socket

import pytest


@pytest.fixture
def no_network(monkeypatch):
    """Refuse every connection, and fail at the end if one was tried, even where its refusal was swallowed."""
    asked = []

    def refuse(*arguments):
        asked.append(arguments[1:])
        raise OSError("there is no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert asked == []


class Clock:
    """Stands for the module `time`: sleeping moves it."""

    def __init__(self):
        self.now_s = 0.0

    def perf_counter(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def new_clock():
    """Makes clocks, for tests that need one per example."""
    return Clock
