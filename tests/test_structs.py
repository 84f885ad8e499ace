"""Many threads may decode a Struct for the first time at once. Unprepared, msgspec 0.22 ends the process there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PROGRAM = """
from __future__ import annotations
import sys, threading, types
import msgspec
from fedyard.wire.structs import prepare_structs

sys.setswitchinterval(1e-6)
nested = types.ModuleType("nested")
sys.modules["nested"] = nested
source = "from __future__ import annotations\\nimport msgspec\\n"
for n in range(40):
    fields = [f"    f{{m}}: int | None = None\\n" for m in range(15)]
    inner = f"    inner: S{{n - 1}} | None = None\\n" if n else ""
    source += f"class S{{n}}(msgspec.Struct):\\n" + "".join(fields) + inner
exec(source, nested.__dict__)
text = b'{{"f1":1' + b',"inner":{{"f1":2' * 39 + b'}}' * 40
start = threading.Barrier(4)

def decode():
    start.wait()
    assert msgspec.json.decode(text, type=nested.S39).inner.f1 == 2

if "{prepared}" == "prepared":
    prepare_structs()
threads = [threading.Thread(target=decode) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("read")
"""


def tries(prepared: str) -> list[tuple[int, str]]:
    program = PROGRAM.format(prepared=prepared)
    ran = [
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
        for _ in range(4)
    ]
    return [(one.returncode, one.stdout.strip()) for one in ran]


def test_prepared_structs_can_be_read_by_many_threads() -> None:
    assert tries("prepared") == [(0, "read")] * 4


def test_that_msgspec_still_needs_it() -> None:
    """If this fails, prepare_structs can go."""
    assert tries("unprepared") != [(0, "read")] * 4
