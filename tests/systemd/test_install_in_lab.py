"""systemd/install: again, upwards, back, and away."""

import pytest
from lab_service import CONFIG, DATASETS, UNIT, LabService

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(300)]
NEXT = "/srv/next"  # a checkout of the next version


@pytest.fixture
def upgradable(service: LabService) -> LabService:
    """The installed service with a picture, a key and a changed configuration, and a newer checkout in NEXT."""
    lab = service.lab
    service.configure("# changed by the operator\n")
    lab.write("/etc/exposr-trainer/keys/pexels-api-key", "of-the-operator\n")
    lab.write(f"{DATASETS}/inbox/note.txt", "kept")
    lab.run(f"rm -rf {NEXT}; cp -r /run/lab/checkout {NEXT}")
    lab.run(f"sed -i 's/^version = .*/version = \"99.0\"/' {NEXT}/pyproject.toml")
    return service


def release(service: LabService) -> str:
    return service.lab.run("readlink /opt/exposr-trainer/current").strip()


def assert_kept(service: LabService) -> None:
    assert "# changed by the operator" in service.lab.read(CONFIG)
    assert service.lab.read("/etc/exposr-trainer/keys/pexels-api-key") == "of-the-operator\n"
    assert service.lab.read(f"{DATASETS}/inbox/note.txt") == "kept"


def upgrade(service: LabService) -> str:
    return service.lab.run(
        f"{NEXT}/systemd/install --python /usr/bin/python3.11 --packages-from /run/lab/venv; echo status $?",
        timeout_seconds=120,
    )


def test_the_same_again_builds_nothing_and_changes_nothing(upgradable: LabService) -> None:
    before = release(upgradable)
    output = upgradable.install()
    assert "is built already" in output
    assert "wrote" not in output
    assert release(upgradable) == before
    assert_kept(upgradable)


def test_an_upgrade_keeps_data_keys_and_configuration(upgradable: LabService) -> None:
    output = upgrade(upgradable)
    assert "status 0" in output
    assert release(upgradable).startswith("releases/99.0-")
    assert upgradable.show("ActiveState") == "active"
    assert_kept(upgradable)


def test_an_upgrade_that_does_not_come_up_leaves_the_old_version_running(upgradable: LabService) -> None:
    before = release(upgradable)
    upgradable.lab.run(f"echo 'raise RuntimeError(\"broken release\")' >>{NEXT}/daemon/supervisor.py")
    output = upgrade(upgradable)
    assert "status 1" in output
    assert "broken release" in output
    assert "upgrade taken back" in output
    assert release(upgradable) == before
    assert upgradable.show("ActiveState") == "active"
    assert_kept(upgradable)


def test_a_release_that_refuses_the_configuration_touches_nothing_that_runs(upgradable: LabService) -> None:
    before, process = release(upgradable), upgradable.show("MainPID")
    upgradable.configure("[scheduler]\nno_such_key = 1\n# changed by the operator\n")
    output = upgrade(upgradable)
    assert "status 1" in output
    assert "scheduler.no_such_key" in output
    assert (release(upgradable), upgradable.show("MainPID")) == (before, process)


def test_a_backup_is_taken_while_the_service_runs_and_comes_back(upgradable: LabService) -> None:
    lab = upgradable.lab
    lab.run("install -d -o exposr -m 700 /srv/backup; rm -rf /srv/backup/*; exposr-trainer backup /srv/backup/1")
    key = lab.read("/var/lib/exposr-trainer/state/keys/api_key")
    upgradable.systemctl("stop", UNIT)
    lab.run("find /var/lib/exposr-trainer -type f -delete; exposr-trainer restore /srv/backup/1")
    upgradable.restart()
    assert lab.read("/var/lib/exposr-trainer/state/keys/api_key") == key
    assert lab.run("find /var/lib/exposr-trainer -user root").strip() == ""
    assert_kept(upgradable)


def test_uninstalling_keeps_what_is_not_the_programs(upgradable: LabService) -> None:
    output = upgradable.install("--uninstall")
    assert "Kept: /var/lib/exposr-trainer" in output
    assert (
        upgradable.lab.run("ls -d /opt/exposr-trainer /usr/local/bin/exposr-trainer", check=False).count("cannot") == 2
    )
    assert upgradable.systemctl("is-active", UNIT, check=False) == "inactive"
    assert_kept(upgradable)
    upgradable.install()
    assert upgradable.show("ActiveState") == "active"
    assert_kept(upgradable)
