"""Downloads through a line that cuts, delays, truncates and flips bits, while the trainer is killed and publishes.

    .venv/bin/python -P bench/client_faults.py [--downloads 500] [--size 300000] [--seed 0]

No wrong byte may ever get its final name: exits 1 when one did. Prints how the downloads ended, and what was done.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "client"))

from fault_run import run

from exposr_client.following import flows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--downloads", type=int, default=500)
    parser.add_argument("--size", type=int, default=300_000, help="bytes of the weights")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    flows.RETRY_SECONDS = 0.01
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="exposr-faults-") as folder:
        outcome = run(Path(folder), given.downloads, given.size, given.seed)
    print(f"{given.downloads} downloads in {time.monotonic() - started:.0f} s")
    print(f"ended with the right version: {outcome.good}")
    print(f"ended with a clear error:     {sum(outcome.errors.values())} {dict(outcome.errors)}")
    print(f"faults injected:              {sum(outcome.faults.values())} {dict(outcome.faults)}")
    print(f"trainer killed {outcome.restarts} times, published {outcome.published} versions")
    print(f"wrong bytes, lost models:     {len(outcome.wrong)} {outcome.wrong[:3]}")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
