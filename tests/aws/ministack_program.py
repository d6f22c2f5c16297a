"""ministack, corrected where it differs from AWS. It runs in ministack's own environment."""

from __future__ import annotations

import inspect

from ministack.app import main
from ministack.services import apigateway

# Where an HTTP API has no CORS configuration, AWS sends OPTIONS to its route like any other method.
PREFLIGHT = 'if method == "OPTIONS":'
SERVE = inspect.getsource(apigateway._handle_execute_in_scope)
exec(SERVE.replace(PREFLIGHT, 'if method == "OPTIONS" and cors_cfg:'), vars(apigateway))

main()
