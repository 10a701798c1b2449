import os
from pathlib import Path

# One thread a process, set before numpy and torch read it: tests run beside each other, and the
# small steps of most of them take many times as long when threads wait for a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RECAM_COMPILE_BESIDE", "0")

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real clips that lie beside a developer's checkout; a user does not have them."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real clips of ../shared/data are not here")
    return folder
