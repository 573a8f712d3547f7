# harness/pairs.py: the pairs of files that are measured.
#
# From a table (TSV with the columns id, old, new and, if there, group, family, format, kind; paths
# are beside the table unless absolute), from two folders (files of the same path in both), or from
# two files.
# SPDX-License-Identifier: Apache-2.0
import csv
import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Pair:
    id: str
    old: pathlib.Path
    new: pathlib.Path
    group: str = ''   # lineage: new descends from old; scratch: it does not
    family: str = ''
    format: str = ''
    kind: str = ''    # of update, what means are taken over

    @property
    def title(self):
        return self.kind or self.group or 'pairs'


def from_table(path):
    folder = pathlib.Path(path).resolve().parent
    with open(path, encoding='utf-8') as file:
        rows = list(csv.DictReader((line for line in file if not line.startswith('#')),
                                   delimiter='\t'))
    if not rows or not {'id', 'old', 'new'} <= rows[0].keys():
        raise SystemExit(f'{path}: no table with the columns id, old, new')
    names = ('group', 'family', 'format', 'kind')
    return [Pair(row['id'], folder / row['old'], folder / row['new'],
                 *(row.get(name) or '' for name in names)) for row in rows]


def from_folders(old, new):
    found = []
    for path in sorted(new.rglob('*')):
        name = path.relative_to(new)
        if path.is_file() and (old / name).is_file():
            found.append(Pair(str(name), old / name, path, format=path.suffix[1:]))
    return found


def load(words):
    """Pairs from the words of a command line: TABLE..., or OLD NEW (folders or files)."""
    paths = [pathlib.Path(word) for word in words]
    for path in paths:
        if not path.exists():
            raise SystemExit(f'{path}: no such file or folder')
    if len(paths) == 2 and all(path.is_dir() for path in paths):
        pairs = from_folders(*(path.resolve() for path in paths))
    elif len(paths) == 2 and not any(path.suffix == '.tsv' for path in paths):
        pairs = [Pair(paths[1].name, *(path.resolve() for path in paths),
                      format=paths[1].suffix[1:])]
    else:
        pairs = [pair for path in paths for pair in from_table(path)]
    for pair in pairs:
        for path in (pair.old, pair.new):
            if not path.is_file():
                raise SystemExit(f'{pair.id}: {path} is not there; fetch the corpus first?')
    if not pairs:
        raise SystemExit('no pair of files found')
    return pairs
