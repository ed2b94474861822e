from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from lab_service import LabService
from systemd_lab import Lab, LabError, obstacle


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A booted lab; skips where none can be had."""
    if reason := obstacle():
        pytest.skip(reason)
    with ExitStack() as stack:
        try:
            booted = stack.enter_context(Lab(tmp_path_factory.mktemp("lab")))
        except LabError as error:
            pytest.skip(str(error))
        yield booted


@pytest.fixture(scope="session")
def installed(lab: Lab) -> LabService:
    """The service, as systemd/install leaves it."""
    service = LabService(lab)
    service.install()
    return service


@pytest.fixture
def service(installed: LabService) -> LabService:
    """The installed service, active, with the default configuration and no data."""
    installed.systemctl("stop", "exposr-trainer")
    installed.lab.run(
        "find /var/lib/exposr-trainer -type f -delete; rm -rf /var/lib/exposr-trainer/state/jobs;"
        ": >/run/lab/service.log"
    )
    installed.configure()
    installed.restart()
    return installed
