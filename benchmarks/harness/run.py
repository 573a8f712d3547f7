# harness/run.py: `bench run`: every peer on every pair, each result compared with new.
#
# Writes a table (TSV), one row a pair and peer, after lines that begin with # and tell the machine
# and the versions. Sizes in bytes, times in seconds of the processor (cpu) and of the clock (wall),
# peaks in KiB, instructions in millions. `status` is ok, or says what failed; only rows that are ok
# have a size. What damage does is counted as right/refused/crashed/SILENT: SILENT is a wrong file
# and exit code 0.
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import csv
import dataclasses
import datetime
import os
import pathlib
import platform
import random
import subprocess
import tempfile

from harness import children, pairs as pair_list, peers as peer_list

COLUMNS = ['pair', 'group', 'family', 'format', 'kind', 'old_bytes', 'new_bytes', 'peer', 'role',
           'status', 'patch_bytes', 'diff_cpu', 'diff_wall', 'diff_peak_kib', 'diff_minstr',
           'apply_cpu', 'apply_wall', 'apply_peak_kib', 'apply_minstr', 'flips', 'cuts',
           'wrong_old']

SLOW = 1.5  # seconds of an apply from which on damage is not tried


def machine():
    """The machine in neutral words: no host name, no user, no path."""
    model, memory = platform.machine(), 0
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        for line in file:
            if line.startswith('model name'):
                model = line.split(':', 1)[1].strip()
                break
    with open('/proc/meminfo', encoding='utf-8') as file:
        memory = int(file.readline().split()[1])
    return (f'{model}, {os.cpu_count()} processors, {round(memory / 2**20)} GiB, '
            f'{platform.system()} {platform.release().split("-")[0]}, '
            f'Python {platform.python_version()}')


def program_version(program):
    said = subprocess.run([program, '--version'], stdout=subprocess.PIPE, text=True, check=True)
    return said.stdout.strip().split()[-1]


# --- damage ---------------------------------------------------------------------------------------

def flipped(data, generator):
    damaged = bytearray(data)
    damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    return bytes(damaged)


def cut(data, generator):
    return data[:generator.randrange(len(data))]


def wrong(data):
    """An old file that is not the one: one byte in a thousand differs, the first and last too."""
    damaged = bytearray(data)
    for at in [*range(0, len(data), 1000), len(data) - 1]:
        damaged[at] ^= 0x55
    return bytes(damaged)


@dataclasses.dataclass
class Verdicts:
    right: int = 0
    refused: int = 0
    crashed: int = 0
    silent: int = 0

    def __str__(self):
        return f'{self.right}/{self.refused}/{self.crashed}/{self.silent}'


def judge(peer, job, new, verdicts, timeout):
    """One apply of something damaged."""
    job.out.unlink(missing_ok=True)
    for step in peer.apply(job):
        code, _ = children.call(list(map(str, step)), timeout, job.folder)
        if code != 0:
            break
    if code != 0:
        crashed = code < 0 or 128 < code < 160
        verdicts.crashed += crashed
        verdicts.refused += not crashed
    elif job.out.is_file() and job.out.read_bytes() == new:
        verdicts.right += 1
    else:
        verdicts.silent += 1


def damage(peer, job, count, timeout):
    """Verdicts on `count` flipped bits, as many cuts, and one wrong old file."""
    patch, new = job.patch.read_bytes(), job.new.read_bytes()
    generator = random.Random(f'{peer.name} {len(patch)} {len(new)}')
    bad = dataclasses.replace(job, patch=job.folder / 'damaged', out=job.folder / 'damaged.out')
    results = {}
    for name, change in (('flips', flipped), ('cuts', cut)):
        results[name] = Verdicts()
        for _ in range(count if patch else 0):
            bad.patch.write_bytes(change(patch, generator))
            judge(peer, bad, new, results[name], timeout)
    old = job.old.read_bytes()
    if peer.role != 'full' and old:
        results['wrong_old'] = Verdicts()
        wrong_old = job.folder / 'wrong'
        wrong_old.write_bytes(wrong(old))
        judge(peer, dataclasses.replace(bad, old=wrong_old, patch=job.patch), new,
              results['wrong_old'], timeout)
    return results


# --- one pair and peer ----------------------------------------------------------------------------

def costs(name, cost):
    return {f'{name}_cpu': f'{cost.cpu:.2f}', f'{name}_wall': f'{cost.wall:.2f}',
            f'{name}_peak_kib': cost.peak_kib}


