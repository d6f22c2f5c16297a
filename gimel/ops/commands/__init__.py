"""The `gimel` command, a module for each group of commands. Only these print."""
