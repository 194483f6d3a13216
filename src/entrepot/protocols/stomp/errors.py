"""StompError: what a client did wrong, or cannot have; it is told by an ERROR frame, and its connection ends."""

from __future__ import annotations


class StompError(Exception):
    """`text` is the header `message`, `detail` the body. `receipt`: that of the frame which it is about, as the client wrote it."""

    def __init__(self, text: str, detail: str = "", receipt: bytes = b"") -> None:
        super().__init__(text)
        self.text = text
        self.detail = detail
        self.receipt = receipt
