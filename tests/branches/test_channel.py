import os
import socket

import pytest

from energyaware.branches.channel import Channel
from energyaware.errors import ChannelClosedError, MessageTooLargeError


@pytest.fixture
def ends():
    ours, theirs = (Channel(end) for end in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_arrive_whole_and_in_order(ends):
    ours, theirs = ends
    ours.send("run", ids=["a\nb", "ü"])
    ours.send("next")
    assert theirs.receive() == {"kind": "run", "ids": ["a\nb", "ü"]}
    assert theirs.receive() == {"kind": "next"}


def test_a_closed_end_is_an_error_for_both(ends):
    ours, theirs = ends
    theirs.close()
    with pytest.raises(ChannelClosedError):
        ours.receive()
    with pytest.raises(ChannelClosedError):
        ours.send("next")


@pytest.mark.parametrize(
    "rest",
    [
        b'{"kind": "fini',
        b"no json\n",
        b"[" * 50_000 + b"\n",
        b"3\n",
        b"[]\n",
        b"{}\n",
        b'{"kind": 3}\n',
        b"\xff\n",
        b"\n",
    ],
)
def test_a_message_that_is_none_is_the_end(rest):
    ours, theirs = socket.socketpair()
    theirs.sendall(rest)
    theirs.close()
    channel = Channel(ours)
    with pytest.raises(ChannelClosedError):
        channel.receive()
    channel.close()


def test_a_descriptor_that_nobody_holds_names_the_command():
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(ChannelClosedError, match="energyaware compare"):
        Channel.inherited(writing)


def test_an_inherited_end_is_not_handed_on():
    ours, theirs = socket.socketpair()
    descriptor = theirs.detach()
    os.set_inheritable(descriptor, True)
    channel = Channel.inherited(descriptor)
    assert not os.get_inheritable(descriptor)
    channel.close()
    ours.close()


def test_a_message_without_an_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("energyaware.branches.channel._MOST_BYTES", 100)
    ours, theirs = socket.socketpair()
    theirs.sendall(b'{"kind": "' + b"x" * 500)  # and it stays open
    channel = Channel(ours)
    with pytest.raises(ChannelClosedError):
        channel.receive()
    channel.close()
    theirs.close()


def test_a_message_that_nobody_would_read_is_not_sent(monkeypatch):
    monkeypatch.setattr("energyaware.branches.channel._MOST_BYTES", 100)
    ours, theirs = map(Channel, socket.socketpair())
    with pytest.raises(MessageTooLargeError, match="at most"):
        ours.send("finished", text="x" * 100)
    ours.send("finished", text="short")
    assert theirs.receive() == {"kind": "finished", "text": "short"}
    ours.close()
    theirs.close()
