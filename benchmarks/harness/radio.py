# harness/radio.py: `bench radio`: seconds on air and energy of updates, from lib/bundle/radio.tsv.
#
# An estimate for comparing: a receiver that is on exactly while frames arrive, no retries, no
# signalling, full frames. What a real network adds (duty cycles, paging, repetitions) it adds to
# every method in proportion to its frames.
# SPDX-License-Identifier: Apache-2.0
import collections
import csv
import dataclasses
import math
import pathlib

TABLE = pathlib.Path(__file__).resolve().parents[2] / 'lib' / 'bundle' / 'radio.tsv'
WHOLE = ('zstd-19', 'xz-9e', 'brotli-11')  # what a device downloads without deltas


@dataclasses.dataclass(frozen=True)
class Unit:
    """One row of the table."""
    kind: str
    name: str
    title: str
    bytes: int
    ms: float
    mw: float
    source: str

    def cost(self, size):
        """(seconds, millijoules) of `size` bytes."""
        seconds = math.ceil(size / self.bytes) * self.ms / 1000
        return seconds, seconds * self.mw


def load(path=TABLE):
    with open(path, encoding='utf-8') as file:
        rows = csv.DictReader((line for line in file if not line.startswith('#')), delimiter='\t',
                              quoting=csv.QUOTE_NONE)
        return [Unit(row['kind'], row['name'], row['title'], int(row['bytes']), float(row['ms']),
                     float(row['mw']), row['source']) for row in rows]


def airtime_ms(payload, spreading, bandwidth=125_000, preamble=8, coding=1):
    """LoRa time on air after Semtech AN1200.13: explicit header, no payload CRC (downlink)."""
    symbol = 2 ** spreading / bandwidth * 1000
    slow = 1 if symbol > 16 else 0  # low data rate optimisation
    bits = 8 * payload - 4 * spreading + 28
    blocks = max(0, math.ceil(bits / (4 * (spreading - 2 * slow))))
    return (preamble + 4.25 + 8 + blocks * (coding + 4)) * symbol


@dataclasses.dataclass
class Update:
    air: float = 0.0      # seconds of the receiver
    seconds: float = 0.0  # all: air, apply, flash
    millijoules: float = 0.0


def update(units, link, size, new, decodes):
    """The cost of one update: `size` bytes over the link, then `new` bytes of storage written."""
    steps = [(link, size)]
    steps += [(unit, new) for unit in units if unit.kind == 'flash' or
              (decodes and unit.kind == 'apply')]
    costs = [unit.cost(count) for unit, count in steps]
    return Update(costs[0][0], sum(cost[0] for cost in costs), sum(cost[1] for cost in costs))


def duration(seconds):
    for limit, divisor, name in ((120, 1, 's'), (7200, 60, 'min'), (math.inf, 3600, 'h')):
        if seconds < limit:
            return f'{seconds / divisor:,.3g} {name}'


def energy(millijoules):
    return f'{millijoules:,.3g} mJ' if millijoules < 1000 else f'{millijoules / 1000:,.3g} J'


def sizes_of(pairs):
    """(kind, new, bytes of: whole file, best other tool, bundle) of each pair."""
    from harness import report
    for pair in pairs:
        whole = [pair.size(peer) for peer in WHOLE if peer in pair.rows]
        if pair.ratio is not None and whole:
            yield pair.kind, pair.new, min(whole), pair.size(pair.best), pair.size(report.OWN)


def link_table(units, updates):
    """Means over updates, link by link."""
    from harness.report import table
    rows = []
    for link in (unit for unit in units if unit.kind == 'link'):
        sums = [[Update(), size] for size in (2, 3, 4)]
        for each in updates:
            for total, column in sums:
                one = update(units, link, each[column], each[1], column != 2)
                total.air += one.air / len(updates)
                total.millijoules += one.millijoules / len(updates)
        whole, best, own = (total for total, _ in sums)
        rows.append([link.title, duration(whole.air), duration(best.air), duration(own.air),
                     f'{100 * (1 - own.air / whole.air):.1f} %', energy(whole.millijoules),
                     energy(best.millijoules), energy(own.millijoules)])
    return table(['link', 'on air: whole file', 'best other tool', 'bundle', 'less than whole',
                  'energy: whole file', 'best other tool', 'bundle'], rows)


def kind_table(units, updates):
    """Radio-on time that bundles save, by kind; over LoRaWAN DR5, all updates of a kind added."""
    from harness.report import table
    link = next(unit for unit in units if unit.name == 'lorawan-sf7')
    kinds = collections.defaultdict(list)
    for each in updates:
        kinds[each[0]].append([link.cost(size)[0] for size in each[2:]])
    rows = []
    for kind, times in kinds.items():
        whole, best, own = map(sum, zip(*times))
        rows.append((own / whole, [kind, str(len(times)), f'{100 * (1 - own / whole):.1f} %',
                                   f'{100 * (1 - own / best):.1f} %']))
    return table(['kind', 'updates', 'less radio-on time than the whole file',
                  'than the best other tool'], [row for _, row in sorted(rows, reverse=True)])


def run(options):
    from harness import report
    units = load()
    if options.results:
        updates = list(sizes_of(report.load(options.results)[0]))
    elif options.patch is not None and options.new is not None:
        updates = [('one update', options.new, options.new, options.new, options.patch)]
    else:
        raise SystemExit('bench radio: give tables of results, or --patch and --new')
    mean = [sum(each[i] for each in updates) / len(updates) for i in range(1, 5)]
    print(f'# Time on air and energy of {len(updates)} updates\n')
    print(f'Means: new {mean[0]:,.0f} bytes; whole file, compressed {mean[1]:,.0f}; best other '
          f'tool {mean[2]:,.0f}; bundle {mean[3]:,.0f}.\nEnergy: receiving, applying (not for '
          'whole files) and writing flash.\n')
    print('\n'.join(link_table(units, updates)))
    print('\n'.join(kind_table(units, updates)))
    print('Figures and sources:\n')
    print('\n'.join(report.table(['what', 'bytes', 'ms', 'mW', 'source'],
                          [[unit.title, str(unit.bytes), f'{unit.ms:g}', f'{unit.mw:g}',
                            unit.source] for unit in units])), end='')
    return 0
