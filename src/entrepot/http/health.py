"""What the HTTP port answers: /healthz (the process lives), /readyz (it serves), /metrics (Prometheus).

/readyz is 200 once every listener accepts, and 503 with the reason while the store recovers, while the broker stops, and after the store has failed.
"""

from __future__ import annotations

from collections.abc import Callable

from entrepot.http.session import Later, Request, Response
from entrepot.metrics import Metrics


class Health:
    """Answers requests. `why_not_ready` is None when ready, else the reason in words. `exposed`: what /metrics answers, if not the figures of `metrics`."""

    def __init__(self, metrics: Metrics, why_not_ready: Callable[[], str | None], exposed: Callable[[], Response | Later] | None = None) -> None:
        self._metrics = metrics
        self._why_not_ready = why_not_ready
        self._exposed = exposed or self._own_figures

    def __call__(self, request: Request) -> Response | Later:
        """Never raises for what was asked."""
        answer = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._exposed, "/": self._index}.get(request.path)
        if answer is None:
            return Response(404, b"there are /healthz, /readyz and /metrics\n")
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"GET or HEAD\n", headers={"allow": "GET, HEAD"})
        return answer()

    def _index(self) -> Response:
        return Response(200, b"Entrepot: /healthz /readyz /metrics\n")

    def _healthz(self) -> Response:
        return Response(200, b"ok\n")

    def _readyz(self) -> Response:
        why = self._why_not_ready()
        return Response(200, b"ready\n") if why is None else Response(503, why.encode() + b"\n")

    def _own_figures(self) -> Response:
        from entrepot.http.exposition import CONTENT_TYPE, exposition  # its library is slow to import: not before listening

        return Response(200, exposition(self._metrics), CONTENT_TYPE)
