"""What docs/self-hosting.md tells operators to save: read and run by the programs that it is for."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.calls import EVENT
from tests.parts import (
    DEADLINE_S,
    ROOT,
    GimelServer,
    Process,
    debian_package,
    free_ports,
    missing,
    self_signed,
    wait_for,
)

TEXT = (ROOT / "docs" / "self-hosting.md").read_text(encoding="utf-8")
HOST = "ab.example.com"


def blocks(kind: str) -> list[str]:
    """The code of this kind."""
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


def test_systemd_takes_the_units(tmp_path):
    analyze = shutil.which("systemd-analyze") or missing("no systemd-analyze: install the Debian package systemd")
    names = re.findall(r"`/etc/systemd/system/(\S+)`", TEXT)
    assert len(names) == len(blocks("ini")) == 3
    for name, unit in zip(names, blocks("ini"), strict=True):
        (tmp_path / name).write_text(
            unit.replace("/opt/gimel/.venv/bin/gimel", "/bin/true").replace("gimel\n", "root\n")
        )
    command = [analyze, "verify", *(tmp_path / name for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[GimelServer]:
    options = "--api-key", "w", "--read-key", "r", "--public-url", f"https://{HOST}"
    started = GimelServer(*options, home=tmp_path_factory.mktemp("home"))
    yield started
    started.stop()


def nginx(folder: Path, upstream: str, port: int) -> list[str | Path]:
    """The command that runs nginx with the page's file, at this port and with a certificate in this folder."""
    (text,) = blocks("nginx")
    places = {
        "127.0.0.1:8000": upstream,
        "listen 443": f"listen 127.0.0.1:{port}",
        "listen 80": f"listen 127.0.0.1:{free_ports(1)[0]}",
        f"/etc/letsencrypt/live/{HOST}/fullchain.pem": f"{folder}/tls.crt",
        f"/etc/letsencrypt/live/{HOST}/privkey.pem": f"{folder}/tls.key",
    }
    for old, new in places.items():
        assert old in text
        text = text.replace(old, new)
    own = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    start = f"daemon off; user root; pid {folder}/pid; error_log stderr; events {{}}"
    (folder / "nginx.conf").write_text(f"{start} http {{ {own}\n{text} }}")
    return [debian_package("nginx") / "usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf"]


def caddy(folder: Path, upstream: str, port: int) -> list[str | Path]:
    """The command that runs Caddy with the page's file, at this port and with a certificate in this folder."""
    (text,) = blocks("caddyfile")
    text = text.replace(f"{HOST} {{", f"{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls {folder}/tls.crt {folder}/tls.key", 1)
    text = text.replace("127.0.0.1:8000", upstream)
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{text}")
    return [
        debian_package("caddy") / "usr/bin/caddy",
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        folder / "Caddyfile",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("proxy", [nginx, caddy])
def test_a_proxy_of_the_page_passes_everything_on(server, tmp_path, proxy):
    certificate, _ = self_signed(tmp_path, f"DNS:{HOST}", "IP:127.0.0.1")
    context = ssl.create_default_context(cafile=str(certificate))
    (port,) = free_ports(1)
    process = Process(*proxy(tmp_path, server.url.removeprefix("http://"), port), env={"HOME": str(tmp_path)})

    def ask(path: str, method: str = "GET", content: object = None, key: str = "") -> tuple[int, str]:
        body = None if content is None else json.dumps(content).encode()
        headers = {"Host": HOST, "x-api-key": key, "Content-Type": "text/plain"}
        try:
            answer = urlopen(
                Request(f"https://127.0.0.1:{port}{path}", body, headers, method=method), None, 10, context=context
            )
        except HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.read().decode()

    def is_up() -> bool:
        assert process.poll() is None, process.output
        try:
            return ask("/health")[0] == 200
        except OSError:
            return False

    wait_for(is_up, "the proxy")
    assert ask("/e", "POST", [{**EVENT, "uuid": f"{number} {'x' * 100}"} for number in range(300)]) == (200, "null")
    assert ask("/e", "POST", " " * 5_900_000)[0] == 400  # Gimel has read it: it is no event
    status, text = ask("/experiments", key="r")
    assert (status, json.loads(text)[0]["meta"]["access"]) == (200, "read")
    changes = {"experiment": EVENT["experiment"], "changes": {"owner": "me"}}
    assert ask("/experiment", "PUT", changes, "r")[0] == 403
    assert ask("/experiment", "PUT", changes, "w")[0] == 200
    assert ask("/")[1].startswith("<!doctype html>")
    assert json.loads(ask("/?about=1")[1])["track_url"] == f"https://{HOST}/e"
    process.stop()
