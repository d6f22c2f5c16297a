"""The local server: the Lambda handlers, the dashboard, and a Redis of its own."""
