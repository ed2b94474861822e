"""Packaging: the folders are the packages. Metadata is in pyproject.toml.

`http/` holds packages and is none itself: with an `__init__.py` it would shadow the standard library's `http`.
"""

from setuptools import find_packages, setup

SERVICE_FOLDERS = ("daemon", "handlers", "scrapers", "trainer", "utils")
HTTP_PACKAGES = ("exposr_api", "exposr_client")
DATA_FILES = ["py.typed", *(f"**/*.{kind}" for kind in ("html", "css", "js", "svg", "txt", "j2"))]


def with_subpackages(names: tuple[str, ...]) -> list[str]:
    return [pattern for name in names for pattern in (name, f"{name}.*")]


setup(
    packages=[
        *find_packages(".", include=with_subpackages(SERVICE_FOLDERS)),
        *find_packages("http", include=with_subpackages(HTTP_PACKAGES)),
    ],
    package_dir={name: f"http/{name}" for name in HTTP_PACKAGES},
    package_data=dict.fromkeys(SERVICE_FOLDERS + HTTP_PACKAGES, DATA_FILES),
)
