# harness/scale.py: `bench scale`: time and memory of pack and apply as files grow, and beside the
# programs that set the goals.
#
# Pairs are generated from a seed, tensor by tensor, so that files larger than memory are no matter.
# Times are of the processor, user and system; peaks are private memory (RssAnon + RssShmem, sampled
# every few milliseconds), since files are mapped. Needs numpy; writes Markdown.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import os
import pathlib
import re
import struct
import subprocess
import tempfile
import threading
import time

from harness.run import machine

MIB = 1 << 20
TENSOR_BYTES = 32 * MIB
COLUMNS = 4096
SAMPLE_SECONDS = 0.005


# --- pairs ----------------------------------------------------------------------------------------

def numpy():
    import numpy as np
    return np


def raw_pair(folder, size):
    """int8 without a container."""
    paths = make_pair(folder, 'int8', size)
    for path in paths:
        data = path.read_bytes()
        path.write_bytes(data[8 + int.from_bytes(data[:8], 'little'):])
    return paths


def to_bf16(values):
    np = numpy()
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def bf16_tensor(random, rows):
    np = numpy()
    old = random.standard_normal((rows, COLUMNS), dtype=np.float32) * np.float32(0.02)
    new = old + random.standard_normal(old.shape, dtype=np.float32) * np.float32(1e-4)
    return to_bf16(old).tobytes(), to_bf16(new).tobytes()


def int8_tensor(random, rows):
    np = numpy()
    old = random.standard_normal((rows, COLUMNS), dtype=np.float32) * np.float32(32)
    new = old + random.standard_normal(old.shape, dtype=np.float32) * np.float32(0.4)
    return [np.clip(np.rint(values), -127, 127).astype(np.int8).tobytes() for values in (old, new)]


def rarely(random, data, width, share):
    """The same with a small step in `share` of the values."""
    np = numpy()
    values = np.frombuffer(data, np.dtype(f'<u{width}')).copy()
    at = random.integers(0, values.size, int(values.size * share))
    values[at] += random.integers(1, 3, at.size).astype(values.dtype)
    return values.tobytes()


def sparse_tensor(random, rows):
    old, _ = bf16_tensor(random, rows)
    return old, rarely(random, old, 2, 0.001)


