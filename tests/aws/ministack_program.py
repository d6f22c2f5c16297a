"""ministack, corrected where it differs from AWS or is too slow for a test. It runs in ministack's own environment."""

from __future__ import annotations

import inspect

from ministack.app import main
from ministack.services import apigateway, eventbridge, lambda_svc

# Where an HTTP API has no CORS configuration, AWS sends OPTIONS to its route like any other method.
PREFLIGHT = 'if method == "OPTIONS":'
SERVE = inspect.getsource(apigateway._handle_execute_in_scope)
exec(SERVE.replace(PREFLIGHT, 'if method == "OPTIONS" and cors_cfg:'), vars(apigateway))

# A rule of `rate(1 minute)` fires every second, so that a test need not wait for it.
eventbridge._SCHEDULER_TICK_INTERVAL = 1
eventbridge._parse_rate_seconds = lambda text: 1 if text == "rate(1 minute)" else None

# Functions are ready only after half a second, as on AWS. It is enough that the deployment named shop waits for them.
become_ready = lambda_svc._schedule_state_transition
lambda_svc._schedule_state_transition = lambda name, delay: become_ready(name, delay if "-shop-" in name else 0)

main()
