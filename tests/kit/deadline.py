"""Waiting: for a condition, with a deadline, never for a time."""

import time

POLL_S = 0.005


def until(predicate, seconds, what=""):
    """Return predicate()'s first true value; fail when the time is up."""
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(
                f"not within {seconds} s: {what or predicate.__name__}")
        time.sleep(POLL_S)
