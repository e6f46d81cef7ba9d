"""The desk: one thread that writes the answers of all clients.

An engine takes one call at a time, so its calls are made by one thread, which begins with the first order and ends when
nothing has come for a while. Orders that come within `GATHER` of the first begin together. So many answers are in the
house at most; who comes beyond them is told to come again.
"""

from __future__ import annotations

import threading
import time

from flyroom.serve.drivers import Driver
from flyroom.serve.errors import Refusal
from flyroom.serve.orders import Order

GATHER = 0.003  # seconds
REST = 10.0  # seconds without an order after which the thread ends
AGAIN = 1  # seconds after which a client that was turned away may ask again


class Desk:
    """Takes orders from any thread. `places`: how many answers may wait or be written at once."""

    def __init__(self, driver: Driver, *, places: int) -> None:
        self._driver, self._places = driver, places
        self._changed = threading.Condition()
        self._inbox: list[Order] = []
        self._orders: list[Order] = []
        self._thread: threading.Thread | None = None
        self._closing = False
        self.answered = 0  # orders so far, without those that were refused

    def submit(self, order: Order) -> None:
        """Put an order in. Raises Refusal: 429 where the house is full (a lone order is never too large), 503 where the
        endpoint closes.
        """
        with self._changed:
            if self._closing:
                raise _closing()
            pending = sum(len(entry.asks) for entry in self._orders if not entry.is_done)
            if pending and pending + len(order.asks) > self._places:
                message = f"{pending} answers are waited for, and {self._places} may be; ask again later"
                raise Refusal(429, message, code="rate_limit_exceeded", wait=AGAIN)
            self._inbox.append(order)
            self._orders.append(order)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="flyroom-desk", daemon=True)
                self._thread.start()
            self._changed.notify()

    def cancel(self, order: Order) -> None:
        """Nobody waits for this order any more. Does nothing to one that has ended."""
        order.is_gone = True

    def dismiss(self) -> None:
        """End all orders, take none until `admit`, and wait for the thread: whoever comes next has the engine alone."""
        with self._changed:
            self._closing, thread = True, self._thread
            for order in self._orders:
                if not order.is_done:
                    order.refuse(_closing())
            self._changed.notify()
        if thread:
            thread.join()
        self._driver.reset()

    def admit(self) -> None:
        """Take orders again."""
        with self._changed:
            self._closing = False

    def _run(self) -> None:
        while (orders := self._collect()) is not None:
            for order in orders:
                self._begin(order)
            try:
                self._driver.step()
            except Exception as error:  # an engine that fails must not leave clients waiting
                self._fail(error)
            self._clear()

    def _collect(self) -> list[Order] | None:
        """What came in; None where the thread is to end."""
        with self._changed:
            gathers = not (self._inbox or self._driver.busy)
            if gathers:
                self._changed.wait_for(lambda: self._inbox or self._closing, timeout=REST)
            if self._closing or (gathers and not self._inbox):
                self._thread = None
                return None
        if gathers:
            time.sleep(GATHER)
        with self._changed:
            orders, self._inbox = self._inbox, []
        return orders

    def _begin(self, order: Order) -> None:
        if order.is_done:
            return
        try:
            self._driver.begin(order)
        except Refusal as refusal:
            order.refuse(refusal)
        except ValueError as error:  # roles that the chat template refuses, and the like
            order.refuse(Refusal(400, f"{order.param}: {error}", param=order.param))
        except Exception as error:
            order.refuse(fault(error))

    def _fail(self, error: Exception) -> None:
        self._driver.reset()
        with self._changed:
            for order in self._orders:
                if not order.is_done and order not in self._inbox:
                    order.refuse(fault(error))

    def _clear(self) -> None:
        with self._changed:
            self.answered += sum(order.is_answered for order in self._orders)
            self._orders = [order for order in self._orders if not order.is_done]


def _closing() -> Refusal:
    return Refusal(503, "the endpoint is closing", code="closing")


def fault(error: Exception) -> Refusal:
    """What a client is told of a fault of ours."""
    return Refusal(500, f"{type(error).__name__}: {error} (a fault behind this endpoint)", code="server_error")