def measure(peer, pair, options, folder):
    """The row of one peer on one pair, without what identifies them."""
    job = peer_list.Job(pair.old, pair.new, folder / 'patch', folder / 'out', folder)
    made = children.run(peer.diff(job), options.timeout, folder)
    row = costs('diff', made.cost)
    if not made.ok:
        return row | {'status': f'diff failed: {made.code} {made.message}'.strip()}
    applied = children.run(peer.apply(job), options.timeout, folder)
    row |= costs('apply', applied.cost)
    if not applied.ok:
        return row | {'status': f'apply failed: {applied.code} {applied.message}'.strip()}
    if not job.out.is_file() or job.out.read_bytes() != pair.new.read_bytes():
        return row | {'status': 'WRONG: the result differs from new'}
    row |= {'status': 'ok', 'patch_bytes': job.patch.stat().st_size - peer.extra}
    if 0 < pair.new.stat().st_size <= options.instructions and peer.counted:
        for name, steps in (('diff', peer.diff(job)), ('apply', peer.apply(job))):
            count = children.count_instructions(steps, 20 * options.timeout, folder)
            row[f'{name}_minstr'] = f'{count / 1e6:.1f}' if count else ''
    if (options.faults and applied.cost.wall < SLOW and
            pair.new.stat().st_size <= options.fault_limit):
        row |= damage(peer, job, options.faults, options.timeout)
    return row


def row_of(peer, pair, options):
    with tempfile.TemporaryDirectory() as folder:
        return identity(pair, peer) | measure(peer, pair, options, pathlib.Path(folder))


def identity(pair, peer):
    return {'pair': pair.id, 'group': pair.group, 'family': pair.family, 'format': pair.format,
            'kind': pair.kind, 'old_bytes': pair.old.stat().st_size,
            'new_bytes': pair.new.stat().st_size, 'peer': peer.name, 'role': peer.role}


def read_rows(path):
    """Rows of a table that `run` wrote."""
    with open(path, encoding='utf-8') as file:
        return list(csv.DictReader((line for line in file if not line.startswith('#')),
                                   delimiter='\t'))


def read_notes(path):
    with open(path, encoding='utf-8') as file:
        return [line[1:].strip() for line in file if line.startswith('#')]


def limits(options, peers):
    """What was not measured for every pair, in words."""
    slow = {}
    for peer in peers:
        if peer.slow and options.slow_limit is not None:
            slow.setdefault(int(options.slow_limit / peer.slow), []).append(peer.name)
    for limit, names in slow.items():
        yield f'only pairs with new of at most {limit:,} bytes: {", ".join(names)}'
    if options.instructions:
        yield f'instructions: callgrind, pairs with new of at most {options.instructions:,} bytes'
    if options.faults:
        yield (f'damage: {options.faults} flips and cuts, pairs with new of at most '
               f'{options.fault_limit:,} bytes and an apply below {SLOW} s')
    if options.jobs > 1:
        yield f'{options.jobs} pairs at a time: compare processor time, not the clock'


def write_head(out, options, peers, absent):
    versions = [f'{peer.name} {peer.version()}'.strip() for peer in peers
                if peer.role in ('delta', 'full')]
    notes = [f'machine: {machine()}', f'date: {datetime.date.today()}',
             f'tensorpatch: {program_version(options.tensorpatch)}',
             *([options.note] if options.note else []),
             f'peers: {"; ".join(versions)}',
             *limits(options, peers),
             *(f'left out: {name}: {why}' for name, why in absent.items())]
    out.write(''.join(f'# {note}\n' for note in notes) + '\t'.join(COLUMNS) + '\n')


def chosen_pairs(options):
    pairs = pair_list.load(options.pairs)
    if unknown := set(options.only or []) - {pair.id for pair in pairs}:
        raise SystemExit(f'no such pair: {", ".join(sorted(unknown))}')
    return [pair for pair in pairs if not options.only or pair.id in options.only]


def run(options):
    pairs = chosen_pairs(options)
    peers, absent = peer_list.choose(options.peers)
    os.environ['TENSORPATCH'] = str(options.tensorpatch)
    done = set()
    resumed = options.resume and options.output.is_file()
    if resumed:
        done = {(row['pair'], row['peer']) for row in read_rows(options.output)}
    failed = 0
    with (tempfile.TemporaryDirectory() as keys,
          open(options.output, 'a' if resumed else 'w', encoding='utf-8') as out):
        key = pathlib.Path(keys) / 'key'
        subprocess.run([options.tensorpatch, 'keygen', '-o', key], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        own = [peer_list.tensorpatch(options.tensorpatch, profile, key)
               for profile in options.profiles]
        if not resumed:
            write_head(out, options, peers, absent)
        for name, why in absent.items():
            print(f'left out: {name}: {why}', flush=True)
        def rows_of(pair):
            chosen = [peer for peer in own + peers if (pair.id, peer.name) not in done and
                      peer.takes(pair.new.stat().st_size, options.slow_limit)]
            return [row_of(peer, pair, options) for peer in chosen]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for number, (pair, rows) in enumerate(zip(pairs, pool.map(rows_of, pairs)), 1):
                for row in rows:
                    out.write('\t'.join(clean(row.get(name, '')) for name in COLUMNS) + '\n')
                    if row['status'] != 'ok':
                        failed += 1
                        print(f'{pair.id} {row["peer"]}: {row["status"]}', flush=True)
                out.flush()
                print(f'{number} of {len(pairs)}: {pair.id}', flush=True)
    print(f'{len(pairs)} pairs, {len(own) + len(peers)} peers, {failed} failed: {options.output}')
    return 0


def clean(value):
    return str(value).replace('\t', ' ').replace('\n', ' ')
