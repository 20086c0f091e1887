from __future__ import annotations

import argparse

from benchmarks import RESULTS
from benchmarks.common import machine
from benchmarks.studies import tables
from benchmarks.studies.tables import measure, sets
from benchmarks.studies.tables.contestants import CONTESTANTS, OTHERS
from benchmarks.studies.tables.page import page


def main() -> None:
    options = parsed()
    machine.on_one_core()
    results = measure.Results(RESULTS / "tables.jsonl")
    if not options.page:
        usual = [name for name in CONTESTANTS if name not in OTHERS]
        names = [name for name, table in sets.TABLES.items() if table.half == options.part]
        chosen = [name for name in names if not options.only or name in options.only]
        measure.run(results, chosen, options.contestant or usual, options.again, options.split)
    text = page(results)
    (RESULTS / "tables.md").write_text(text, encoding="utf-8")
    print(text)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.tables", description=tables.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--part", choices=("tune", "final"), default="tune", help="default: tune")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="tables of that part")
    parser.add_argument("--contestant", nargs="+", choices=CONTESTANTS, metavar="NAME")
    parser.add_argument("--split", type=int, nargs="+", choices=sets.SPLITS, default=sets.SPLITS)
    parser.add_argument("--again", action="store_true", help="also what has results already")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    known = [name for name, table in sets.TABLES.items() if table.half == options.part]
    if unknown := [name for name in options.only or () if name not in known]:
        parser.error(
            f"--only: {', '.join(unknown)} is not in part {options.part}, which has "
            f"{', '.join(known)}."
        )
    return options


if __name__ == "__main__":
    main()
