"""The Lambda handlers on this machine, called with the same events that API Gateway would send."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

import gimel
from gimel import access, connection, gateway
from gimel.config import TRACK
from gimel.errors import Forbidden, StoreUnavailable
from gimel.ops import openapi
from gimel.ops.endpoints import ENDPOINTS, HEALTH, PAGE
from gimel.snippet import alephbet_script

from .app import Answer, Environ, HttpError, call, is_local, json_answer, page_answer
from .spool import Spool

EXAMPLE = Path(__file__).with_name("example.html")
PATHS = ", ".join([*(endpoint.path for endpoint in ENDPOINTS), "/example", "/openapi.json"])


@dataclass(frozen=True)
class LocalApi:
    """The API of `gimel serve`. Without API keys, only pages on this machine may read reports, change and delete.

    `track_path` is where pages send events, which the server takes for `/track`; `public_url` is the address that a
    proxy before the server has.
    """

    public_url: str | None = None
    alephbet: Path | None = None
    is_demo: bool = False
    track_path: str = TRACK

    def admit(self, environ: Environ) -> None:
        """Raise HttpError for a request that is to be refused before it costs any work."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        for kind in [endpoint.entry.kinds.get(method) for endpoint in ENDPOINTS if endpoint.path == path]:
            if kind:
                _require_access(kind, environ)

    def answer(self, environ: Environ) -> Answer:
        """Answer a request for an endpoint, the dashboard or the example page. Raises HttpError."""
        self.admit(environ)
        path = environ["PATH_INFO"]
        if path == PAGE:
            return page_answer(environ, self._about(environ))
        for endpoint in ENDPOINTS:
            if endpoint.path == path:
                return call(health if path == HEALTH else endpoint.entry, environ)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise HttpError(405, "method not allowed", "use GET")
        if path == "/openapi.json":
            return json_answer(200, openapi.document(self._address(environ), self.track_path))
        if path == "/alephbet.js" and self.alephbet:
            return 200, {"Content-Type": "text/javascript; charset=utf-8"}, self.alephbet.read_bytes()
        if path == "/example":
            template = Template(EXAMPLE.read_text(encoding="utf-8"))
            script = alephbet_script("/alephbet.js" if self.alephbet else None)
            text = template.substitute(alephbet=script, track_path=self.track_path)
            return 200, {"Content-Type": "text/html; charset=utf-8"}, text.encode()
        raise HttpError(404, "not found", f"try {PATHS}")

    def _address(self, environ: Environ) -> str:
        return self.public_url or f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}"

    def _about(self, environ: Environ) -> dict[str, object]:
        return {
            "track_url": f"{self._address(environ)}{self.track_path}",
            "needs_key": access.has_keys(),
            "example": "/example",
            "is_demo": self.is_demo,
        }


def _require_access(kind: str, environ: Environ) -> None:
    if access.has_keys():
        try:
            access.require(kind, {"x-api-key": environ.get("HTTP_X_API_KEY", "")})
        except Forbidden as error:
            raise HttpError(403, error.message, error.hint) from None
    # Without a key, any website open in a browser on this machine could read or delete, also by DNS rebinding:
    # both the page and the host name must belong to this machine.
    elif not is_local(environ):
        raise HttpError(403, "only pages on this machine may do this", "start the server with --api-key-file")


@gateway.endpoint(GET=None, HEAD=None)
def health(request: gateway.Request) -> gateway.Answer:
    """What the handler of a deployment says; with what waits for Redis and, on failure, the reason."""
    overflow = connection.overflow()
    spool = overflow if isinstance(overflow, Spool) else None
    kept = {"waiting": spool.waiting, "set_aside": spool.set_aside} if spool else {}
    try:
        answer = gimel.health.handle(request)
    except StoreUnavailable as error:
        are_kept = spool is not None and not spool.is_failing
        why = error.message.removeprefix("Redis ")  # such as `does not answer` or `is out of memory`
        return gateway.Answer({"redis": why, "new_events": "kept" if are_kept else "refused", **kept}, 503)
    return replace(answer, value={"redis": "answers", **kept})
