"""What is derived of a step is derived once, however many threads ask: nodes are compared by identity."""

import threading
import time

from gateflow.compiler.once import once


def test_threads_that_ask_at_the_same_time_get_one_value():
    class Slow:
        made = 0

        @once
        def value(self):
            type(self).made += 1
            time.sleep(0.05)
            return object()

    slow, found = Slow(), []
    threads = [threading.Thread(target=lambda: found.append(slow.value)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Slow.made == 1
    assert len({id(value) for value in found}) == 1
    assert isinstance(Slow.value, once)
