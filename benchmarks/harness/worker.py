#!/usr/bin/env python3
# harness/worker.py: one diff or apply of a peer that is a Python package or takes several programs.
#
# usage: worker.py PEER diff OLD NEW PATCH | worker.py PEER apply OLD PATCH NEW
# Runs as a process of its own so that its time and memory can be taken; both include starting
# Python and importing the package.
# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import reference


def read(path):
    return pathlib.Path(path).read_bytes()


def run(*argv, **options):
    return subprocess.run([str(word) for word in argv], check=True, stdout=subprocess.PIPE,
                          **options).stdout


# --- Python packages ------------------------------------------------------------------------------

def hdiffpatch_diff(old, new):
    import hdiffpatch
    lzma2 = hdiffpatch.Lzma2Config(level=9, window=24)
    zstd = hdiffpatch.ZStdConfig(level=22, window=24)
    old, new = read(old), read(new)
    tries = [hdiffpatch.diff(old, new, compression=each) for each in (lzma2, zstd)]
    return min(*tries, hdiffpatch.diff_lite(old, new, compression=lzma2), key=len)


def hdiffpatch_apply(old, patch):
    import hdiffpatch
    old, patch = read(old), read(patch)
    return (hdiffpatch.apply_lite if patch.startswith(b'hI') else hdiffpatch.apply)(old, patch)


def hpatchlite_diff(old, new):
    import hdiffpatch
    tries = [hdiffpatch.TuzConfig(dict_size=1 << 15), hdiffpatch.TampConfig(window=15)]
    return min((hdiffpatch.diff_lite(read(old), read(new), compression=each) for each in tries),
               key=len)


def hpatchlite_apply(old, patch):
    import hdiffpatch
    return hdiffpatch.apply_lite(read(old), read(patch))


ZIPNN_TYPES = ('bfloat16', 'float32', 'float16')


def zipnn(kind):
    import zipnn as package
    return package.ZipNN(input_format='byte', bytearray_dtype=kind)


def zipnn_diff(_, new):
    tries = [bytes([number]) + bytes(zipnn(kind).compress(bytearray(read(new))))
             for number, kind in enumerate(ZIPNN_TYPES)]
    return min(tries, key=len)


def zipnn_apply(_, patch):
    data = read(patch)
    return bytes(zipnn(ZIPNN_TYPES[data[0]]).decompress(bytearray(data[1:])))


def openzl_diff(_, new):
    """The file as numbers of 1, 2 or 4 bytes and as a stream of bytes; the smallest wins."""
    import numpy
    import openzl.ext as zl
    data, tries = read(new), []
    for width in (1, 2, 4):
        whole = len(data) // width * width
        for graph in (zl.graphs.Zstd, zl.graphs.FieldLz, zl.graphs.Compress):
            compressor = zl.Compressor()
            compressor.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
            compressor.set_parameter(zl.CParam.CompressionLevel, 9)
            kind = zl.Type.Serial if width == 1 else zl.Type.Numeric
            try:
                compressor.select_starting_graph(graph()(compressor))
                context = zl.CCtx()
                context.ref_compressor(compressor)
                numbers = numpy.frombuffer(data[:whole], dtype=f'<u{width}')
                frame = context.compress([zl.Input(kind, numbers)])
            except Exception:  # this graph does not take this type
                continue
            tries.append(bytes([len(data) - whole]) + data[whole:] + frame)
    return min(tries, key=len)


def openzl_apply(_, patch):
    import openzl.ext as zl
    data = read(patch)
    rest = data[1:1 + data[0]]
    output = zl.DCtx().decompress(data[1 + data[0]:])[0]
    return output.content.as_bytes() + rest


NNCODEC_WIDTHS = (1, 2, 4)


def nncodec_residual(old, new, width):
    """New less old as signed integers of `width` bytes, old cut or filled with zeros."""
    import numpy
    count = len(new) // width
    old = old.ljust(len(new), b'\0')
    values = [numpy.frombuffer(data, dtype=f'<u{width}', count=count) for data in (new, old)]
    return (values[0] - values[1]).view(f'<i{width}').astype('int32')


