"""The control group that Delegate= gives away, as the hardened service finds it."""

import json

import pytest
from lab_service import PYTHON, UNIT, LabService

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(120)]
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
# what the daemon does at its start, less the limits: those need the memory controller, which the lab may not have
SPLIT = """
import json, os, subprocess, sys
from pathlib import Path
from daemon.runs.cgroup import CGROUP_ROOT, DAEMON_GROUP, PROC, TRAINING_GROUP, confined, own_cgroup
unit = own_cgroup(CGROUP_ROOT, PROC)
delegated = os.getxattr(unit, "user.delegate").decode()
for name in (DAEMON_GROUP, TRAINING_GROUP):
    (unit / name).mkdir()
(unit / DAEMON_GROUP / "cgroup.procs").write_text(str(os.getpid()))
where = [sys.executable, "-c", "print(open('/proc/self/cgroup').read().splitlines()[-1])"]
child = subprocess.run(confined(where, nice=1, cgroup=unit / TRAINING_GROUP), capture_output=True, text=True)
try:
    (CGROUP_ROOT / "cgroup.procs").write_text("0")
    outside = "writable"
except OSError as error:
    outside = error.strerror
own = PROC.joinpath("self/cgroup").read_text().splitlines()[-1]
print(json.dumps({"delegated": delegated, "own": own, "child": child.stdout.strip(), "outside": outside}))
"""


def test_the_service_can_split_its_group_and_no_other(installed: LabService) -> None:
    lab = installed.lab
    lab.write("/run/lab/split.py", SPLIT)
    unit = lab.read(UNIT_FILE).replace("Type=notify", "Type=oneshot").replace("Restart=on-failure", "Restart=no")
    unit = unit.replace("/opt/exposr-trainer/current/bin/exposr-trainer serve", f"{PYTHON} /run/lab/split.py")
    lab.write("/etc/systemd/system/exposr-split.service", unit)
    lab.write(
        "/etc/systemd/system/exposr-split.service.d/log.conf", "[Service]\nStandardOutput=file:/run/lab/split.json\n"
    )
    lab.run("systemctl daemon-reload; systemctl start exposr-split")
    found = json.loads(lab.read("/run/lab/split.json"))
    assert found["delegated"] == "1"
    assert found["own"] == "0::/system.slice/exposr-split.service/daemon"
    assert found["child"] == "0::/system.slice/exposr-split.service/training"
    assert found["outside"] != "writable"
