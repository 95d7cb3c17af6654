"""Ctrl-C is noted once; the second one is the usual one."""

import signal
import threading

import pytest

from gateflow.training.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_second_acts_as_before(number):
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(number)
        assert interrupt.asked
        assert signal.getsignal(number) is before
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_nothing_is_caught():
    def body():
        with Interrupt() as interrupt:
            seen.append(interrupt.asked)

    seen = []
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [False]
