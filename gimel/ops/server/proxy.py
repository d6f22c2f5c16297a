"""The dashboard of a deployed API, on this machine: report calls are passed on with a key that the page never sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from gimel.errors import GimelError
from gimel.ops import api_client
from gimel.ops.endpoints import ENDPOINTS, Endpoint

from . import assets, exports
from .app import App, is_of_this_machine
from .exports import Answer, is_from_own_page, json_answer
from .tokens import Gate

ENTER = "/enter"
TOKEN = "HTTP_X_GIMEL_TOKEN"
NOT_LET_IN = {
    "error": "this page is not let in",
    "hint": "open the address that `gimel dashboard` printed: each start has a new one",
}


@dataclass(frozen=True)
class Forwarder(App):
    """The WSGI application. `url` and `key` are the deployed API's; only pages that `gate` admits may use them."""

    url: str = ""
    key: str | None = field(default=None, repr=False)
    gate: Gate = field(default_factory=Gate, repr=False)

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path = environ.get("PATH_INFO", "/")
        if path == ENTER:
            return self._enter(environ)
        # The page's own files hold no secret, and the first of them is asked for by an address alone.
        if assets.file(path) is None:
            refusal = self._refusal(environ)
            if refusal:
                return json_answer(403, refusal)
        for endpoint in ENDPOINTS:
            if endpoint.path == path:
                return self._call(endpoint, environ)
        nothing = json_answer(404, {"error": "nothing is here", "hint": "the dashboard is at /"})
        return exports.answer(environ, self._about(environ)) or nothing

    def _call(self, endpoint: Endpoint, environ: dict[str, Any]) -> Answer:
        method = environ["REQUEST_METHOD"]
        if not endpoint.needs_key or method not in endpoint.methods:
            return json_answer(405, {"error": "this server passes on reports and deletions only", "hint": ""})
        params = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        try:
            status, body = api_client.ask(self.url, self.key, endpoint.path, params, method)
        except GimelError as failure:
            return json_answer(502, {"error": failure.message, "hint": failure.hint})
        if status in (401, 403):
            # Not passed on as it is: the page would ask for a key, which it must not have.
            error = f"{api_client.base_of(self.url)} refused the key"
            hint = "end this, and start `gimel dashboard` again with the right --api-key or GIMEL_API_KEY"
            return json_answer(502, {"error": error, "hint": hint})
        if status != 200:
            error = f"{api_client.base_of(self.url)} answered {status} {_phrase(status)}".rstrip()
            return json_answer(502, {"error": error, "hint": api_client.cure(status, body)})
        return 200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, body

    def _cors(self, environ: dict[str, Any]) -> dict[str, str]:
        return {}

    def _enter(self, environ: dict[str, Any]) -> Answer:
        if environ["REQUEST_METHOD"] != "POST":
            return json_answer(405, {"error": "only POST is answered here", "hint": "the dashboard is at /"})
        if _is_own(environ):
            token = self.gate.enter(environ.get(TOKEN, ""))
            if token:
                return json_answer(200, {"token": token})
        return json_answer(403, NOT_LET_IN)

    def _refusal(self, environ: dict[str, Any]) -> dict[str, str] | None:
        is_let_in = _is_own(environ) and self.gate.admits(environ.get(TOKEN, ""))
        return None if is_let_in else NOT_LET_IN

    def _about(self, environ: dict[str, Any]) -> dict[str, object]:
        base = api_client.base_of(self.url)
        return {"track_url": f"{base}/track", "needs_key": False, "example": None, "place": base, "is_demo": False}


def _is_own(environ: dict[str, Any]) -> bool:
    # Stricter than `gimel serve`: other pages of this machine have no business with the deployment either.
    return is_from_own_page(environ) and is_of_this_machine(environ)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
