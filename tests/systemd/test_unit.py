"""What systemd itself says about the unit files."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNIT = "exposr-trainer.service"
pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")


def analyze(*words: str) -> str:
    ended = subprocess.run(["systemd-analyze", "--no-pager", *words], capture_output=True, text=True)
    return ended.stdout + ended.stderr


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A copy of the unit whose program exists."""
    text = (SYSTEMD / UNIT).read_text().replace("/opt/exposr-trainer/current/bin/exposr-trainer", "/bin/true")
    (tmp_path / UNIT).write_text(text)
    return tmp_path / UNIT


def exposure(unit: Path) -> float:
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", analyze("security", "--offline=true", str(unit)))
    assert found is not None
    return float(found[1])


def add(unit: Path, drop_in: str) -> None:
    folder = unit.with_name(f"{UNIT}.d")
    folder.mkdir(exist_ok=True)
    shutil.copy(SYSTEMD / "drop-ins" / drop_in, folder)


def test_the_unit_is_clean(unit: Path) -> None:
    assert analyze("verify", str(unit)) == ""


def test_the_unit_without_a_gpu_is_clean(unit: Path) -> None:
    add(unit, "cpu.conf")
    assert analyze("verify", str(unit)) == ""


def test_the_exposure_with_gpus_is_at_most_1_5(unit: Path) -> None:
    assert exposure(unit) <= 1.5


def test_the_exposure_without_gpus_is_at_most_1_2(unit: Path) -> None:
    add(unit, "cpu.conf")
    assert exposure(unit) <= 1.2


@pytest.mark.parametrize("script", ["install", "command"])
def test_the_scripts_are_valid_shell(script: str) -> None:
    file = SYSTEMD / script
    shell = file.read_text().splitlines()[0].removeprefix("#!").split()[-1]
    subprocess.run([shell, "-n", str(file)], check=True)
    assert file.stat().st_mode & 0o111


def test_every_key_of_the_configuration_is_handed_over_as_a_credential() -> None:
    from utils.config_loader import SECRET_VARIABLES

    wanted = {name.replace("_", "-") for name in SECRET_VARIABLES}
    assert set(re.findall(r"^LoadCredential=([a-z-]+):", (SYSTEMD / UNIT).read_text(), re.MULTILINE)) == wanted
    assert set(re.search(r"^KEYS=\((.*)\)$", (SYSTEMD / "install").read_text(), re.MULTILINE)[1].split()) == wanted  # type: ignore[index]


def test_a_dry_run_changes_nothing_and_names_every_place(tmp_path: Path) -> None:
    was_installed = Path("/opt/exposr-trainer").exists()
    ended = subprocess.run(
        ["bash", str(SYSTEMD / "install"), "--dry-run", "--no-start"], capture_output=True, text=True, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    for place in ("/etc/exposr-trainer/config.toml", "/opt/exposr-trainer/current", "systemctl enable"):
        assert place in ended.stdout
    assert Path("/opt/exposr-trainer").exists() == was_installed


def test_an_unknown_option_is_refused() -> None:
    ended = subprocess.run(["bash", str(SYSTEMD / "install"), "--frobnicate"], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "--frobnicate: unknown option" in ended.stderr
