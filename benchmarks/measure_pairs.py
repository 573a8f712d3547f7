#!/usr/bin/env python3
"""benchmarks/measure_pairs.py: packs, verifies and applies pairs of model files, and compares the
bundles with the patches of other tools.

usage: measure_pairs.py TENSORPATCH PAIRS.tsv [--profile NAME] > table.md

PAIRS.tsv has one pair a row, with the columns id, group (lineage or scratch), old, new (paths
beside the table) and best_peer (bytes of the smallest patch that other tools made). Every bundle is
applied and compared; a pair that fails is an error. Writes a Markdown table, worst ratio first, and
the geometric means of bundle / best peer.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import csv
import math
import pathlib
import subprocess
import sys
import tempfile

BLOCK = 64 * 1024


def run(*command):
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")


def bundle_size(program, profile, old, new, folder):
    key, bundle, rebuilt = folder / "key", folder / "u.tpb", folder / "rebuilt"
    for path in (bundle, rebuilt):
        path.unlink(missing_ok=True)
    if not key.exists():
        run(program, "keygen", "-o", key)
    run(program, "pack", old, new, "-o", bundle, "--key", key, "--profile", profile)
    run(program, "verify", bundle, "--pubkey", f"{key}.pub")
    run(program, "apply", old, bundle, "-o", rebuilt, "--pubkey", f"{key}.pub")
    if rebuilt.read_bytes() != new.read_bytes():
        sys.exit(f"{new}: rebuilt file differs")
    return bundle.stat().st_size


def geometric_mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else float("nan")


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("program")
    options.add_argument("pairs", type=pathlib.Path)
    options.add_argument("--profile", default="linux")
    arguments = options.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, open(arguments.pairs) as table:
        for pair in csv.DictReader(table, delimiter="\t"):
            old, new = (arguments.pairs.parent / pair[side] for side in ("old", "new"))
            size = bundle_size(arguments.program, arguments.profile, old, new,
                               pathlib.Path(folder))
            rows.append((pair["id"], pair["group"], new.stat().st_size, int(pair["best_peer"]),
                         size))
    rows.sort(key=lambda row: -row[4] / row[3])
    print(f"| pair | group | new | best other tool | bundle ({arguments.profile}) | ratio |")
    print("|---|---|---|---|---|---|")
    for name, group, new, peer, size in rows:
        print(f"| {name} | {group} | {new:,} | {peer:,} | {size:,} | {size / peer:.3f} |")
    lineage = [row for row in rows if row[1] == "lineage" and row[3] >= 4096]
    made = [row for row in lineage if row[0].startswith("made-")]
    public = [row for row in lineage if row not in made]
    print("\nGeometric mean of bundle / best other tool:")
    for title, chosen in (("lineage, best other tool at least 4 KB, public", public),
                          ("lineage, best other tool at least 4 KB, made", made),
                          ("scratch", [row for row in rows if row[1] == "scratch"])):
        mean = geometric_mean([row[4] / row[3] for row in chosen])
        print(f"- {title}: {mean:.3f} over {len(chosen)} pairs")
    beyond = [r for r in rows if r[4] > r[3] + 600 + 32 * (1 + r[4] // BLOCK)]
    print(f"- beyond the best other tool + 600 bytes + 32 a block: {len(beyond)} of {len(rows)}")


if __name__ == "__main__":
    main()
