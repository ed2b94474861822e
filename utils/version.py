"""The version of the service, from its package metadata."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("exposr-trainer")
except PackageNotFoundError:  # a checkout that was not installed
    VERSION = "0.0.0+uninstalled"
