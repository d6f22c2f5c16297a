"""The dashboard of a deployed API, on this machine: report calls are passed on with a key that the page never sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from gimel.errors import GimelError

from . import remote, site
from .local import App
from .site import Answer, is_from_own_page, json_answer
from .wiring import ENDPOINTS, Endpoint


@dataclass(frozen=True)
class Forwarder(App):
    """The WSGI application. `url` and `key` are the deployed API's; only this machine's pages may use them."""

    url: str = ""
    key: str | None = field(default=None, repr=False)

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path = environ.get("PATH_INFO", "/")
        for endpoint in ENDPOINTS:
            if endpoint.path == path:
                return self._call(endpoint, environ)
        nothing = json_answer(404, {"error": "nothing is here", "hint": "the dashboard is at /"})
        return site.answer(environ, self._about(environ)) or nothing

    def _call(self, endpoint: Endpoint, environ: dict[str, Any]) -> Answer:
        method = environ["REQUEST_METHOD"]
        if not endpoint.needs_key or method not in endpoint.methods:
            return json_answer(405, {"error": "this server passes on reports and deletions only", "hint": ""})
        refusal = self._refusal(environ)
        if refusal:
            return json_answer(403, refusal)
        params = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        try:
            status, body = remote.ask(self.url, self.key, endpoint.path, params, method)
        except GimelError as failure:
            return json_answer(502, {"error": failure.message, "hint": failure.hint})
        if status in (401, 403):
            # Not passed on as it is: the page would ask for a key, which it must not have.
            error = f"{remote.base_of(self.url)} refused the key"
            hint = "end this, and start `gimel dashboard` again with the right --api-key or GIMEL_API_KEY"
            return json_answer(502, {"error": error, "hint": hint})
        if status != 200:
            error = f"{remote.base_of(self.url)} answered {status} {_phrase(status)}".rstrip()
            return json_answer(502, {"error": error, "hint": remote.cure(status, body)})
        return 200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, body

    def _cors(self, environ: dict[str, Any]) -> dict[str, str]:
        return {}

    def _refusal(self, environ: dict[str, Any]) -> dict[str, str] | None:
        # Stricter than `gimel serve`: other pages of this machine have no business with the deployment either.
        if not is_from_own_page(environ):
            return {"error": "only the dashboard itself may do this", "hint": "open it at the address printed"}
        return super()._refusal(environ)

    def _about(self, environ: dict[str, Any]) -> dict[str, object]:
        base = remote.base_of(self.url)
        return {"track_url": f"{base}/track", "needs_key": False, "example": None, "place": base, "is_demo": False}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
