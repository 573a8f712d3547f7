# harness/peers.py: the tools that are compared, and how each is called.
#
# A peer gives the steps (argument lists) of diff and apply; a step that fails ends them. Roles:
# `tensorpatch`; `delta`: makes a patch against old; `full`: compresses new alone; `reference`:
# a published method written here, which nobody can install. What is not installed is left out, and
# the result says so. Options are each tool's strongest that is in common use.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable

WORKER = pathlib.Path(__file__).with_name('worker.py')
BIG = 64 << 20


@dataclasses.dataclass(frozen=True)
class Job:
    """One pair's files; patch and out are made."""
    old: pathlib.Path
    new: pathlib.Path
    patch: pathlib.Path
    out: pathlib.Path
    folder: pathlib.Path  # for what else a step makes


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    role: str
    diff: Callable[[Job], list]
    apply: Callable[[Job], list]
    program: str = ''   # that must be there
    package: str = ''   # Debian's, for the version
    module: str = ''    # Python's, that must be there
    ask: tuple = ()     # what says the version of a program without a package
    extra: int = 0      # bytes that the harness itself puts into the patch file
    slow: float = 0     # measured up to --slow-limit bytes of new divided by this only; 0: always

    def missing(self):
        if self.program and shutil.which(self.program) is None:
            return f'{self.program} is not installed'
        if self.module and importlib.util.find_spec(self.module) is None:
            return f'the Python package {self.module} is not installed'
        return None

    def takes(self, size, slow_limit):
        """Whether a pair with so many bytes of new is measured."""
        return not self.slow or slow_limit is None or size <= slow_limit / self.slow

    def version(self):
        if self.module:
            return importlib.metadata.version(self.module)
        if self.ask:
            said = subprocess.run(self.ask, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  text=True).stdout
            return found[1] if (found := re.search(r'(\d+(\.\d+)+)', said)) else ''
        if self.package and shutil.which('dpkg-query'):
            said = subprocess.run(['dpkg-query', '-W', '-f', '${Version}', self.package],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            return said.stdout.strip()
        return ''

    @property
    def counted(self):
        """Whether instructions tell of the tool: not where Python runs it."""
        return not any(str(sys.executable) in map(str, step) for step in self.diff(EXAMPLE))


EXAMPLE = Job(*[pathlib.Path(os.devnull)] * 5)


def size_of(path):
    return os.path.getsize(path) if path.is_file() else 0


def worker(name, role, **needs):
    def call(action, *words):
        return [[sys.executable, WORKER, name, action, *words]]
    return Peer(name, role, lambda job: call('diff', job.old, job.new, job.patch),
                lambda job: call('apply', job.old, job.patch, job.out), **needs)


def xdelta3(old, *words):
    """Its window of old is 64 MiB unless told."""
    window = ['-B', 1 << size_of(old).bit_length()] if size_of(old) > BIG else []
    return [['xdelta3', '-f', *window, '-s', old, *words]]


def zstd_patch(name, *options):
    return Peer(name, 'delta',
                lambda job: [['zstd', '-q', '-f', *options, f'--patch-from={job.old}', job.new,
                              '-o', job.patch]],
                lambda job: [['zstd', '-q', '-f', '-d', '--long=31', f'--patch-from={job.old}',
                              job.patch, '-o', job.out]], 'zstd', 'zstd')


def whole(name, program, package, compress, decompress):
    """A compressor that writes to standard output; a shell redirects it."""
    def step(words, source, target):
        return [['sh', '-c', 'in=$1 out=$2; shift 2; exec "$@" <"$in" >"$out"', 'sh', source,
                 target, program, *words]]
    return Peer(name, 'full', lambda job: step(compress, job.new, job.patch),
                lambda job: step(decompress, job.patch, job.out), program, package)


def detools(compression, slow=1):
    python = [sys.executable, '-m', 'detools']
    return Peer(f'detools-{compression}', 'delta',
                lambda job: [[*python, 'create_patch', '-c', compression, job.old, job.new,
                              job.patch]],
                lambda job: [[*python, 'apply_patch', job.old, job.patch, job.out]],
                module='detools', slow=slow)


def tensorpatch(program, profile, key):
    """Signed bundles: what a device downloads."""
    name = 'tensorpatch' if profile == 'linux' else f'tensorpatch-{profile}'
    return Peer(name, 'tensorpatch',
                lambda job: [[program, 'pack', job.old, job.new, '-o', job.patch, '--key', key,
                              '--profile', profile, '--force']],
                lambda job: [[program, 'apply', job.old, job.patch, '-o', job.out, '--pubkey',
                              f'{key}.pub', '--force']])


OTHERS = [
    Peer('bsdiff', 'delta', lambda job: [['bsdiff', job.old, job.new, job.patch]],
         lambda job: [['bspatch', job.old, job.out, job.patch]], 'bsdiff', 'bsdiff'),
    Peer('xdelta3', 'delta', lambda job: xdelta3(job.old, '-e', '-9', '-S', 'lzma', job.new,
                                                 job.patch),
         lambda job: xdelta3(job.old, '-d', job.patch, job.out), 'xdelta3', 'xdelta3'),
    zstd_patch('zstd-19-patch', '-19'),
    zstd_patch('zstd-19-long-patch', '-19', '--long=27'),
    zstd_patch('zstd-22-patch', '--ultra', '-22', '--long=27'),
    Peer('rdiff', 'delta',
         lambda job: [['rdiff', '-f', 'signature', job.old, job.folder / 'signature'],
                      ['rdiff', '-f', 'delta', job.folder / 'signature', job.new, job.patch]],
         lambda job: [['rdiff', '-f', 'patch', job.old, job.patch, job.out]], 'rdiff', 'rdiff'),
    worker('zchunk', 'delta', program='zck', package='zchunk'),
    worker('casync', 'delta', program='casync', package='casync'),
    worker('ostree', 'delta', program='ostree', package='ostree', slow=1),
    Peer('hdiffz', 'delta',
         lambda job: [['hdiffz', '-f', '-m-1', '-SD', '-block-0', '-c-lzma2-9-16m', job.old,
                       job.new, job.patch]],
         lambda job: [['hpatchz', '-f', job.old, job.patch, job.out]], 'hdiffz',
         ask=('hdiffz', '-v')),
    worker('hdiffpatch', 'delta', module='hdiffpatch', slow=1 / 16),
    worker('hpatchlite', 'delta', module='hdiffpatch', slow=1),
    detools('lzma', slow=0),
    detools('heatshrink'),
    detools('crle'),
    worker('detools-in-place', 'delta', module='detools', extra=16, slow=1),
    worker('nncodec', 'delta', module='nncodec', slow=16),
    whole('zstd-19', 'zstd', 'zstd', ['-q', '-19'], ['-q', '-d']),
    whole('xz-9e', 'xz', 'xz-utils', ['-9e', '-T1'], ['-d']),
    dataclasses.replace(whole('brotli-11', 'brotli', 'brotli', ['-q', '11', '-w', '24'], ['-d']),
                        slow=1),
    worker('zipnn', 'full', module='zipnn', slow=16),
    worker('openzl', 'full', module='openzl', slow=1),
    worker('bitx', 'reference', program='zstd', slow=1),
    worker('fm-delta', 'reference', program='zstd', slow=1),
]


def choose(names):
    """(peers that are there, why others are not); all of them, or those named."""
    known = {peer.name: peer for peer in OTHERS}
    unknown = set(names or []) - known.keys()
    if unknown:
        raise SystemExit(f'no such peer: {", ".join(sorted(unknown))}; known: {", ".join(known)}')
    chosen = [known[name] for name in names] if names is not None else OTHERS
    absent = {peer.name: why for peer in chosen if (why := peer.missing())}
    return [peer for peer in chosen if peer.name not in absent], absent
