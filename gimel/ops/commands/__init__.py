"""The `gimel` command: one module for each group of subcommands. Only these modules print."""
