"""Stop a fit at Ctrl-C, even if the estimator that is fitted catches KeyboardInterrupt."""

import signal
import threading
from contextlib import contextmanager


class _Interrupted(BaseException):
    """Ctrl-C was pressed. No library catches this class."""


@contextmanager
def stops_at_interrupt():
    """Raise KeyboardInterrupt from the block at once after Ctrl-C.

    A skorch net catches KeyboardInterrupt in its ``fit`` and returns, trained for fewer epochs than
    it should be. The next fold, or the next candidate of a search, would then begin, and the cache
    would keep the half-trained net. Inside the block Ctrl-C raises another exception, which skorch
    does not catch. skorch's EarlyStopping raises KeyboardInterrupt itself, without a signal: it
    still ends a training as usual.

    Python receives signals in the main thread of a process only. In other threads, and if the
    program ignores Ctrl-C or handles it without KeyboardInterrupt, the block changes nothing.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return

    def interrupt(signum, frame):
        try:
            handler(signum, frame)
        except KeyboardInterrupt:
            raise _Interrupted from None

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except _Interrupted:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, handler)
