"""The ledger from a script: rows of the newest run, each with where it came from and what came of it.

Run it after any run:  python examples/read_ledger.py
"""

from quintet.memory.lineage import lineage
from quintet.memory.workspace import Workspace
from quintet.records import Row

with Workspace.existing("runs").ledger() as ledgers:
    ledger = ledgers.run()  # the newest; or by name, such as ledgers.run("arithmetic-1")
    rows = ledger.find(Row)
    print(f"{ledger.run}: {len(rows)} rows; the first three:")
    for row in rows[:3]:
        found = lineage(ledger, row.id)
        print(f"\n{row.id}, round {row.round}: {row.completion!r}")
        for relative in found.ancestors:
            print(f"  from {relative.kind:<12} {relative.preview}")
        for relative in found.descendants:
            print(f"  into {relative.kind:<12} {relative.preview}")
