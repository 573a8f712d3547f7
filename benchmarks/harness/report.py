# harness/report.py: `bench report`: a summary (Markdown) and a page (HTML) of what `run` measured.
#
# The best other tool of a pair is the one with the smallest result among patches and whole-file
# compressors; methods that nobody can install (role reference) are shown, but never the best.
# Only rows that are ok count, and means are geometric, over pairs that both sides have.
# SPDX-License-Identifier: Apache-2.0
import collections
import html
import json
import math
import pathlib

from harness.run import read_notes, read_rows

HERE = pathlib.Path(__file__).resolve().parents[1]
STYLES = [HERE.parent / 'tools' / 'tensorpatch' / 'page' / 'page.css', HERE / 'report/report.css']
OWN = 'tensorpatch'
LARGE = 4096  # below, what is around a patch weighs more than the patch
OVERHEAD, BLOCK = 600, 64 * 1024  # what a bundle may have beyond a patch: a signature, digests


def mean(ratios):
    ratios = list(ratios)
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def number(text):
    return float(text) if text not in ('', None) else None


class Pair:
    """The rows of one pair, by peer."""

    def __init__(self, rows):
        first = rows[0]
        self.id, self.group = first['pair'], first['group']
        self.family, self.format = first['family'], first['format']
        self.kind = first['kind'] or first['group'] or 'all'
        self.old, self.new = int(first['old_bytes']), int(first['new_bytes'])
        self.rows = {row['peer']: row for row in rows if row['status'] == 'ok'}
        self.failures = {row['peer']: row['status'] for row in rows if row['status'] != 'ok'}
        others = [row for row in self.rows.values() if row['role'] in ('delta', 'full')]
        best = min(others, key=lambda row: int(row['patch_bytes']), default=None)
        self.best = best and best['peer']

    def size(self, peer):
        return int(self.rows[peer]['patch_bytes']) if peer in self.rows else None

    @property
    def ratio(self):
        if self.best is None or OWN not in self.rows:
            return None
        return self.size(OWN) / max(1, self.size(self.best))

    @property
    def beyond(self):
        own, best = self.size(OWN), self.size(self.best)
        return own > best + OVERHEAD + 32 * (1 + own // BLOCK)


def load(paths):
    rows, notes = collections.defaultdict(list), []
    for path in paths:
        notes += [note for note in read_notes(path) if note not in notes]
        for row in read_rows(path):
            rows[row['pair']].append(row)
    if not rows:
        raise SystemExit('the tables have no row')
    return [Pair(each) for each in rows.values()], notes


def peers_of(pairs):
    """Names of peers, ours first, then in the order of the tables."""
    names = {peer: row['role'] for pair in pairs for peer, row in pair.rows.items()}
    return dict(sorted(names.items(), key=lambda item: item[1] != 'tensorpatch'))


def damage(pairs, peer):
    """Sums of right, refused, crashed, silent for each kind of damage."""
    sums = {name: [0, 0, 0, 0] for name in ('flips', 'cuts', 'wrong_old')}
    for pair in pairs:
        for name, total in sums.items():
            cell = pair.rows.get(peer, {}).get(name)
            for i, count in enumerate(cell.split('/') if cell else []):
                total[i] += int(count)
    return sums


def rate(pairs, peer, name):
    """Seconds for a MiB of new."""
    seconds = sum(float(pair.rows[peer][name]) for pair in pairs)
    return seconds / (sum(pair.new for pair in pairs) / 2**20) if pairs else None


def share(pairs, peer):
    return mean(max(1, pair.size(peer)) / pair.new for pair in pairs)


def placed(pairs, both, peer):
    """Where a plot shows a peer: as it stands to bundles on the pairs that both have, and bundles
    on all pairs. The same as its means when it was measured on all."""
    ours = [pair for pair in pairs if OWN in pair.rows]
    if not both:
        return {}
    place = {'share': share(both, peer) / share(both, OWN) * share(ours, OWN)}
    for name in ('diff', 'apply'):
        mine, all_mine, theirs = (rate(chosen, who, f'{name}_cpu') for chosen, who in (
            (both, OWN), (ours, OWN), (both, peer)))
        place[name] = theirs / mine * all_mine if mine else theirs
    return place


def summary(pairs, peer):
    """One peer over all pairs that it and we have."""
    both = [pair for pair in pairs if peer in pair.rows and OWN in pair.rows]
    rows = [pair.rows[peer] for pair in both]

    def peak(name):
        return max((int(row[name]) for row in rows), default=0)
    return {'peer': peer, 'role': rows[0]['role'] if rows else '', 'pairs': len(both),
            'of_new': share(both, peer), 'placed': placed(pairs, both, peer),
            'ours': mean(pair.size(OWN) / max(1, pair.size(peer)) for pair in both),
            'we_win': sum(pair.size(OWN) < pair.size(peer) for pair in both),
            'diff_rate': rate(both, peer, 'diff_cpu'), 'apply_rate': rate(both, peer, 'apply_cpu'),
            'diff_peak': peak('diff_peak_kib'), 'apply_peak': peak('apply_peak_kib'),
            'damage': damage(pairs, peer)}


# --- Markdown -------------------------------------------------------------------------------------

def table(head, rows):
    rule = ['---'] + ['--:'] * (len(head) - 1)
    return [f'| {" | ".join(cells)} |' for cells in [head, rule, *rows]] + ['']


def fixed(value, places=3):
    return '' if value is None else f'{value:,.{places}f}'


def verdicts(counts):
    right, refused, crashed, silent = counts
    words = [(silent, 'SILENT'), (crashed, 'crashed'), (refused, 'refused'), (right, 'right')]
    return ', '.join(f'{count} {word}' for count, word in words if count) or '-'


def kinds_table(measured):
    kinds = collections.defaultdict(list)
    for pair in measured:
        kinds[pair.kind].append(pair)
    rows = []
    for kind, each in sorted(kinds.items(), key=lambda item: -mean(p.ratio for p in item[1])):
        rows.append([kind, str(len(each)), fixed(mean(p.size(OWN) / p.new for p in each)),
                     fixed(mean(max(1, p.size(p.best)) / p.new for p in each)),
                     fixed(mean(p.ratio for p in each)),
                     f'{sum(p.ratio < 1 for p in each)} : {sum(p.ratio >= 1 for p in each)}'])
    return table(['kind', 'pairs', 'bundle / new', 'best other / new', 'bundle / best other',
                  'wins : losses'], rows)


def group_of(pair):
    """What a mean over unlike pairs would hide."""
    relation = 'new descends from old' if pair.group != 'scratch' else 'no relation to old'
    size = 'of 4 KB or more' if pair.size(pair.best) >= LARGE else 'below 4 KB'
    return f'{relation}, best other {size}'


def groups_table(measured):
    rows = []
    for group in sorted({group_of(pair) for pair in measured}, reverse=True):
        each = [pair for pair in measured if group_of(pair) == group]
        rows.append([group, str(len(each)), fixed(mean(p.ratio for p in each)),
                     fixed(min(p.ratio for p in each)), fixed(max(p.ratio for p in each)),
                     f'{sum(p.ratio < 1 for p in each)} : {sum(p.ratio >= 1 for p in each)}'])
    return table(['relation and size', 'pairs', 'bundle / best other', 'best pair', 'worst pair',
                  'wins : losses'], rows)


def instructions_table(pairs):
    """Instructions a byte of new, over the pairs where they were counted for every peer."""
    def counts(pair):
        return {peer for peer, row in pair.rows.items()
                if row['diff_minstr'] and row['apply_minstr']}
    counted = [pair for pair in pairs if counts(pair)]
    if not counted:
        return []
    names = set.intersection(*map(counts, counted))
    rows = []
    for peer in filter(names.__contains__, peers_of(counted)):
        each = [[max(1, 1e6 * float(pair.rows[peer][f'{what}_minstr'])) / pair.new
                 for pair in counted] for what in ('diff', 'apply')]
        rows.append([peer, *(f'{mean(values):,.0f}' for values in each),
                     *(f'{max(values):,.0f}' for values in each)])
    return ['## Instructions', '',
            f'A byte of new, counted by callgrind, over {len(counted)} pairs of '
            f'{min(p.new for p in counted):,} to {max(p.new for p in counted):,} bytes; starting '
            'the program', 'is counted too. bspatch and the like have no signature to check.', '',
            *table(['peer', 'diff, mean', 'apply, mean', 'diff, most', 'apply, most'], rows)]


def markdown(pairs, notes, title):
    measured = [pair for pair in pairs if pair.ratio is not None]
    large = [pair for pair in measured if pair.size(pair.best) >= LARGE]
    lines = [f'# {title}', '', *(f'- {note}' for note in notes), '',
             f'{len(measured)} pairs, {len(peers_of(pairs))} peers; every result was compared with '
             'new, bit for bit. Sizes are in bytes; a', 'bundle is signed, the other patches are '
             'not. Means are geometric.', '',
             f'- bundle / best other tool: {fixed(mean(p.ratio for p in measured))} over all pairs',
             f'- the same where the best other needs 4 KB or more: '
             f'{fixed(mean(p.ratio for p in large))} over {len(large)} pairs',
             f'- smaller than every other tool: {sum(p.ratio < 1 for p in measured)} of '
             f'{len(measured)} pairs',
             f'- larger than the best other tool by more than {OVERHEAD} bytes and 32 for each '
             f'64 KiB: {sum(p.beyond for p in measured)}', '', '## By kind of update, worst first',
             '', *kinds_table(measured), '## By relation and size', '', *groups_table(measured),
             '## By peer', '',
             'Over the pairs that the peer was measured on; *bundle / result* compares with '
             'bundles of the same pairs.', 'Times: processor seconds for a MiB of new. Peaks: the '
             'largest, in MiB.', '']
    sums = [summary(pairs, peer) for peer in peers_of(pairs)]
    lines += table(
        ['peer', 'role', 'pairs', 'result / new', 'bundle / result', 'bundle smaller', 'diff s/MiB',
         'apply s/MiB', 'diff peak', 'apply peak'],
        [[each['peer'], each['role'], str(each['pairs']), fixed(each['of_new']),
          fixed(each['ours']), str(each['we_win']) if each['peer'] != OWN else '',
          fixed(each['diff_rate'], 2), fixed(each['apply_rate'], 2),
          fixed(each['diff_peak'] / 1024, 0), fixed(each['apply_peak'] / 1024, 0)]
         for each in sums if each['pairs']])
    harmed = [each for each in sums if any(map(sum, each['damage'].values()))]
    if harmed:
        lines += ['## What damage does', '', 'SILENT: a wrong file and exit code 0.', '',
                  *table(['peer', 'a bit flipped', 'the patch cut', 'another old file'],
                         [[each['peer'], *map(verdicts, each['damage'].values())]
                          for each in harmed])]
    lines += instructions_table(pairs)
    lines += ['## Pairs, worst first', '',
              *table(['pair', 'kind', 'format', 'new', 'bundle', 'best other', 'by', 'ratio'],
                     [[p.id, p.kind, p.format, f'{p.new:,}', f'{p.size(OWN):,}',
                       f'{p.size(p.best):,}', p.best, fixed(p.ratio)]
                      for p in sorted(measured, key=lambda pair: -pair.ratio)])]
    failures = [(pair.id, peer, why) for pair in pairs for peer, why in pair.failures.items()]
    if failures:
        lines += ['## What did not work', '',
                  *table(['pair', 'peer', 'why'],
                         [[name, peer, why.replace('|', '/')] for name, peer, why in failures])]
    return '\n'.join(lines)


# --- the page -------------------------------------------------------------------------------------

def page_data(pairs, notes, title):
    names = list(peers_of(pairs))
    numbers = ('patch_bytes', 'diff_cpu', 'diff_peak_kib', 'apply_cpu', 'apply_peak_kib')
    return {'title': title, 'notes': notes, 'own': OWN,
            'peers': [summary(pairs, name) for name in names],
            'pairs': [{'id': pair.id, 'group': pair.group, 'family': pair.family,
                       'format': pair.format, 'kind': pair.kind, 'old': pair.old, 'new': pair.new,
                       'best': pair.best, 'ratio': pair.ratio,
                       'rows': {peer: [number(row[name]) for name in numbers]
                                for peer, row in pair.rows.items()}}
                      for pair in pairs]}


def page(pairs, notes, title):
    text = json.dumps(page_data(pairs, notes, title)).replace('<', '\\u003c')
    parts = {'<!--title-->': html.escape(title),
             '/*style*/': ''.join(path.read_text() for path in STYLES),
             '<!--data-->': text, '/*script*/': (HERE / 'report/report.js').read_text()}
    template = (HERE / 'report/report.html').read_text()
    for place, content in parts.items():
        before, after = template.split(place)
        template = before + content + after
    return template


# --- the README -----------------------------------------------------------------------------------

RESULTS = HERE / 'results'
README = HERE.parent / 'README.md'
CORPORA = {'models': 'public models and small ones trained for this project',
           'packages': 'models in public packages', 'trained': 'updates trained by `bench train`'}
BEGIN, END = '<!-- scripts/bench readme -->\n', '<!-- end -->\n'


def sums_on_air(pairs):
    """Time on air over NB-IoT of all bundles, against that of the new files, compressed."""
    from harness import radio
    link = next(unit for unit in radio.load() if unit.name == 'nb-iot')
    costs = [[link.cost(size)[0] for size in sizes[2:]] for sizes in radio.sizes_of(pairs)]
    whole, _, own = map(sum, zip(*costs))
    return own / whole


def readme_text():
    """The part of README.md that is made from the checked-in tables."""
    corpora, kinds = [], []
    for name, title in CORPORA.items():
        pairs = [pair for pair in load([RESULTS / f'{name}.tsv'])[0] if pair.ratio is not None]
        wins = sum(pair.ratio < 1 for pair in pairs)
        large = [pair for pair in pairs if pair.size(pair.best) >= LARGE]
        air = sums_on_air(pairs)
        corpora.append([f'[{title}](benchmarks/results/{name}.md)', str(len(pairs)),
                        fixed(mean(pair.ratio for pair in pairs)),
                        fixed(mean(pair.ratio for pair in large)),
                        f'{wins} : {len(pairs) - wins}', f'{100 * (1 - air):.0f} %'])
        if name == 'models':
            kinds = kinds_table(pairs) + groups_table(pairs)
    corpora = table(['corpus', 'pairs', 'bundle / best other', 'where that has 4 KB or more',
                     'wins : losses', 'less time on air than whole'], corpora)
    return '\n'.join([*corpora, 'The first of these, by kind of update, worst first, and by what a '
                      'mean over all would hide:', '', *kinds])


def readme(_options):
    """Rewrites the part of README.md between two marks."""
    before, rest = README.read_text().split(BEGIN)
    README.write_text(before + BEGIN + readme_text() + END + rest.split(END, 1)[1])
    return 0


def run(options):
    pairs, notes = load(options.results)
    if options.markdown:
        options.markdown.write_text(markdown(pairs, notes, options.title) + '\n')
    if options.html:
        options.html.write_text(page(pairs, notes, options.title))
    if not options.markdown and not options.html:
        print(markdown(pairs, notes, options.title))
    return 0