def q4_k_tensor(random, rows):
    """Blocks of 256 weights: scale and minimum (fp16), 12 bytes of 6-bit ones, 128 of codes."""
    np = numpy()
    blocks = rows * COLUMNS // 256
    pair = []
    scales = np.exp(random.standard_normal((blocks, 2)) * 0.3) * 1e-3
    packed = random.integers(0, 256, (blocks, 12), np.uint8)
    codes = random.standard_normal((blocks, 256), dtype=np.float32) * np.float32(3) + np.float32(8)
    for step in (0, 1):
        factor = 1 + step * 0.002 * random.standard_normal(scales.shape)
        noise = random.standard_normal(codes.shape, dtype=np.float32) * np.float32(0.15 * step)
        now = np.clip(np.rint(codes + noise), 0, 15).astype(np.uint8)
        nibbles = now[:, 0::2] | now[:, 1::2] << 4
        bits = (scales * factor).astype(np.float16).view(np.uint8).reshape(blocks, 4)
        moved = packed.copy()
        if step:
            at = random.integers(0, moved.size, moved.size // 20)
            moved.ravel()[at] ^= 1
        pair.append(np.concatenate([bits, moved, nibbles], axis=1).tobytes())
    return pair


def safetensors_head(kind, counts):
    name = {'int8': 'I8'}.get(kind, 'BF16')
    size = 1 if kind == 'int8' else 2
    head, at = {}, 0
    for i, rows in enumerate(counts):
        end = at + rows * COLUMNS * size
        head[f'layers.{i}.weight'] = {'dtype': name, 'shape': [rows, COLUMNS],
                                      'data_offsets': [at, end]}
        at = end
    text = json.dumps(head, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    return struct.pack('<Q', len(text)) + text


def gguf_head(counts):
    head, at = b'GGUF' + struct.pack('<IQQ', 3, len(counts), 0), 0
    for i, rows in enumerate(counts):
        name = f'blk.{i}.weight'.encode()
        head += struct.pack('<Q', len(name)) + name
        head += struct.pack('<IQQIQ', 2, COLUMNS, rows, 12, at)
        at += rows * COLUMNS // 256 * 144
    return head + b'\0' * (-len(head) % 32)


KINDS = {  # kind: bytes of a row, and what makes a tensor
    'bf16': (COLUMNS * 2, bf16_tensor, 'safetensors bf16, every weight moved a little'),
    'int8': (COLUMNS, int8_tensor, 'safetensors int8, a third of the weights moved'),
    'q4_k': (COLUMNS // 256 * 144, q4_k_tensor, 'GGUF Q4_K, an eighth of the codes moved'),
    'sparse': (COLUMNS * 2, sparse_tensor, 'safetensors bf16, a weight of 1,000 moved'),
    'copy': (COLUMNS * 2, sparse_tensor, 'safetensors bf16, one tensor of many moved'),
}


def make_pair(folder, kind, size):
    """old and new of about `size` bytes."""
    np = numpy()
    row_bytes, make, _ = KINDS[kind]
    rows = max(1, size // row_bytes)
    per_tensor = max(1, min(TENSOR_BYTES // row_bytes, (rows + 7) // 8))
    counts = [min(per_tensor, rows - at) for at in range(0, rows, per_tensor)]
    head = gguf_head(counts) if kind == 'q4_k' else safetensors_head(kind, counts)
    paths = folder / f'{kind}.old', folder / f'{kind}.new'
    with open(paths[0], 'wb') as old, open(paths[1], 'wb') as new:
        old.write(head)
        new.write(head)
        for i, count in enumerate(counts):
            pair = make(np.random.default_rng([1, i]), count)
            old.write(pair[0])
            new.write(pair[0] if kind == 'copy' and i != 0 else pair[1])
    return paths


def make_holes(folder, size):
    """A file of holes with some text every GiB, and the same with other text."""
    paths = folder / 'holes.old', folder / 'holes.new'
    for path, word in zip(paths, (b'old', b'new')):
        with open(path, 'wb') as file:
            for at in range(0, size, 1 << 30):
                file.seek(at)
                file.write(b'%s text at %d' % (word, at))
            file.truncate(size)
    return paths


# --- measuring ------------------------------------------------------------------------------------

@dataclasses.dataclass
class Cost:
    wall: float
    cpu: float
    private: int  # bytes at the peak


def private_bytes(pid):
    try:
        with open(f'/proc/{pid}/status', encoding='ascii') as file:
            found = re.findall(r'Rss(?:Anon|Shmem):\s+(\d+)', file.read())
    except OSError:
        return 0
    return sum(map(int, found)) << 10


def measure(argv):
    began = time.monotonic()
    child = subprocess.Popen([*map(str, argv)], stdout=subprocess.DEVNULL)
    peak, ended = [0], threading.Event()

    def watch():
        while not ended.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], private_bytes(child.pid))
    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - began
    ended.set()
    watcher.join()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f'{" ".join(map(str, argv))}: exit code {child.returncode}')
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak[0])


class Bench:
    def __init__(self, program, folder, jobs):
        self.program, self.folder, self.jobs = program, folder, jobs
        self.key = folder / 'key'
        subprocess.run([program, 'keygen', '-o', self.key, '--force'], check=True,
                       stdout=subprocess.DEVNULL)

    def pack(self, old, new, *options):
        return measure([self.program, 'pack', old, new, '-o', self.folder / 'bundle', '--force',
                        '--key', self.key, *options])

    def apply(self, old, new):
        out = self.folder / 'applied'
        cost = measure([self.program, 'apply', old, self.folder / 'bundle', '-o', out, '--force',
                        '--pubkey', f'{self.key}.pub'])
        subprocess.run(['cmp', '-s', new, out], check=True)
        out.unlink()
        return cost

    def grow(self, kind, size):
        pair = make_holes(self.folder, size) if kind == 'holes' else make_pair(self.folder, kind,
                                                                               size)
        real = pair[1].stat().st_size
        pack = self.pack(*pair, '--jobs', self.jobs)
        bundle = (self.folder / 'bundle').stat().st_size
        apply = self.apply(*pair)
        for path in pair:
            path.unlink()
        mib = real / MIB
        return [kind, f'{mib:,.0f}', f'{100 * bundle / real:.2f} %', f'{pack.cpu:.1f}',
                f'{pack.wall:.1f}', f'{mib / pack.cpu:.1f}', f'{pack.private / MIB:.0f}',
                f'{apply.cpu:.2f}', f'{mib / apply.cpu:.1f}', f'{apply.private / MIB:.1f}']


    # Beside the programs that set the goals; the best of three, each in turn.
    def race(self, kind, size):
        old, new = (raw_pair(self.folder, size) if kind == 'raw' else
                    make_pair(self.folder, kind, size))
        patch, out = self.folder / 'other', self.folder / 'out'
        peers = {'bsdiff': ['bsdiff', old, new, patch], 'bspatch': ['bspatch', old, out, patch],
                 'zstd -19': ['zstd', '-19', '-qf', new, '-o', out],
                 'sha256': ['openssl', 'dgst', '-sha256', old, new],
                 'cp': ['cp', new, out]}
        costs = {name: measure(argv).cpu for name, argv in peers.items()}
        packs = [self.pack(old, new, '--jobs', jobs) for jobs in (1, 2, 1, 2, 1, 2)]
        wall = [min(pack.wall for pack in packs[i::2]) for i in (0, 1)]
        pack = min(pack.cpu for pack in packs[::2])
        apply = min(self.apply(old, new).cpu for _ in range(3))
        self.pack(old, new, '--profile', 'mcu-16k')
        small = min(self.apply(old, new).cpu for _ in range(3))
        mib = new.stat().st_size / MIB
        row = [kind, f'{mib:.0f}', f'{pack:.2f}', f'{costs["bsdiff"] / pack:.1f}',
               f'{pack / costs["zstd -19"]:.2f}', f'{wall[0] / wall[1]:.2f}', f'{mib / apply:.1f}',
               f'{mib / small:.1f}', f'{apply / costs["bspatch"]:.2f}',
               f'{(apply - costs["cp"]) / costs["sha256"]:.2f}']
        for path in (old, new, patch, out):
            path.unlink(missing_ok=True)
        return row


GROWTH_HEAD = ['pair', 'MiB', 'bundle', 'pack: cpu s', 'wall s', 'MiB/s of cpu', 'peak MiB',
               'apply: cpu s', 'MiB/s', 'peak MiB']
RACE_HEAD = ['pair', 'MiB', 'pack, cpu s', 'bsdiff / pack', 'pack / zstd -19',
             'wall of 1 / 2 jobs', 'apply, MiB/s', 'for mcu-16k', 'apply / bspatch',
             '(apply - cp) / SHA-256 of both']


def table(head, rows):
    lines = ['| ' + ' | '.join(row) + ' |' for row in [head, ['---'] * len(head), *rows]]
    return '\n'.join(lines) + '\n'


def run(options):
    grown, raced = [], []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = Bench(options.tensorpatch, pathlib.Path(folder), options.jobs)
        for kind in options.race:
            raced.append(bench.race(kind, options.race_size))
            print(' '.join(raced[-1]), flush=True)
        for kind in options.kinds:
            for size in options.sizes:
                grown.append(bench.grow(kind, size))
                print(' '.join(grown[-1]), flush=True)
    print(f'\n{machine()}\n\n{table(RACE_HEAD, raced)}\n{table(GROWTH_HEAD, grown)}')
    return 0
