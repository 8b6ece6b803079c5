"""PageCache: pages of a compressed dump that were read before."""

from __future__ import annotations

import threading

BYTES_KEPT = 64 << 20


class PageCache:
    """The last pages read, by address; shared by the address spaces of a dump.

    libkdumpfile has a cache of its own, but searches it from end to end: a miss costs
    54 us with 16384 pages and 13 us with 512, so that one is left small. A dump does not
    change, so nothing here ever grows stale.
    """

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self._limit = BYTES_KEPT // page_size
        self._pages: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self.get = self._pages.get  # safe without the lock: atomic under the GIL

    def put(self, address: int, page: bytes) -> None:
        """Keep a page; the oldest one goes when there are too many."""
        with self._lock:
            if len(self._pages) >= self._limit:
                del self._pages[next(iter(self._pages))]
            self._pages[address] = page
