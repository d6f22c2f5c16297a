"""Deploy Gimel to AWS: the same as `gimel deploy`."""

from __future__ import annotations

import sys

try:
    from gimel.ops.commands.main import main
except ModuleNotFoundError as error:
    sys.exit(f"Error: {error.name} is missing: run `make install` once, and then .venv/bin/python deploy.py")

if __name__ == "__main__":
    main(["deploy", *sys.argv[1:]], prog_name="deploy.py")
