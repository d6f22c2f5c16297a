"""The dashboard of a deployed API: report requests are forwarded with an API key that the page never sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from gimel.errors import GimelError
from gimel.ops import api_client
from gimel.ops.endpoints import ENDPOINTS, PAGE, Endpoint

from .app import JSON, Answer, Environ, HttpError, is_local, is_same_origin, json_answer, page_answer
from .tokens import SessionTokens

ENTER = "/enter"
TOKEN = "HTTP_X_GIMEL_TOKEN"
PASSED_ON = 200, 400, 409, 413
"""Statuses of answers that the page gets as they are: the request succeeded, or is at fault itself."""


@dataclass(frozen=True)
class Forwarder:
    """The API of `gimel dashboard`: `url`, `track_url` and `key` belong to the deployed API, `tokens` to this
    server."""

    url: str
    track_url: str
    key: str | None = field(default=None, repr=False)
    tokens: SessionTokens = field(default_factory=SessionTokens, repr=False)

    def admit(self, environ: Environ) -> None:
        """Raise HttpError for a request without a valid token, unless it needs none."""
        path = environ["PATH_INFO"]
        # The page holds no secrets, and the browser cannot send the token when it loads it.
        is_page = path == PAGE and "about" not in _params(environ)
        if path != ENTER and not is_page:
            self._require_token(environ)

    def answer(self, environ: Environ) -> Answer:
        """Answer a request of the dashboard. Raises HttpError."""
        self.admit(environ)
        path = environ["PATH_INFO"]
        if path == ENTER:
            return self._enter(environ)
        if path == PAGE:
            return page_answer(environ, self._about())
        for endpoint in ENDPOINTS:
            if endpoint.path == path:
                return self._forward(endpoint, environ)
        raise HttpError(404, "not found", "the dashboard is at /")

    def _forward(self, endpoint: Endpoint, environ: Environ) -> Answer:
        method = environ["REQUEST_METHOD"]
        if not endpoint.needs_key(method):
            raise HttpError(405, "only requests that need a key are forwarded")
        params = _params(environ)
        try:
            content = environ["wsgi.input"].read() if method == "PUT" else None
            reply = api_client.request(self.url, self.key, endpoint.path, params, method, content, PASSED_ON)
        except api_client.ApiKeyRefused as error:
            # Not 403: the page would ask for the key, which it must never have.
            hint = "restart `gimel dashboard` with the right --api-key or GIMEL_API_KEY"
            raise HttpError(502, error.message, hint) from None
        except GimelError as error:
            raise HttpError(502, error.message, error.hint) from None
        return reply.status, {"Content-Type": JSON, "Cache-Control": "no-store"}, reply.body

    def _enter(self, environ: Environ) -> Answer:
        """Give the page the token in exchange for the secret in its address."""
        if environ["REQUEST_METHOD"] != "POST":
            raise HttpError(405, "method not allowed", "the dashboard is at /")
        token = self.tokens.exchange(environ.get(TOKEN, "")) if _is_own_page(environ) else None
        if token is None:
            raise _no_session()
        return json_answer(200, {"token": token})

    def _require_token(self, environ: Environ) -> None:
        if not (_is_own_page(environ) and self.tokens.is_valid(environ.get(TOKEN, ""))):
            raise _no_session()

    def _about(self) -> dict[str, object]:
        return {"track_url": self.track_url, "needs_key": False, "example": None, "is_demo": False}


def _params(environ: Environ) -> dict[str, str]:
    return dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))


def _is_own_page(environ: Environ) -> bool:
    # Stricter than `gimel serve`: other pages on this machine have no business with the deployment.
    return is_same_origin(environ) and is_local(environ)


def _no_session() -> HttpError:
    hint = "open the address printed by `gimel dashboard`; it changes each time the command starts"
    return HttpError(403, "session token missing or expired", hint)
