"""`gimel openapi`: the description of the API for other programs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gimel import config
from gimel.ops import openapi as description
from gimel.ops.api_client import base_url
from gimel.ops.aws.deployment import Deployment

from .console import config_option


@click.command()
@click.option("--url", help="URL of the API; default: the API deployed with your AWS credentials.")
@config_option
def openapi(url: str | None, config_file: Path | None) -> None:
    """Print the OpenAPI document of the API, which other programs and code generators read."""
    if url is None:
        url = Deployment.load(config_file).require_live().reports_url
    track_path = config.load(config_file).track_path
    click.echo(json.dumps(description.document(base_url(url, track_path), track_path), indent=2))
