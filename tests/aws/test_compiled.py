"""The zip does not depend on who builds it: its Python, and as far as possible the Python that compiles it."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from gimel.ops.aws import bundle, settings
from gimel.ops.aws.bundle import Bundle
from tests.parts import ROOT

pytestmark = pytest.mark.slow

CONFIG = {"redis": {"host": "redis.example.com"}}
LOCAL = f"python{sys.version_info.major}.{sys.version_info.minor}"


def pythons() -> dict[tuple[int, ...], str]:
    """The interpreters of this machine, by their versions."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # $HOME is the test's own
    candidates = [sys.executable, "/usr/bin/python3", *map(str, home.glob(".pyenv/versions/*/bin/python"))]
    candidates += [found for name in settings.RUNTIMES if (found := shutil.which(name))]
    found: dict[tuple[int, ...], str] = {}
    for python in candidates:
        version = bundle._output([python, "-I", "-S", "-c", "import sys; print(*sys.version_info[:3])"])
        if version and tuple(map(int, version.split())) >= (3, 10):
            found.setdefault(tuple(map(int, version.split())), python)
    return found


def build(runtime: str, compiler: str, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(bundle, "find_python", lambda runtime: compiler)
    return bundle.build(CONFIG, runtime)


def names(built: Bundle) -> list[str]:
    return ZipFile(io.BytesIO(built.data)).namelist()


def pretending(version: str, folder: Path) -> str:
    """This Python, which says that it has another version, and otherwise compiles as it does."""
    program = f"import sys; sys.version_info = {version}; program = sys.argv.pop(1); exec(program)"
    path = folder / version
    path.write_text(f"#!/bin/sh\nshift 3\nexec '{sys.executable}' -s -S -c '{program}' \"$@\"\n")
    path.chmod(0o700)
    return str(path)


def test_an_older_patch_version_compiles_the_same_files_into_the_same_bytes(tmp_path, monkeypatch):
    """redis imports async_timeout before 3.11.3, but which files are compiled must not depend on that."""
    older = build("python3.11", pretending("(3, 11, 2)", tmp_path), monkeypatch)
    newer = build("python3.11", pretending("(3, 11, 9)", tmp_path), monkeypatch)
    assert older.data == newer.data
    assert any("async_timeout/__pycache__" in name for name in names(older))


def test_all_patch_versions_that_are_here_build_the_same_sources_and_compile_the_same_files(monkeypatch):
    """On a machine with one of each, the test above is what remains."""
    first: dict[str, Bundle] = {}
    for version, python in sorted(pythons().items()):
        runtime = f"python{version[0]}.{version[1]}"
        built = build(runtime, python, monkeypatch)
        assert names(built) == names(first.setdefault(runtime, built))
        assert built.digest == first[runtime].digest
        if runtime == "python3.11":  # 3.11.2, 3.11.3 and 3.11.7 compile alike; others differ even in details
            assert built.data == first[runtime].data, python


def test_the_python_that_runs_gimel_does_not_matter(monkeypatch):
    builders = {version[:2]: python for version, python in pythons().items()}
    program = (
        "from gimel.ops.aws import bundle; "
        f"bundle.find_python = lambda runtime: {sys.executable!r}; print(bundle.build({CONFIG!r}, {LOCAL!r}).sha256)"
    )
    # The only packages that building needs are redis, which before 3.11.3 needs async_timeout, and the list of bots.
    packages = [path for path in sys.path if path.endswith("site-packages")]
    packages += map(str, (ROOT / ".cache" / "wheels").glob("async_timeout-*.whl"))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *packages]), "PYTHONHASHSEED": "7"}
    expected = build(LOCAL, sys.executable, monkeypatch).sha256
    for python in builders.values():
        done = subprocess.run([python, "-c", program], env=environ, capture_output=True, text=True, timeout=120)
        assert done.stdout.strip() == expected, (python, done.stderr)


def test_without_an_interpreter_of_the_runtime_the_zip_has_the_same_sources_only(monkeypatch):
    compiled = build(LOCAL, sys.executable, monkeypatch)
    monkeypatch.setattr(bundle, "find_python", lambda runtime: None)
    sources = bundle.build(CONFIG, LOCAL)
    assert (compiled.compiled, sources.compiled) == (True, False)
    assert names(sources) == [name for name in names(compiled) if not name.endswith(".pyc")]
    assert sources.digest == compiled.digest
    assert bundle.build({"redis": {"host": "another"}}, LOCAL).digest != sources.digest


class TestTheInterpreter:
    """Of python3.99, which no machine has."""

    @pytest.fixture(autouse=True)
    def _nowhere(self, monkeypatch, tmp_path):
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
        monkeypatch.delenv("PYENV_ROOT", raising=False)

    def program(self, path: Path, text: str) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return str(path)

    def test_is_this_one_if_it_fits(self):
        assert bundle.find_python(LOCAL) == sys.executable

    def test_is_nowhere(self):
        assert bundle.find_python("python3.99") is None

    def test_is_on_the_path(self, tmp_path):
        found = self.program(tmp_path / "bin" / "python3.99", "echo cpython-399")
        assert bundle.find_python("python3.99") == found

    def test_is_not_a_shim_that_fails_or_another_version(self, tmp_path):
        self.program(tmp_path / "bin" / "python3.99", "echo cpython-399; exit 127")
        self.program(tmp_path / ".pyenv" / "versions" / "3.99.1" / "bin" / "python", "echo cpython-398")
        assert bundle.find_python("python3.99") is None

    def test_is_one_of_pyenv(self, tmp_path):
        self.program(tmp_path / "bin" / "python3.99", "exit 127")
        found = self.program(tmp_path / ".pyenv" / "versions" / "3.99.1" / "bin" / "python", "echo cpython-399")
        assert bundle.find_python("python3.99") == found

    def test_is_one_of_uv(self, tmp_path):
        found = self.program(tmp_path / "uv's" / "python", "echo cpython-399")
        self.program(tmp_path / "bin" / "uv", f'[ "$*" = "python find --no-project 3.99" ] && echo "{found}"')
        assert bundle.find_python("python3.99") == found
