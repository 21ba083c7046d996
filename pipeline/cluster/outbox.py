"""What workers send to the process that started them."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Outbox:
    """A queue on this node. Workers put a name and a content into it; `receive` is called with both, here."""

    def __init__(self, receive: Callable[[str, Any], None]):
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self._receive = receive

    def drain(self) -> None:
        """Receive all that has come."""
        while not self.queue.empty():
            self._receive(*self.queue.get())

    @contextmanager
    def drained(self) -> Iterator[None]:
        """Receive in a thread, twice a second, while the `with` lasts. Raises what receiving raised."""
        done = threading.Event()

        def poll() -> None:
            while not done.wait(0.5):
                self.drain()
            self.drain()

        with ThreadPoolExecutor(1) as threads:
            polling = threads.submit(poll)
            try:
                yield
            finally:
                done.set()
            polling.result()