def nncodec_diff(old, new):
    """Integers are all that it codes without loss: residuals as int8, int16 or int32."""
    import nncodec.tensor
    old, new = read(old), read(new)
    tries = []
    for width in NNCODEC_WIDTHS:
        residual = nncodec_residual(old, new, width)
        frame = bytes(nncodec.tensor.encode(residual, {'results': '.'})) if len(residual) else b''
        tail = new[len(residual) * width:]
        tries.append(bytes([width, len(tail)]) + tail + frame)
    return min(tries, key=len)


def nncodec_apply(old, patch):
    import nncodec.tensor
    import numpy
    data, old = read(patch), read(old)
    width, rest = data[0], data[2:]
    tail, frame = rest[:data[1]], rest[data[1]:]
    if not frame:
        return tail
    residual = numpy.asarray(nncodec.tensor.decode(bytearray(frame))).astype(f'<i{width}')
    size = residual.size * width
    before = numpy.frombuffer(old.ljust(size, b'\0')[:size], dtype=f'<u{width}')
    return (before + residual.view(f'<u{width}')).tobytes() + tail


# --- chunk stores ---------------------------------------------------------------------------------

def casync_make(store, name, path):
    # The chunks that casync makes by default (64 KiB) are larger than many models.
    run('casync', 'make', '--chunk-size=4096', f'--store={store}', name, path)
    return {chunk.name for chunk in store.rglob('*.cacnk')}


def casync_diff(old, new):
    """What a device that has old downloads: the index, and the chunks that it lacks."""
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        has = casync_make(here / 'old', here / 'old.caibx', old)
        casync_make(here / 'new', here / 'new.caibx', new)
        out = reference.Streams()
        out.parts = [read(here / 'new.caibx')]
        for chunk in sorted((here / 'new').rglob('*.cacnk')):
            if chunk.name not in has:
                out.parts += [bytes.fromhex(chunk.stem), read(chunk)]
        return out.data()


def casync_apply(old, patch):
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        casync_make(here / 'store', here / 'old.caibx', old)
        index, *chunks = reference.Streams(read(patch)).parts
        (here / 'new.caibx').write_bytes(index)
        for name, chunk in zip(chunks[::2], chunks[1::2], strict=True):
            path = here / 'store' / name.hex()[:4] / f'{name.hex()}.cacnk'
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(chunk)
        run('casync', 'extract', f'--store={here}/store', here / 'new.caibx', here / 'out')
        return read(here / 'out')


def zchunk_chunks(path):
    """Header size, and (digest, offset, size) of each chunk."""
    said = run('zck_read_header', '-c', path).decode()
    rows = re.findall(r'^ +\d+ ([0-9a-f]+) +(\d+) +(\d+) +\d+', said, re.M)
    header = int(re.search(r'Header size: (\d+)', said)[1])
    return header, [(digest, int(offset), int(size)) for digest, offset, size in rows]


def zchunk_make(path, folder, name):
    run('zck', '-o', folder / name, path, cwd=folder)
    return zchunk_chunks(folder / name), read(folder / name)


def zchunk_diff(old, new):
    """The header of new's zchunk file and the chunks that old's has not."""
    old, new = os.path.abspath(old), os.path.abspath(new)
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        (_, has), _ = zchunk_make(old, here, 'old.zck')
        (header, wants), data = zchunk_make(new, here, 'new.zck')
        known = {digest for digest, _, _ in has}
        return data[:header] + b''.join(data[at:at + size] for digest, at, size in wants
                                        if digest not in known)


def zchunk_apply(old, patch):
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        (_, has), old_data = zchunk_make(os.path.abspath(old), here, 'old.zck')
        known = {digest: old_data[at:at + size] for digest, at, size in has}
        header, wants = zchunk_chunks(os.path.abspath(patch))
        data, at = read(patch), header
        with open(here / 'new.zck', 'wb') as file:
            file.write(data[:header])
            for digest, _, size in wants:
                if digest in known:
                    file.write(known[digest])
                else:
                    file.write(data[at:at + size])
                    at += size
        run('unzck', 'new.zck', cwd=here)
        return read(here / 'new')


