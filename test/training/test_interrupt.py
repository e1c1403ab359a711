"""Signals that ask a run to stop: the first is heard, an echo is not, patience ends."""

from __future__ import annotations

import os
import signal

import pytest

from monotakd_ros.training import interrupt
from monotakd_ros.training.interrupt import InterruptLatch, StopRequested, sigterm_as_ctrl_c

BOTH = (signal.SIGINT, signal.SIGTERM)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_is_delivered_where_the_state_is_whole(number):
    with InterruptLatch(BOTH) as latch:
        latch.check()
        send(number)
        with pytest.raises(StopRequested):
            latch.check()


def test_an_echo_of_ctrl_c_does_not_break_what_is_being_saved():
    with InterruptLatch(BOTH) as latch:
        for _ in range(3):
            send(signal.SIGINT)
        assert latch.requested


def test_ctrl_c_again_later_ends_it_at_once_and_sigterm_never_does(monkeypatch):
    monkeypatch.setattr(interrupt, "PATIENCE_S", 0.0)
    with InterruptLatch(BOTH) as latch:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert latch.requested
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_what_handled_signals_before_does_so_again():
    before = [signal.getsignal(number) for number in BOTH]
    with InterruptLatch(BOTH):
        assert [signal.getsignal(number) for number in BOTH] != before
    assert [signal.getsignal(number) for number in BOTH] == before


def test_before_training_sigterm_is_as_ctrl_c():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_ctrl_c():
        send(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
