# harness/reference.py: two published methods, written from their papers, as points of reference.
#
# bitx: ZipLLM's BitX (Wang et al., 2025): new XOR old, byte planes, zstd.
# fm-delta: FM-Delta (Ning et al., NeurIPS 2024): floats as ordered integers, subtracted; the sign
# and the bit length of each difference by a range coder with one adaptive model for a type, the
# bits below the leading one as they are.
# The papers code tensors. Here a patch is a whole file: what is no matched tensor goes through
# zstd, and where tensors are comes from `tensorpatch diff --json`, so that both meet the files that
# everyone else meets. Both are slow here (Python); only their sizes mean something.
# SPDX-License-Identifier: Apache-2.0
import array
import bisect
import itertools
import json
import os
import pathlib
import subprocess

FLOATS = {'float32': 4, 'float16': 2, 'bfloat16': 2}
WIDTHS = {**FLOATS, 'float64': 8, 'int64': 8, 'uint64': 8, 'int32': 4, 'uint32': 4, 'int16': 2,
          'uint16': 2}
CODES = {1: 'B', 2: 'H', 4: 'I'}
NONE = 2 ** 64 - 1  # the old offset of what has no counterpart


def zstd(data, *options):
    command = ['zstd', '-q', '-c', *options]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def packed(data):
    return zstd(data, '-19', '--single-thread', '--no-check')


def extents(old, new):
    """(size, width, is a float, old offset or NONE) of the stretches that tile new."""
    program = os.environ['TENSORPATCH']
    said = subprocess.run([program, 'diff', '--json', old, new], stdout=subprocess.PIPE, check=True)
    rows = []
    end = 0
    for tensor in sorted(json.loads(said.stdout)['tensors'], key=lambda each: each['offset'] or 0):
        size, kind, before = tensor['size'], tensor['type'], tensor['old']
        if tensor['offset'] != end or size == 0:
            continue  # removed, or shared with another
        same = before is not None and before['type'] == kind and before['size'] == size
        rows.append((size, WIDTHS.get(kind, 1), int(kind in FLOATS),
                     before['offset'] if same else NONE))
        end += size
    rest = os.path.getsize(new) - end
    return rows + [(rest, 1, 0, NONE)] if rest else rows


class Streams:
    """Byte strings in one file: sizes first."""

    def __init__(self, data=b''):
        self.parts = []
        view = memoryview(data)
        while len(view):
            size = int.from_bytes(view[:4], 'little')
            if 4 + size > len(view):
                raise ValueError('cut')
            self.parts.append(bytes(view[4:4 + size]))
            view = view[4 + size:]

    def data(self):
        return b''.join(len(part).to_bytes(4, 'little') + part for part in self.parts)


def write_table(rows):
    return packed(array.array('Q', itertools.chain.from_iterable(rows)).tobytes())


def read_table(data):
    values = array.array('Q', zstd(data, '-d'))
    return list(zip(*[iter(values)] * 4))


def xor(one, other):
    size = len(one)
    number = int.from_bytes(one, 'little') ^ int.from_bytes(other, 'little')
    return number.to_bytes(size, 'little')


def bitx_diff(old_path, new_path):
    old, new = (pathlib.Path(path).read_bytes() for path in (old_path, new_path))
    rows = extents(old_path, new_path)
    planes, at = {}, 0
    for size, width, _, where in rows:
        data = new[at:at + size]
        if where != NONE:
            data = xor(data, old[where:where + size])
        for plane in range(width):
            planes.setdefault((where != NONE, width, plane), []).append(data[plane::width])
        at += size
    out = Streams()
    out.parts = [write_table(rows)] + [packed(b''.join(planes[key])) for key in sorted(planes)]
    return out.data()


def bitx_apply(old_path, patch):
    old = pathlib.Path(old_path).read_bytes()
    table, *streams = Streams(patch).parts
    rows = read_table(table)
    keys = sorted({(where != NONE, width, plane) for _, width, _, where in rows
                   for plane in range(width)})
    planes = {key: [0, zstd(stream, '-d')] for key, stream in zip(keys, streams, strict=True)}
    new = []
    for size, width, _, where in rows:
        data = bytearray(size)
        for plane in range(width):
            stream = planes[where != NONE, width, plane]
            count = len(range(plane, size, width))
            data[plane::width] = stream[1][stream[0]:stream[0] + count]
            stream[0] += count
        new.append(xor(data, old[where:where + size]) if where != NONE else bytes(data))
    return b''.join(new)


