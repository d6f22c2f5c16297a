"""Schemathesis, which sends whatever the OpenAPI document allows and forbids, against `gimel serve`."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

EXAMPLES, SEED = 100, 20261125
# Not checked: that all data as described is accepted. Text for navigator.sendBeacon is JSON, which random text is not.
NOT_CHECKED = "positive_data_acceptance"


def test_every_answer_is_as_the_document_says_and_none_is_a_500(serve, redis_server, tmp_path):
    server = serve("--api-key", "key", GIMEL_REDIS_URL=redis_server.url)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--header=x-api-key: key"]
    command += ["--seed", str(SEED), "--max-examples", str(EXAMPLES), "--exclude-checks", NOT_CHECKED, "--no-color"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240)
    assert found.returncode == 0, found.stdout
    assert re.search("[0-9]+ generated, [0-9]+ passed", found.stdout)
    assert "Traceback" not in server.output