def ostree_commit(repository, path):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / 'model').write_bytes(read(path))
        os.chmod(folder, 0o755)
        os.chmod(f'{folder}/model', 0o644)
        return run('ostree', f'--repo={repository}', 'commit', '--branch=m', '--no-xattrs',
                   '--owner-uid=0', '--owner-gid=0', '--timestamp=@0', f'--tree=dir={folder}',
                   '--parent=none').decode().strip()


def ostree_repository(folder, old):
    repository = f'{folder}/repository'
    run('ostree', f'--repo={repository}', 'init', '--mode=bare-user-only')
    return repository, ostree_commit(repository, old)


def ostree_diff(old, new):
    with tempfile.TemporaryDirectory() as folder:
        repository, first = ostree_repository(folder, old)
        second = ostree_commit(repository, new)
        run('ostree', f'--repo={repository}', 'static-delta', 'generate', f'--from={first}',
            f'--to={second}', '--inline', '--min-fallback-size=0', f'--filename={folder}/delta')
        return read(f'{folder}/delta')


def ostree_apply(old, patch):
    with tempfile.TemporaryDirectory() as folder:
        repository, first = ostree_repository(folder, old)
        run('ostree', f'--repo={repository}', 'static-delta', 'apply-offline', patch)
        commits = [path.parent.name + path.stem
                   for path in pathlib.Path(repository, 'objects').rglob('*.commit')]
        second, = set(commits) - {first} or {first}
        return run('ostree', f'--repo={repository}', 'cat', second, '/model')


def detools_in_place_apply(old, patch):
    """Old and new share one memory of the size that the patch was made for."""
    data, (memory, size) = read(patch), in_place_sizes(read(patch))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / 'memory').write_bytes(read(old).ljust(memory, b'\xff')[:memory])
        (path / 'patch').write_bytes(data[16:])
        run(sys.executable, '-m', 'detools', 'apply_patch_in_place', path / 'memory',
            path / 'patch')
        return read(path / 'memory')[:size]


SEGMENT = 4096  # a page of flash


def in_place_sizes(data):
    return int.from_bytes(data[:8], 'little'), int.from_bytes(data[8:16], 'little')


def detools_in_place_diff(old, new):
    """A memory with room for the larger file and sixteen pages; its size goes before the patch."""
    larger = max(os.path.getsize(old), os.path.getsize(new))
    memory = (larger + SEGMENT - 1) // SEGMENT * SEGMENT + 16 * SEGMENT
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, '-m', 'detools', 'create_patch_in_place', '-c', 'heatshrink',
            '--memory-size', memory, '--segment-size', SEGMENT, old, new, f'{folder}/patch')
        return (memory.to_bytes(8, 'little') + os.path.getsize(new).to_bytes(8, 'little') +
                read(f'{folder}/patch'))


def reference_peer(name):
    diff, apply = reference.METHODS[name]
    return diff, lambda old, patch: apply(old, read(patch))


PEERS = {
    'hdiffpatch': (hdiffpatch_diff, hdiffpatch_apply),
    'hpatchlite': (hpatchlite_diff, hpatchlite_apply),
    'nncodec': (nncodec_diff, nncodec_apply),
    'zipnn': (zipnn_diff, zipnn_apply),
    'openzl': (openzl_diff, openzl_apply),
    'casync': (casync_diff, casync_apply),
    'zchunk': (zchunk_diff, zchunk_apply),
    'ostree': (ostree_diff, ostree_apply),
    'detools-in-place': (detools_in_place_diff, detools_in_place_apply),
    'bitx': reference_peer('bitx'),
    'fm-delta': reference_peer('fm-delta'),
}


def main():
    name, action, first, second, out = sys.argv[1:]
    diff, apply = PEERS[name]
    result = diff(first, second) if action == 'diff' else apply(first, second)
    pathlib.Path(out).write_bytes(result)


if __name__ == '__main__':
    main()