class QuasiStatic:
    """Frequencies of symbols that are renewed now and then; they sum to 2^16."""
    BITS = 16

    def __init__(self, count):
        self.counts = [1] * count
        self.wait = self.period = 32
        self.renew()

    def renew(self):
        total, room = sum(self.counts), (1 << self.BITS) - len(self.counts)
        frequencies = [1 + count * room // total for count in self.counts]
        frequencies[0] += (1 << self.BITS) - sum(frequencies)
        self.starts = [0, *itertools.accumulate(frequencies)]

    def seen(self, symbol):
        self.counts[symbol] += 1
        self.wait -= 1
        if self.wait == 0:
            self.renew()
            self.period = min(2048, self.period * 2)
            self.wait = self.period
            if sum(self.counts) > 1 << 20:
                self.counts = [(count + 1) // 2 for count in self.counts]


def encode_symbols(symbols, count):
    """A range coder with carries, 32 bits of range."""
    model, low, size, out = QuasiStatic(count), 0, 0xFFFFFFFF, bytearray()
    for symbol in symbols:
        begin, end = model.starts[symbol], model.starts[symbol + 1]
        step = size >> QuasiStatic.BITS
        low += step * begin
        size = step * (end - begin)
        if low > 0xFFFFFFFF:
            low &= 0xFFFFFFFF
            at = len(out) - 1
            while out[at] == 255:
                out[at] = 0
                at -= 1
            out[at] += 1
        while size < 1 << 24:
            out.append(low >> 24)
            low = low << 8 & 0xFFFFFFFF
            size <<= 8
        model.seen(symbol)
    # The first byte is never carried into: low starts at 0 with a range below 2^32.
    return bytes(out) + low.to_bytes(4, 'big')


def decode_symbols(data, count, total):
    model, size, at = QuasiStatic(count), 0xFFFFFFFF, 4
    code = int.from_bytes(data[:4], 'big')
    for _ in range(total):
        step = size >> QuasiStatic.BITS
        value = min(code // step, (1 << QuasiStatic.BITS) - 1)
        symbol = bisect.bisect_right(model.starts, value) - 1
        begin, end = model.starts[symbol], model.starts[symbol + 1]
        code -= step * begin
        size = step * (end - begin)
        while size < 1 << 24:
            code = (code << 8 | (data[at] if at < len(data) else 0)) & 0xFFFFFFFF
            at += 1
            size <<= 8
        model.seen(symbol)
        yield symbol


def ordered(data, width, is_float):
    """Elements as integers in the order of their values."""
    values = array.array(CODES[width], data)
    if not is_float:
        return values
    top, mask = 1 << (8 * width - 1), (1 << 8 * width) - 1
    return [value ^ mask if value & top else value | top for value in values]


def disordered(values, width, is_float):
    top, mask = 1 << (8 * width - 1), (1 << 8 * width) - 1
    if is_float:
        values = [value & (top - 1) if value & top else value ^ mask for value in values]
    return array.array(CODES[width], values).tobytes()


class RawBits:
    """Bits without a model; `take` reads what `put` wrote."""

    def __init__(self, data=b''):
        self.data, self.at = bytearray(data), 0
        self.value = self.size = 0

    def put(self, value, size):
        self.value |= value << self.size
        self.size += size
        if self.size >= 512:
            self.flush(64)

    def flush(self, count):
        self.data += (self.value & (1 << 8 * count) - 1).to_bytes(count, 'little')
        self.value >>= 8 * count
        self.size = max(0, self.size - 8 * count)

    def end(self):
        self.flush((self.size + 7) // 8)
        return bytes(self.data)

    def take(self, size):
        if self.size < size:
            more = self.data[self.at:self.at + 64]
            self.at += 64
            self.value |= int.from_bytes(more, 'little') << self.size
            self.size += 8 * 64
        value = self.value & (1 << size) - 1
        self.value >>= size
        self.size -= size
        return value


def coded(row):
    _, width, _, where = row
    return where != NONE and width in CODES


def fm_delta_diff(old_path, new_path):
    old, new = (pathlib.Path(path).read_bytes() for path in (old_path, new_path))
    rows = extents(old_path, new_path)
    symbols, bits, rest, at = {}, RawBits(), [], 0
    for row in rows:
        size, width, is_float, where = row
        data = new[at:at + size]
        at += size
        if not coded(row):
            rest.append(data)
            continue
        out = symbols.setdefault((width, is_float), [])
        for a, b in zip(ordered(data, width, is_float),
                        ordered(old[where:where + size], width, is_float)):
            difference = a - b
            if difference == 0:
                out.append(0)
                continue
            distance = abs(difference)
            length = distance.bit_length()
            out.append(2 * length - (difference > 0))
            bits.put(distance - (1 << length - 1), length - 1)
    out = Streams()
    out.parts = [write_table(rows), packed(b''.join(rest)), bits.end()]
    out.parts += [encode_symbols(symbols[key], 16 * key[0] + 1) for key in sorted(symbols)]
    return out.data()


def fm_delta_apply(old_path, patch):
    old = pathlib.Path(old_path).read_bytes()
    table, rest, bits, *streams = Streams(patch).parts
    rows, rest, bits = read_table(table), zstd(rest, '-d'), RawBits(bits)
    totals = {}
    for row in rows:
        if coded(row):
            totals[row[1], row[2]] = totals.get((row[1], row[2]), 0) + row[0] // row[1]
    symbols = {key: decode_symbols(stream, 16 * key[0] + 1, totals[key])
               for key, stream in zip(sorted(totals), streams, strict=True)}
    new, used = [], 0
    for row in rows:
        size, width, is_float, where = row
        if not coded(row):
            new.append(rest[used:used + size])
            used += size
            continue
        source, mask, values = symbols[width, is_float], (1 << 8 * width) - 1, []
        for value in ordered(old[where:where + size], width, is_float):
            symbol = next(source)
            if symbol:
                length = (symbol + 1) // 2
                distance = (1 << length - 1) + bits.take(length - 1)
                value += distance if symbol & 1 else -distance
            values.append(value & mask)
        new.append(disordered(values, width, is_float))
    return b''.join(new)


METHODS = {'bitx': (bitx_diff, bitx_apply), 'fm-delta': (fm_delta_diff, fm_delta_apply)}
