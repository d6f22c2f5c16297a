"""Deploy Gimel to AWS: the same as `gimel deploy`."""

from __future__ import annotations

import sys

from gimel.ops.cli import main

if __name__ == "__main__":
    main(["deploy", *sys.argv[1:]], prog_name="deploy.py")
