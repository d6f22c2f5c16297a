"""The zip that Lambda runs: gimel for functions, the pinned redis, config.json without secrets. It is reproducible."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import gimel
from gimel import page
from gimel.ops import known_bots
from gimel.ops.resources import shipped

from .errors import BundleError

MAX_BYTES = 2_000_000
LAPTOP_KEYS = {"aws", "extra_wiring", "track_path"}
OLDEST_DATE = (1980, 1, 1, 0, 0, 0)

COST_OF_SOURCES = "0.57 instead of 0.27 seconds of processor time, as measured once"

# Lists what a cold start imports. It also proves that the zip imports on its own: -S hides installed packages.
# async_timeout is left out, because whether redis imports it depends on the patch version of Python.
IMPORTED = """
import os, sys
sys.path.insert(0, "")
sys.dont_write_bytecode = True
import gimel.handlers, gimel.analysis.report, gimel.page
root = os.getcwd() + os.sep
for module in list(sys.modules.values()):
    path = getattr(module, "__file__", None) or ""
    if path.startswith((root + "gimel", root + "redis")):
        print(path[len(root):])
"""

# In a process of its own, because compiled files depend a little on what was imported before. optimize=2 drops
# docstrings, which nothing reads there and which are a tenth of the zip.
COMPILE = """
import importlib.util, py_compile, sys
for name in sys.argv[1:]:
    py_compile.compile(name, cfile=importlib.util.cache_from_source(name, optimization=""), doraise=True,
                       dfile="/var/task/" + name, optimize=2,
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


@dataclass(frozen=True)
class Requirement:
    """One line of requirements.txt: `name==version`, and the SHA-256 hashes that its wheel may have."""

    pin: str
    hashes: frozenset[str]

    def matches(self, path: Path) -> bool:
        """Whether this file is that wheel."""
        return hashlib.sha256(path.read_bytes()).hexdigest() in self.hashes


@dataclass(frozen=True)
class Bundle:
    """A zip, and whether it contains compiled files."""

    data: bytes
    compiled: bool

    @property
    def sha256(self) -> str:
        """In the format of Lambda's CodeSha256."""
        return base64.b64encode(hashlib.sha256(self.data).digest()).decode()

    @property
    def digest(self) -> str:
        """Of everything in the zip but the compiled files: the same for whichever Python compiled them."""
        with ZipFile(io.BytesIO(self.data)) as archive:
            sources = [name for name in sorted(archive.namelist()) if not name.endswith(".pyc")]
            lines = [f"{hashlib.sha256(archive.read(name)).hexdigest()} {name}\n" for name in sources]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def build(config: Mapping[str, Any], runtime: str, extra_files: Mapping[str, bytes] | None = None) -> Bundle:
    """Build the zip for a runtime such as `python3.12`. `config` is the config.json in it. Raises BundleError."""
    text = json.dumps(config, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    files = {**(extra_files or {}), "config.json": text.encode(), **dict(_own_files()), **known_bots.files()}
    for requirement in requirements(runtime):
        files.update(_wheel_files(wheel(requirement)))
    python = find_python(runtime)
    if python:
        files.update(_compiled(files, python))
    data = _zip(files)
    if len(data) > MAX_BYTES:
        message = f"the zip has {len(data):,} bytes, over the {MAX_BYTES:,} allowed"
        raise BundleError(message, "check gimel/ for stray files")
    return Bundle(data, compiled=python is not None)


def find_python(runtime: str) -> str | None:
    """An interpreter of this machine that compiles for a runtime such as `python3.13`; None if there is none.

    This one; or the one on the PATH; or one of pyenv or uv.
    """
    tag = f"cpython-{runtime.removeprefix('python').replace('.', '')}"
    return next((python for python in _pythons(runtime) if _cache_tag(python) == tag), None)


def _pythons(runtime: str) -> Iterator[str]:
    yield sys.executable
    if found := shutil.which(runtime):
        yield found
    version = runtime.removeprefix("python")
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from sorted(map(str, versions.glob(f"{version}.*/bin/python")))
    if uv := shutil.which("uv"):
        yield _output([uv, "python", "find", "--no-project", version])


def _cache_tag(python: str) -> str:
    return _output([python, "-I", "-S", "-c", "import sys; print(sys.implementation.cache_tag)"])


def _output(command: list[str]) -> str:
    """What a command prints; nothing if it fails, as a shim of pyenv does for a version that is not active."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def function_config(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json without comments and without what functions do not use. The caller removes secrets."""
    return {key: value for key, value in _without_comments(raw).items() if key not in LAPTOP_KEYS}


def _without_comments(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_comments(item) for key, item in value.items() if not key.startswith("//")}
    return value


def requirements(runtime: str) -> list[Requirement]:
    """The requirements pinned in requirements.txt for this runtime."""
    pinned = []
    for line in shipped("requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        requirement, *hashes = line.partition("#")[0].split("--hash=sha256:")
        pin, _, condition = requirement.partition(";")
        # The only condition in use is Python before 3.11.3. Lambda has a newer 3.11, but this machine may not.
        if pin.strip() and (not condition or runtime in ("python3.10", "python3.11")):
            pinned.append(Requirement(pin.strip(), frozenset(text.strip() for text in hashes)))
    return pinned


def wheel(requirement: Requirement) -> Path:
    """The wheel of a requirement, from the cache ($GIMEL_CACHE) or else downloaded. Raises BundleError."""
    folder = Path(os.environ.get("GIMEL_CACHE") or Path.home() / ".cache" / "gimel")
    name, _, version = requirement.pin.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*none-any.whl"
    cached = min(folder.glob(pattern), default=None)
    if cached and not requirement.matches(cached):
        raise BundleError(f"{cached} has none of the hashes that requirements.txt has for it", "delete it, and retry")
    return cached or _download(requirement, pattern, folder)


def _download(requirement: Requirement, pattern: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", scratch, requirement.pin]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        loaded = next(iter(Path(scratch).glob(pattern)), None)
        if loaded is None:
            reason = (done.stderr.strip().splitlines() or ["no such wheel"])[-1]
            hint = f"go online once, or put the wheel into {folder}; pip said: {reason}"
            raise BundleError(f"could not download {requirement.pin} for the zip", hint)
        if not requirement.matches(loaded):
            message = f"the {loaded.name} that pip downloaded has none of the hashes of requirements.txt"
            raise BundleError(message, "check which index pip uses (`pip config list`): this is another file")
        # Moved into place, so that an interrupted download never looks like a cached wheel.
        return loaded.replace(folder / loaded.name)


def _own_files() -> Iterator[tuple[str, bytes]]:
    package = Path(gimel.__file__).parent
    for path in sorted([*package.rglob("*.py"), *page.FOLDER.iterdir()]):
        inside = path.relative_to(package)
        if inside.parts[0] not in ("ops", "client.py"):
            yield f"gimel/{inside.as_posix()}", path.read_bytes()


def _wheel_files(path: Path) -> Iterator[tuple[str, bytes]]:
    with ZipFile(path) as archive:
        for name in archive.namelist():
            if not name.endswith("/") and not re.search(r"\.dist-info/(?!METADATA$|licenses/|LICENSE)", name):
                yield name, archive.read(name)


def _compiled(files: Mapping[str, bytes], python: str) -> dict[str, bytes]:
    """What this interpreter makes of the files. It depends on its patch version, where that changed the compiler."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        imported = _run_python(python, root, IMPORTED).splitlines()
        imported += [name for name in files if re.fullmatch(r"async_timeout/.*\.py", name)]
        _run_python(python, root, COMPILE, *sorted(imported))
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.pyc")}


def _run_python(python: str, folder: Path, program: str, *words: str) -> str:
    # As on Lambda, where less is imported. The hash seed is fixed because it affects the compiled files.
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "gimel", "PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", "")}
    command = [python, "-s", "-S", "-c", program, *words]
    done = subprocess.run(command, cwd=folder, env=environ, text=True, capture_output=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BundleError(f"{python} could not import gimel from the zip", reason)
    return done.stdout


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            info = ZipInfo(name, OLDEST_DATE)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            info.compress_type = ZIP_DEFLATED
            archive.writestr(info, files[name], compresslevel=9)
    return buffer.getvalue()
