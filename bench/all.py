"""Every measurement of bench/README.md, one after the other, quickly: the table again, with what came out.

    python -P bench/all.py [--full] [--only NAME ...] [--json FILE] [--list]

Without `--full`, each program runs with the short arguments of `QUICK`, so that all of it takes about an hour on two
cores; the figures are rougher then. A row is `passed` or `failed` by the program's exit status, `measured` where the
program judges nothing, and `not run` with the reason. Ends with status 1 when a demand is not met. `--json` gets each
row with its command, status, seconds and output.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
QUICK = {
    "api.py": "--seconds 4",
    "console.py": "20000",
    "client_faults.py": "--downloads 60",
    "core_reload.py": "--requests 400 --reloads 3",
    "delivery.py": "--rounds 3 --clients 1",
    "gate_seeds.py": "--seeds 3",
    "growth.py": "--pictures 10000 --drops 30 --idle 30",
    "harvest.py memory": "--candidates 3000",
    "harvest.py rate": "--images 300",
    "import.py": "--pictures 500 --forms webdataset",
    "intake.py": "--files 600 --repeats 3",
    "loading.py": "--steps 20",
    "planted_shortcuts.py": "--train 60 --test 200",
    "real_signal.py": "--pairs 60",
    "real_signal.py --stored": "95 60 --pairs 60",
    "retrain.py": "--pictures 300",
    "scale.py memory": "--candidates 500 3000",
    "scale.py survive": "--candidates 400 --kills 1",
    "soak.py": "--files 3000 --scrapes 10 --trainings 1 --seconds 300",
    "split.py": "--samples 10000 100000 --repeats 1",
    "startup.py": "--files 20000 --runs 3",
    "status.py": "--rounds 3 --seconds 1",
    "storage_only.py": "--seeds 2 --pictures 200 --size 64",
}
UNJUDGED = ("api.py", "console.py", "harvest.py")
NOTHING_FOUND = "ended without a word"
FIGURES = {  # what is shown of the output; else its last line
    "console.py": r"(?m)^(\S*(?:conflict|flux)\S*) +([\d.]+)",
    "growth.py": r'"(pictures|answers_s|comparison_by_find|\w+_p99_s|idle_percent|state_bytes_per_picture)": ([\d.]+)',
    "intake.py": r'"(check \d+ px|burst \d+ px|ratio)": ([\d.]*)',
    "startup.py": r"(elapsed|processor) +median ([\d.]+)",
    "scale.py": r'"(exact|stored|growth_mib|peaks)": ([^,\n{]*)',
}


@dataclass(slots=True)
class Row:
    """One line of the table; `outcome` is passed, failed, measured or not run."""

    what: str
    command: str
    demand: str
    outcome: str = "not run"
    figure: str = ""
    status: int | None = None
    seconds: float = 0.0
    output: str = ""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--full", action="store_true")
    options.add_argument("--only", nargs="+", default=[], metavar="NAME", help="programs, as growth or scale.py")
    options.add_argument("--limit", type=float, default=900, help="seconds for one program; with --full an hour")
    options.add_argument("--json", type=Path)
    options.add_argument("--list", action="store_true", help="say what would run")
    given = options.parse_args()
    rows = [row for row in read_rows() if not given.only or name_of(row.command).removesuffix(".py") in wanted(given)]
    for row in rows:
        row.command = row.command if given.full else shorten(row.command)
        missing = why_not(row.command)
        if missing:
            row.figure = missing
        elif not given.list:
            run(row, 3600 if given.full else given.limit)
        print(f"| {row.what} | {row.command} | {row.demand} | {row.figure} | {row.outcome} |", flush=True)
    if given.json:
        load = os.getloadavg()[0]
        text = json.dumps({"load": load, "processors": os.cpu_count(), "rows": [asdict(row) for row in rows]}, indent=2)
        given.json.write_text(text + "\n", encoding="utf-8")
    return 1 if any(row.outcome == "failed" for row in rows) else 0


def wanted(given: argparse.Namespace) -> set[str]:
    return {name.removesuffix(".py") for name in given.only}


def read_rows() -> list[Row]:
    """Of bench/README.md: each program once, at its first row."""
    rows: list[Row] = []
    for line in (HERE / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) < 3 or not line.startswith("|") or cells[0] == "what" or set(line) <= set("|-"):
            continue
        named = re.search(r"`([\w/.]+\.py[^`]*)`", cells[1])
        command = named.group(1) if named else cells[1]
        if command not in [row.command for row in rows]:
            rows.append(Row(cells[0], command, cells[2]))
    return rows


def name_of(command: str) -> str:
    return command.split()[0]


def key_of(command: str) -> str:
    """The program, with its first word where that says what to measure."""
    words = command.split()
    return " ".join(words[:2]) if " ".join(words[:2]) in QUICK else words[0]


def shorten(command: str) -> str:
    key = key_of(command)
    return f"{key} {QUICK[key]}" if key in QUICK else command


def why_not(command: str) -> str:
    """Why a row cannot be run here, in words."""
    needs: dict[str, tuple[Callable[[], bool], str]] = {
        "gpu.py": (has_gpu, "no GPU"),
        "delivery.py": (lambda: bool(shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")), "no nginx"),
        "split.py": (lambda: importlib.util.find_spec("faiss") is not None, "needs the extra `bench`"),
        "unseen.py": (lambda: "FOLDER" not in command, "needs a folder of sources and generators"),
        "import.py": (lambda: importlib.util.find_spec("pyarrow") is not None, "needs the extra `exchange`"),
    }
    if not command.split()[0].endswith(".py"):
        return "by hand"
    if not (HERE / name_of(command)).is_file():
        return "there is no such program"
    is_met, reason = needs.get(name_of(command), (lambda: True, ""))
    return "" if is_met() else reason


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def run(row: Row, limit: float) -> None:
    command = [sys.executable, *shlex.split(f"{HERE}/{row.command}")]  # programs import each other from here
    started = time.monotonic()
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=limit, cwd=HERE.parent, check=False)
    except subprocess.TimeoutExpired:
        row.figure, row.seconds = f"took longer than {limit:.0f} s", limit
        return
    row.seconds, row.status = time.monotonic() - started, ended.returncode
    row.output = (ended.stdout + ended.stderr)[-20_000:]
    row.figure = figure_of(row.command, ended.stdout, ended.stderr)
    if ended.returncode not in (0, 1) or (ended.returncode and "Traceback" in ended.stderr):
        row.figure = f"ended with status {ended.returncode}: {row.figure}"
    elif ended.returncode == 1:
        row.outcome = "failed"
    else:
        row.outcome = "measured" if name_of(row.command) in UNJUDGED else "passed"


def figure_of(command: str, output: str, errors: str) -> str:
    pattern = FIGURES.get(name_of(command))
    found = re.findall(pattern, output) if pattern else []
    if found:
        return ", ".join(" ".join(part for part in (name, value) if part) for name, value in found)
    lines = [line.strip() for line in (output + errors).splitlines() if line.strip()]
    return lines[-1][:200].replace("|", "/") if lines else NOTHING_FOUND


if __name__ == "__main__":
    sys.exit(main())
