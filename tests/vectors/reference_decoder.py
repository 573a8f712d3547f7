#!/usr/bin/env python3
# tests/vectors/reference_decoder.py: decodes bundles as docs/FORMAT.md says, in the plainest way.
#
# usage: reference_decoder.py --vectors FOLDER
#            every vector of FOLDER/index.tsv and index-p256.tsv: DONE must give the new files,
#            and what this program can judge must be refused; exit code 0 only when all of it holds
#        reference_decoder.py BUNDLE --old OLD... --new NEW...
#            decodes a bundle with these old files ('-': none) and compares with the new files
#
# Written from that page alone and of no use but to prove it: slow, whole files in memory, chunks of
# codec 0 only, and signatures, floors and capacities are not looked at. Sections of the page stand
# above what they describe. Needs the standard library only.
# SPDX-License-Identifier: Apache-2.0
import argparse
import hashlib
import math
import os
import sys


class Refused(Exception):
    """The bundle breaks a rule of the page."""


class NoCodec(Exception):
    """The bundle needs a codec that this program does not have."""


def require(condition, what):
    if not condition:
        raise Refused(what)


def u(data, offset, size):
    return int.from_bytes(data[offset:offset + size], 'little')


def clamp(v, low, high):
    return max(low, min(high, v))


def toward_zero(a, b):
    return a // b if a >= 0 else -(-a // b)


# --- 1 and 4: the bundle --------------------------------------------------------------------------

PREFIX_SIZE, HEADER_SIZE, COMPONENT_SIZE, DIGEST_SIZE = 10, 128, 128, 32


class Limits:
    """The fields of the statement that a decoder needs, section 1.2."""

    def __init__(self, header):
        (self.history, self.value_slots, self.value_level, self.byte_cells, self.match_table,
         self.columns, self.zstd_window) = header[4:11]
        self.erase_size, self.write_size = 1 << header[11], 1 << header[12]
        self.block_size, self.restart_interval = u(header, 20, 4), u(header, 24, 4)
        self.reach = u(header, 28, 4)
        require(256 <= self.block_size <= 1 << 20 and self.block_size % 64 == 0, 'block size')
        require(self.erase_size <= 1 << 20, 'erase size')
        require(1 <= self.restart_interval <= 1 << 30
                and self.restart_interval % self.erase_size == 0, 'restart interval')
        require(8 <= self.history <= 22, 'history')
        require(self.write_size <= self.erase_size
                and self.write_size <= (1 << self.history) // 4, 'write size')
        require(self.value_slots <= 16, 'value slots')
        require(self.value_level <= 1, 'value level')
        require(self.byte_cells == 0 or 8 <= self.byte_cells <= 20, 'byte cells')
        require(self.match_table == 0 or 6 <= self.match_table <= 18, 'match table')
        require(self.zstd_window == 0 or 10 <= self.zstd_window <= 22, 'zstd window')
        require(self.columns == 0 or 6 <= self.columns <= 18, 'columns')

    def workspace_size(self):
        """Section 4."""
        size = 1088 + 128 + self.block_size + (1 << self.history)
        size += clamp((1 << self.history) // 4, 256, 65536) + 1712
        if self.byte_cells:
            size += (488 if self.byte_cells < 10 else 3480) + (4 << self.byte_cells)
        if self.match_table:
            size += 4 << self.match_table
        if self.columns:
            size += 856 + (4 << self.columns)
        return size + self.value_slots * (10728 if self.value_level else 1672)


class Component:
    def __init__(self, fields, index):
        self.old_digest, self.new_digest, self.first_block = (
            fields[at:at + DIGEST_SIZE] for at in (0, 32, 64))
        self.new_size, self.old_size, self.patch_size = (u(fields, at, 8) for at in (96, 104, 112))
        flags = u(fields, 124, 4)
        require(fields[120] == index and not any(fields[122:124]), 'id')
        require(flags & ~1 == 0, 'component flags')
        require(not flags & 1 or (self.old_size == 0
                                  and self.old_digest == hashlib.sha256().digest()), 'whole file')
        require((self.patch_size == 0) == (self.new_size == 0), 'empty patch')
        require(self.patch_size != 0 or not any(self.first_block), 'first block of an empty patch')


class Reader:
    """Takes bytes one part after another."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        require(size <= len(self.data) - self.at, 'the bundle ends early')
        self.at += size
        return self.data[self.at - size:self.at]


def unpack_statement(stored):
    """Section 1.2: the runs of zeros put back."""
    reader, statement = Reader(stored), b''
    while reader.at < len(stored):
        control = reader.take(1)[0]
        statement += bytes(control - 127) if control >= 128 else reader.take(control + 1)
    require(len(statement) % 128 == 0 and 2 <= len(statement) // 128 <= 7, 'statement size')
    return statement


def parse_signatures(data):
    """Section 1.3, without the cryptography."""
    records, ids = Reader(data), []
    while records.at < len(data):
        head = records.take(11)
        records.take(u(head, 1, 2))
        ids.append(head[3:])
    require(len(ids) <= 8, 'too many signatures')
    require(len(set(ids)) == len(ids), 'a key signs twice')


def parse_statement(statement, version):
    """Section 1.2; the limits and the components."""
    count = len(statement) // 128 - 1
    require(statement[0:2] == version, 'another version than the prefix has')
    require(statement[2] == 1, 'kind')
    flags, reach = u(statement, 36, 4), u(statement, 28, 4)
    require(flags & ~3 == 0, 'required flags')
    require((flags & 1 != 0) == (reach != 0) and (reach == 0 or count == 1), 'in place')
    require(statement[3] == count, 'component count')
    codecs = u(statement, 14, 2)
    require(codecs & 1, 'codec 0 is missing')
    if codecs & ~0x37:
        raise NoCodec(hex(codecs))
    limits = Limits(statement)
    require(u(statement, 32, 4) <= 65536, 'manifest size')
    require(statement[13] == 0 and not any(statement[104:128]), 'zero fields')
    require(u(statement, 16, 4) == limits.workspace_size(), 'workspace size')
    components = [Component(statement[at:at + COMPONENT_SIZE], i)
                  for i, at in enumerate(range(HEADER_SIZE, len(statement), COMPONENT_SIZE))]
    return limits, components


def read_patch(reader, component, block_size):
    """Section 1.5: the patch stream out of its blocks."""
    patch, expected = b'', component.first_block
    while len(patch) < component.patch_size:
        rest = component.patch_size - len(patch)
        last = rest <= block_size
        block = reader.take(rest if last else block_size)
        require(hashlib.sha256(block).digest() == expected, 'digest of a block')
        expected = None if last else block[:DIGEST_SIZE]
        patch += block if last else block[DIGEST_SIZE:]
    return patch


def decode_bundle(bundle, olds):
    """The new files."""
    reader = Reader(bundle)
    prefix = reader.take(PREFIX_SIZE)
    require(prefix[:4] == b'\x89TPB', 'magic')
    require(prefix[4] == 0, 'major version')
    stored_size, signatures_size = u(prefix, 6, 2), u(prefix, 8, 2)
    statement = unpack_statement(reader.take(stored_size))
    parse_signatures(reader.take(signatures_size))
    limits, components = parse_statement(statement, prefix[4:6])
    manifest = reader.take(u(statement, 32, 4))
    digest = hashlib.sha256(manifest).digest() if manifest else bytes(DIGEST_SIZE)
    require(digest == statement[72:104], 'digest of the manifest')
    for component, old in zip(components, olds, strict=True):
        require(len(old) == component.old_size
                and hashlib.sha256(old).digest() == component.old_digest, 'wrong old file')
    news = []
    for index, component in enumerate(components):
        patch = read_patch(reader, component, limits.block_size)
        new = PatchDecoder(limits, index, olds, component.new_size).decode(patch)
        require(hashlib.sha256(new).digest() == component.new_digest, 'digest of new')
        news.append(new)
    require(reader.at == len(bundle), 'bytes after the end')
    return news


# --- 3.3 to 3.6: range decoder, cells, mixing, numbers --------------------------------------------

RATE = [131072 // (2 * n + 3) for n in range(256)]
LOG = [int(4096 * math.log2(1 + m / 256) + 0.5) for m in range(256)]
SQUASH = [int(65536 / (1 + 2 ** (-i / 4)) + 0.5) for i in range(49)]


def log(v):
    below = v.bit_length() - 1
    m = (v << 8 >> below) & 255
    return 4096 * below + LOG[m]


def stretch(probability):
    return (log(probability) - log(65536 - probability)) >> 4


def squash(x):
    if x < 0:
        return 16 if x <= -3072 else 65536 - squash(-x)
    if x >= 3072:
        return 65520
    low, high = SQUASH[x >> 6], SQUASH[(x >> 6) + 1]
    return low + (((high - low) * (x & 63)) >> 6)


class Cell:
    __slots__ = ('p', 'n')

    def __init__(self):
        self.p, self.n = 1 << 21, 0

    def probability(self):
        return clamp(self.p >> 6, 32, 65504)

    def update(self, bit):
        error = ((1 << 22) - 1 if bit else 0) - self.p
        self.p += ((error >> 7) * RATE[self.n]) >> 9
        self.n = min(self.n + 1, 255)


def cells(count):
    return [Cell() for _ in range(count)]


class RangeDecoder:
    def __init__(self, payload):
        self.payload, self.at = payload, 0
        self.range, self.word = (1 << 32) - 1, 0
        for _ in range(4):
            self.word = self.word << 8 | self.next_byte()

    def next_byte(self):
        byte = self.payload[self.at] if self.at < len(self.payload) else 0
        self.at += 1
        return byte

    def normalise(self):
        while self.range < 1 << 24:
            self.range <<= 8
            self.word = (self.word << 8 | self.next_byte()) & 0xFFFFFFFF

    def bit(self, probability):
        bound = (self.range >> 16) * probability
        bit = 1 if self.word < bound else 0
        if bit:
            self.range = bound
        else:
            self.word -= bound
            self.range -= bound
        self.normalise()
        return bit

    def raw(self, count):
        """Any number of raw bits: in pieces of 12, highest first."""
        value = 0
        while count > 0:
            piece = min(count, 12)
            count -= piece
            self.range >>= piece
            v = min(self.word // self.range, (1 << piece) - 1)
            self.word -= v * self.range
            self.normalise()
            value = value << piece | v
        return value

    def coded(self, cell):
        bit = self.bit(cell.probability())
        cell.update(bit)
        return bit

    def mixed(self, inputs, weights):
        """Uses the first len(inputs) weights, and changes them."""
        x = [stretch(cell.probability()) for cell in inputs]
        total = sum((x[i] * (weights[i] >> 2)) >> 8 for i in range(len(x)))
        probability = squash(total >> 6)
        bit = self.bit(probability)
        error = (65536 - probability if bit else -probability) >> 2
        for i, cell in enumerate(inputs):
            moved = weights[i] + ((x[i] * error + 8192) >> 14)
            weights[i] = clamp(moved, -458752, 458752)
            cell.update(bit)
        return bit

    def tree(self, tree_cells, bits):
        node = 1
        for _ in range(bits):
            node = 2 * node + self.coded(tree_cells[node])
        return node - (1 << bits)


class Number:
    def __init__(self):
        self.length, self.top = cells(64), cells(32)

    def decode(self, coder):
        digits = coder.tree(self.length, 6)
        if digits < 2:
            return digits
        value, left = 1, digits - 1
        if digits < 8:
            second = coder.coded(self.top[4 * digits + 1])
            value, left = 2 + second, left - 1
            if left > 0:
                value = 2 * value + coder.coded(self.top[4 * digits + 2 + second])
                left -= 1
        return value << left | coder.raw(left)


def decode_row(coder, length_cells):
    return coder.raw(coder.tree(length_cells, 5))


# --- 3.7: headers ---------------------------------------------------------------------------------

COPY, VALUES, BYTES, RECORDS = range(4)
OLD, ROWS, GRID, LATTICE = range(4)
NO_GAIN, ROW_GAIN, COLUMN_GAIN = range(3)


class Operation:
    kind = size = component = offset = type = slot = fresh = intra = row = width = stride = 0
    learn_size = learn_offset = 0
    zero_map = predictor = 0
    row_values = column = gain = gain_shift = rank = factor_shift = 0  # of rows
    multiplier = exponent = 0  # of a grid
    old_step = new_step = 0  # of a lattice
    factor = 0  # of a product
    fields = ()  # of records: type, scaled, count

    def reads_old(self):
        return self.kind == COPY or not self.intra


class Headers:
    def __init__(self, component, component_count, restart_offset):
        self.component_count = component_count
        self.kind = [cells(4) for _ in range(4)]
        self.place = [cells(4) for _ in range(4)]
        self.negative, self.values_differ, self.values_fresh, self.values_intra = cells(4)
        self.bytes_differ, self.bytes_intra, self.bytes_learn, self.again = cells(4)
        self.zero_map, self.records_differ, self.records_fresh = cells(3)
        self.predictor = cells(4)
        self.component, self.type, self.slot = cells(8), cells(8), cells(16)
        self.width, self.row_length = cells(4), cells(32)
        self.copy_size, self.coded_size, self.distance = Number(), Number(), Number()
        self.expected_component, self.expected_offset = component, restart_offset
        self.gap = self.step = self.last_kind = 0
        self.last_values, self.last_bytes, self.last_fields = Operation(), Operation(), ()

    def decode(self, coder):
        op = Operation()
        op.kind = coder.tree(self.kind[self.last_kind], 2)
        size = self.copy_size if op.kind == COPY else self.coded_size
        op.size = size.decode(coder) & 0xFFFFFFFF
        if op.kind == VALUES:
            self.values(coder, op)
        if op.kind == BYTES:
            self.bytes(coder, op)
        if op.kind == RECORDS:
            self.records(coder, op)
        if op.reads_old():
            self.old_place(coder, op)
        self.remember(op)
        return op

    def values(self, coder, op):
        if coder.coded(self.values_differ):
            op.type = coder.tree(self.type, 3)
            op.slot = coder.tree(self.slot, 4)
            op.fresh = coder.coded(self.values_fresh)
            op.intra = coder.coded(self.values_intra)
            if op.intra:
                op.row = decode_row(coder, self.row_length)
                if op.row != 0 and coder.coded(self.predictor[0]):
                    op.factor = coder.raw(32)
                return
            op.zero_map = coder.coded(self.zero_map)
            op.predictor = coder.tree(self.predictor, 2)
            if op.predictor == ROWS:
                self.rows(coder, op)
            if op.predictor == GRID:
                op.multiplier, op.exponent = coder.raw(6), coder.raw(9) - 256
            if op.predictor == LATTICE:
                op.old_step, op.new_step = coder.raw(32), coder.raw(32)
        else:
            last = self.last_values
            op.type, op.slot, op.intra, op.row = last.type, last.slot, last.intra, last.row
            op.zero_map = last.zero_map

    def rows(self, coder, op):
        op.row_values = decode_row(coder, self.row_length)
        op.column = decode_row(coder, self.row_length)
        op.gain = coder.raw(2)
        if op.gain != NO_GAIN:
            op.gain_shift = coder.raw(5)
        op.rank = coder.raw(5)
        if op.rank != 0:
            op.factor_shift = coder.raw(7)

    def records(self, coder, op):
        op.fields = self.last_fields
        if coder.coded(self.records_differ):
            op.fresh = coder.coded(self.records_fresh)
            op.fields = tuple((coder.raw(3), coder.raw(1), coder.raw(9))
                              for _ in range(coder.raw(3)))

    def bytes(self, coder, op):
        if coder.coded(self.bytes_differ):
            op.intra = coder.coded(self.bytes_intra)
            op.width = coder.tree(self.width, 2)
            op.stride = decode_row(coder, self.row_length)
            if coder.coded(self.bytes_learn):
                op.learn_size = self.coded_size.decode(coder) & 0xFFFFFFFF
                op.learn_offset = self.distance.decode(coder)
        else:
            last = self.last_bytes
            op.intra, op.width, op.stride = last.intra, last.width, last.stride

    def old_place(self, coder, op):
        where = coder.tree(self.place[self.last_kind], 2)
        op.component, op.offset = self.expected_component, self.expected_offset
        if where == 1:
            op.offset += self.gap
        elif where == 2:
            if not coder.coded(self.again):
                before = coder.coded(self.negative)
                distance = self.distance.decode(coder)
                self.step = -distance if before else distance
            op.offset += self.step
        elif where == 3:
            op.component = coder.tree(self.component, 3) if self.component_count > 1 else 0
            op.offset = self.distance.decode(coder)
        op.offset %= 1 << 64

    def remember(self, op):
        self.last_kind = op.kind
        if op.kind == VALUES:
            self.last_values = op
        if op.kind == BYTES:
            self.last_bytes = op
        if op.kind == RECORDS:
            self.last_fields = op.fields
        if op.reads_old():
            self.expected_component = op.component
            self.expected_offset = (op.offset + op.size) % (1 << 64)
            self.gap = 0
        else:
            self.gap += op.size


# --- 3.8: values ----------------------------------------------------------------------------------

# type: bytes, mantissa bits, exponent mask
TYPES = {0: (1, 0, 0), 1: (1, 0, 0), 2: (2, 0, 0), 3: (4, 0, 0), 4: (2, 10, 31), 5: (2, 7, 255),
         6: (4, 23, 255), 7: (1, 0, 0)}
INT8, FLOAT16, FLOAT32, UINT4 = 0, 4, 6, 7
WIDTH = {0: 8, 1: 8, 2: 16, 3: 32, 4: 16, 5: 16, 6: 32, 7: 4}
ONE = 1 << 30  # a gain
ACTIVITY_STEPS = (10, 30, 70, 140, 280, 560, 1400)


def signed(bits, width):
    return bits - (1 << width) if bits >> (width - 1) else bits


def is_float(kind):
    return TYPES[kind][2] != 0


def centred(kind, bits):
    """Of integers."""
    if kind in (1, UINT4):
        return bits - (1 << WIDTH[kind] - 1)
    return signed(bits, WIDTH[kind])


def from_centred(kind, value):
    if kind in (1, UINT4):
        return value + (1 << WIDTH[kind] - 1)
    return value % (1 << WIDTH[kind])


# Predictions: exact, with integers of any size.

def exact(kind, bits):
    """A float as (integer, exponent of two); None if it is not finite."""
    _, mantissa_bits, mask = TYPES[kind]
    field, low = bits >> mantissa_bits & mask, bits & ((1 << mantissa_bits) - 1)
    if field == mask:
        return None
    value = low | 1 << mantissa_bits if field else low
    if bits >> WIDTH[kind] - 1:
        value = -value
    return value, max(field, 1) - (mask >> 1) - mantissa_bits


def nearest_float(kind, a, b):
    """(bits, fraction) of a + b, both (integer, exponent of two)."""
    _, mantissa_bits, mask = TYPES[kind]
    bias = mask >> 1
    low = min(a[1], b[1])
    total = (a[0] << a[1] - low) + (b[0] << b[1] - low)
    if total == 0:
        return 0, 0
    size = abs(total)
    exponent = max(size.bit_length() - 1 + low, 1 - bias)
    shift = exponent - mantissa_bits - low  # the sum in steps is size / 2^shift
    in_256ths = (size << 8) >> shift if shift >= 0 else size << 8 - shift
    if shift <= 0:
        steps = size << -shift
    else:
        steps, rest, half = size >> shift, size & ((1 << shift) - 1), 1 << shift - 1
        if rest > half or (rest == half and steps & 1):
            steps += 1
    fraction = in_256ths - 256 * steps
    bits = (exponent + bias - 1 << mantissa_bits) + steps
    if bits >= mask << mantissa_bits:
        bits, fraction = (mask << mantissa_bits) - 1, 0
    if total < 0:
        bits, fraction = bits | 1 << WIDTH[kind] - 1, -fraction
    return bits, fraction


def nearest_integer(kind, x):
    """(bits, fraction) of x / 256."""
    half = 1 << WIDTH[kind] - 1
    value = clamp((x + 128) >> 8, -half, half - 1)
    return from_centred(kind, value), clamp(x - 256 * value, -128, 128)


def predict(kind, old, gain, update, shift):
    """(bits, fraction) of old * gain / 2^30 + update / 2^shift."""
    if not is_float(kind):
        x = (centred(kind, old) * gain) >> 22
        if shift <= 8:
            x += update << 8 - shift
        elif shift <= 70:
            x += update >> shift - 8
        return nearest_integer(kind, x)
    value = exact(kind, old)
    if value is None or (value[0] == 0 and update == 0):
        return old, 0
    return nearest_float(kind, (value[0] * gain, value[1] - 30), (update, -shift))


def on_grid(kind, old, multiplier, exponent, k):
    if k == 0:
        return old
    if not is_float(kind):
        moved = centred(kind, old) + (k * multiplier << clamp(exponent, 0, 16))
        return nearest_integer(kind, 256 * moved)[0]
    value = exact(kind, old)
    if value is None:
        return old
    return nearest_float(kind, value, (k * multiplier, exponent))[0]


def lattice_index(kind, bits, step):
    value, by = exact(kind, bits), exact(FLOAT32, step)
    if value is None or by is None or by[0] == 0:
        return 0, 0
    shift = value[1] - by[1] + 8
    if shift < -38:
        return 0, 0
    a, b = value[0] << clamp(shift, 0, 38), by[0] << max(-shift, 0)
    return nearest_integer(INT8, toward_zero(a, b) if b > 0 else toward_zero(-a, -b))


def on_lattice(kind, step, k):
    by = exact(FLOAT32, step)
    return 0 if by is None else nearest_float(kind, (by[0] * k, by[1]), (0, 0))[0]


def product(kind, bits, factor):
    a, b = exact(kind, bits), exact(FLOAT32, factor)
    if a is None or b is None:
        return bits, 0
    return nearest_float(kind, (a[0] * b[0], a[1] + b[1]), (0, 0))


def scale_ratio(old, new):
    a, b = exact(FLOAT16, old), exact(FLOAT16, new)
    if a is None or b is None or b[0] == 0 or abs(a[1] - b[1]) > 10:
        return ONE
    ratio = toward_zero(a[0] << 30 + a[1] - b[1], b[0]) if b[0] > 0 else toward_zero(
        -a[0] << 30 + a[1] - b[1], -b[0])
    return ratio if -1 << 31 <= ratio < 1 << 31 else ONE


class Rows:
    """The numbers of one operation with the predictor rows."""

    def __init__(self, coder, op, limits):
        require(limits.columns != 0, 'no columns')
        require(1 <= op.row_values and op.column < op.row_values, 'column')
        require(op.gain <= COLUMN_GAIN, 'gain')
        require(op.gain_shift <= 30, 'gain shift')
        require(op.rank <= 16, 'rank')
        per_column = op.rank + (op.gain == COLUMN_GAIN)
        require(op.row_values * per_column <= 1 << limits.columns, 'numbers of the columns')
        self.coder, self.op = coder, op
        self.last_gain = ONE >> op.gain_shift
        self.gains, self.factors = Number(), Number()
        self.gain_negative, self.factor_negative = cells(2)
        self.column, self.row = op.column, None
        self.columns = ([self.numbers(COLUMN_GAIN) for _ in range(op.row_values)] if per_column
                        else None)

    def numbers(self, axis):
        """(gain, factors) of a row or column."""
        gain = self.next_gain() if self.op.gain == axis else ONE
        return gain, [self.next_factor() for _ in range(self.op.rank)]

    def next_gain(self):
        moved = self.signed_number(self.gains, self.gain_negative, 32)
        self.last_gain = signed((self.last_gain + moved) % (1 << 32), 32)
        return signed((self.last_gain << self.op.gain_shift) % (1 << 32), 32)

    def next_factor(self):
        return self.signed_number(self.factors, self.factor_negative, 23)

    def signed_number(self, number, negative, bits):
        size = number.decode(self.coder) % (1 << bits)
        return -size if size != 0 and self.coder.coded(negative) else size

    def before_value(self):
        if self.row is None:
            self.row = self.numbers(ROW_GAIN)

    def predict(self, kind, old):
        gain, factors = self.row
        update = 0
        if self.columns is not None:
            column_gain, column_factors = self.columns[self.column]
            gain = column_gain if self.op.gain == COLUMN_GAIN else gain
            update = sum(a * b for a, b in zip(factors, column_factors))
        return predict(kind, old, gain, update, self.op.factor_shift)

    def after_value(self):
        self.column += 1
        if self.column == self.op.row_values:
            self.column, self.row = 0, None


class Slot:
    """One state of the values codec; `coder` is set for each chunk."""

    def __init__(self, level):
        self.level, self.coder = level, None
        self.mean = self.activity = self.last = self.before = 0
        self.zeros = self.signs = self.tiles = self.seen = 0
        self.tail = 255
        self.tile_cells = cells(4)
        self.cells = cells(2560 if level else 404)
        self.weights = [[26666] * 3 for _ in range(36)]

    def decide(self, a, b, c, weights):
        if self.level == 0:
            return self.coder.coded(self.cells[a])
        return self.coder.mixed([self.cells[a], self.cells[b], self.cells[c]],
                                self.weights[weights])

    def plain(self, a):
        return self.coder.coded(self.cells[a])

    def note_sign(self, bit):
        self.signs = 3 * (self.signs % 3) + (2 if bit else 1)

    def follow(self, target):
        self.seen = min(self.seen + 1, 16)
        self.mean += toward_zero(target - self.mean, self.seen)

    def note_activity(self, magnitude):
        self.activity += toward_zero(256 * magnitude - self.activity, 8)

    def tile(self):
        bit = self.coder.coded(self.tile_cells[self.tiles & 3])
        self.tiles = 2 * self.tiles + bit & 3
        return bit

    def residual(self, kind, old, fraction=None):
        """fraction: of a prediction; None where old itself is expected."""
        narrow = TYPES[kind][0] == 1
        return self.narrow_residual(kind, old, fraction) if narrow else self.wide(kind, old,
                                                                                  fraction)

    def intra(self, kind, above):
        size, mantissa_bits = TYPES[kind][:2]
        if size == 1:
            return self.narrow_intra(kind, above)
        return self.float_intra(kind, above) if mantissa_bits else self.wide(kind, above, None)

    def act(self):
        return sum(step <= self.activity for step in ACTIVITY_STEPS)

    def pair(self):
        return 9 * (clamp(self.last, -4, 4) + 4) + clamp(self.before, -4, 4) + 4

    def note_residual(self, r):
        self.before, self.last = self.last, r
        self.note_activity(abs(r))

    def narrow_residual(self, kind, expected, fraction):
        v = centred(kind, expected)
        bucket = min(abs(v).bit_length(), 7)
        if fraction is None:
            near, third = bucket, self.pair()
            side, fine = 0 if v == 0 else 1 if v > 0 else 2, expected
        else:
            near, fine = min(abs(fraction) >> 4, 7), min(fraction + 128, 255)
            third = 9 * (fine >> 5) + clamp(self.last, -4, 4) + 4
            side = 2 if fraction < -16 else 1 if fraction > 16 else 0
        act = self.act()
        r = 0
        if self.decide(8 * act + near, 512 + expected, 768 + third, act):
            negative = self.decide(64 + 9 * side + self.signs, 1233 + fine, 1489 + third, 8 + side)
            self.note_sign(negative)
            r = self.magnitude(act, bucket, 7)
            if negative:
                r = -r
        self.note_residual(r)
        return (expected + r) % (1 << WIDTH[kind])

    def steps(self):
        """Of a grid."""
        act, pair = self.act(), self.pair()
        near = (1 if self.last != 0 else 0) + (2 if self.before != 0 else 0)
        k = 0
        if self.decide(8 * act + near, 512, 768 + pair, act):
            negative = self.decide(64 + self.signs, 1233, 1489 + pair, 8)
            self.note_sign(negative)
            k = self.magnitude(act, 0, 20)
            if negative:
                k = -k
        self.note_residual(k)
        return k

    def zero(self, kind, old):
        """The new element if it is a zero, else None."""
        if not is_float(kind):
            context = min(abs(centred(kind, old)), 63)
            return from_centred(kind, 0) if self.plain(320 + context) else None
        context = old >> (TYPES[kind][1] - 3) & 63
        if not self.plain(320 + context):
            return None
        sign_at = WIDTH[kind] - 1
        return self.plain(384 + 8 * (old >> sign_at) + (context >> 3)) << sign_at

    def magnitude(self, act, bucket, most):
        near = 2 * min(abs(self.last), 7) + min(abs(self.before), 1)
        for m in range(1, 16):
            s = m - 1
            if not self.decide(91 + 16 * act + s, 849 + 16 * bucket + s, 977 + 16 * near + s,
                               11 + min(s, 4)):
                return m
        k = 0
        while k < most and self.plain(219 + k):
            k += 1
        return 15 + (1 << k) + self.coder.raw(k)

    def narrow_intra(self, kind, above):
        size = clamp(self.activity >> 12, 0, 3)
        a = centred(kind, above)
        side = 0 if a < -16 else 1 if a < 0 else 2 if a <= 16 else 3
        node = 1
        for i in reversed(range(8)):
            node = 2 * node + self.decide(node, 512 + 256 * size + node, 1536 + 256 * side + node,
                                          16 + i)
        value = node - 256
        self.note_activity(abs(centred(kind, value)))
        return value

    def known_tail(self, kind):
        """How many low bits of the element are known to be 0."""
        tail = min(self.tail, TYPES[kind][1] or WIDTH[kind] - 1)
        return tail if tail >= 4 and self.plain(400) else 0

    def note_tail(self, bits):
        if bits % (1 << (self.tail & 31)) != 0:
            self.tail = (bits & -bits).bit_length() - 1
        return bits

    def wide(self, kind, old, fraction):
        _, mantissa_bits, mask = TYPES[kind]
        width = WIDTH[kind]
        exponent = old >> mantissa_bits & mask
        ordered = signed(old, width)
        if mask and ordered < 0:
            ordered = -1 - (old & ((1 << (width - 1)) - 1))
        if mask:
            key, top = exponent & 31, old >> (mantissa_bits - 2) & 3
        else:
            key, top = (ordered if ordered >= 0 else -1 - ordered).bit_length() & 31, 0
        near, side = self.zeros & 3, 1 if ordered < 0 else 0
        if fraction is not None:
            near = top = min(abs(fraction) >> 5, 3)
            side = 2 if fraction < -32 else 1 if fraction > 32 else 0
        tail = self.known_tail(kind)
        length = self.wide_length(key, (near, top), exponent)
        d = self.wide_difference(length, side) if length != 0 else 0
        moved = signed(((ordered >> tail) + d) % (1 << width), width)
        made = moved << tail
        if mask and moved < 0:
            made += (1 << tail) - 1
        made = signed(made % (1 << 32), 32)
        if mask and made < 0:
            made = -1 - made | 1 << (width - 1)
        return self.note_tail(made % (1 << width))

    def wide_difference(self, length, side):
        negative = self.plain(64 + 9 * side + self.signs)
        self.note_sign(negative)
        d, left = 1, length - 1
        if left > 0:
            d, left = 2 + self.plain(187 + 4 * length + 1), left - 1
        if left > 0:
            d, left = 2 * d + self.plain(187 + 4 * length + d), left - 1  # d is 2 + second here
        d = d << left | self.coder.raw(left)
        return -d if negative else d

    def wide_length(self, key, near_and_top, exponent):
        near, top = near_and_top
        expected = self.mean - 256 * exponent
        zone = clamp((expected + 768) >> 7, 0, 15)
        nonzero = self.decide(4 * zone + near, 512 + 4 * key + top,
                              1408 + (self.zeros & 31), 24 + (zone >> 2))
        self.zeros = 2 * self.zeros + nonzero & 31
        if not nonzero:
            return 0
        start = clamp((expected + 128) >> 8, 1, 32)
        pair = 3 * (clamp(self.last - start, -3, 3) + 3) + clamp(self.before - start, -1, 1) + 1
        length = self.near(start, (1, 32), (91 + 24 * (expected >> 6 & 3), 640 + 24 * key,
                                            1440 + 24 * pair), 28)
        self.before, self.last = self.last, length
        self.follow(256 * (exponent + length))
        return length

    def near(self, start, bounds, places, sets):
        low, high = bounds

        def reached(t):
            s = clamp(t - start, -11, 11) + 12
            k = 0 if s < 11 else 1 if s == 11 else 2 if s == 12 else 3
            return self.decide(*(place + s for place in places), sets + k)

        v, left = start, 20
        if v <= low or reached(v):
            while left > 0 and v < high and reached(v + 1):
                v, left = v + 1, left - 1
        else:
            v -= 1
            while left > 0 and v > low and not reached(v):
                v, left = v - 1, left - 1
        return clamp(self.coder.raw(8), low, high) if left == 0 else v

    def float_intra(self, kind, above):
        size, mantissa_bits, mask = TYPES[kind]
        sign = self.plain(self.signs)
        self.note_sign(sign)
        tail = self.known_tail(kind)
        start = clamp((self.mean + 128) >> 8, 0, mask)
        above_exponent = above >> mantissa_bits & mask
        x = self.near(start, (0, mask),
                      (16 + 24 * (self.mean >> 6 & 3),
                       512 + 24 * (clamp(above_exponent - start, -3, 3) + 3),
                       704 + 24 * (clamp(self.last - start, -4, 4) + 4)), 32)
        self.last = x
        self.follow(256 * x)
        row = 112 + 8 * (clamp(x - start, -2, 1) + 2)
        node = 1
        for _ in range(3):
            node = 2 * node + self.plain(row + node)
        left = mantissa_bits - 3
        silent = min(left, tail)
        mantissa = (node - 8) << left | self.coder.raw(left - silent) << silent
        return self.note_tail(sign << (8 * size - 1) | x << mantissa_bits | mantissa)


# --- 3.9: bytes -----------------------------------------------------------------------------------

MASK32 = 0xFFFFFFFF


def mix_hash(a, b):
    h = (a * 0x9E3779B1 ^ (b + 0x7F4A7C15) * 0x85EBCA6B) & MASK32
    h ^= h >> 15
    return h * 0x2C1B3C6D & MASK32


class ByteCell(Cell):
    """With the few bits of a hash that tell contexts apart."""
    __slots__ = ('check',)

    def __init__(self, check=0):
        super().__init__()
        self.check = check

    def update(self, bit):
        error = ((1 << 22) - 1 if bit else 0) - self.p
        self.p += (toward_zero(error, 128) * RATE[self.n]) >> 9
        self.n = min(self.n + 1, 60)


def byte_cells(count):
    return [ByteCell() for _ in range(count)]


def mixed_byte_bit(coder, inputs, known, phase, bit):
    """Codes a bit; or takes it as given, when it is not None."""
    x = [stretch(cell.probability()) for cell in inputs]
    total = sum((x[i] * ((known[i] + phase[i]) >> 2)) >> 8 for i in range(len(x)))
    probability = squash(total >> 6)
    if bit is None:
        bit = coder.bit(probability)
    error = (65536 - probability if bit else -probability) >> 2
    for i, cell in enumerate(inputs):
        step = (x[i] * error + 8192) >> 14
        for weights in (known, phase):
            weights[i] = clamp(weights[i] + step, -229376, 229376)
        cell.update(bit)
    return bit


LEARNT = 1 << 31


class BytesState:
    def __init__(self, decoder):
        limits = decoder.limits
        self.decoder, self.coder = decoder, None
        self.cells_log2, self.table_log2 = limits.byte_cells, limits.match_table
        self.reach = (1 << limits.history) - 1
        self.hashed = byte_cells(1 << self.cells_log2)
        self.table = [0] * (1 << self.table_log2)
        self.match_cells, self.other_cells = byte_cells(32), byte_cells(44)
        self.same_cells = (cells if self.cells_log2 < 10 else byte_cells)(90)
        for i, cell in enumerate(self.same_cells):
            cell.p, cell.n = (1 << 22) - (1 << 21) // (1 + i // 5), 4
        fresh = lambda count, weight, inputs: [[weight] * inputs for _ in range(count)]
        self.known, self.phase = fresh(19, 15000, 12), fresh(32, 0, 12)
        self.same_run, self.same_other = fresh(4, 15000, 4), fresh(11, 0, 4)
        self.small = [[15000] * 2, [0] * 2]
        self.anchor_old = self.anchor = self.anchor_gap = 0
        self.shift_new = self.shift_old = 0
        self.learnt = 0

    def begin(self, op, old, floor):
        self.op, self.old, self.floor = op, old, floor
        self.pointer, self.run, self.search = op.offset, 0, 0
        self.guessed = self.matched = self.follow = self.missed = 0
        if op.learn_size != 0:
            self.learnt = op.learn_offset
        self.learning = True
        for i in range(op.learn_size):
            self.p = i
            self.place = LEARNT + i
            self.back = lambda d: self.old_at(self.learnt + i - d) or 0
            self.literal(None, self.old[self.learnt + i])
        self.learning = False

    def old_at(self, offset):
        """A byte of old, None outside and before the floor."""
        return self.old[offset] if self.floor <= offset < len(self.old) else None

    def cell(self, h, node):
        spread = h + node * 0x3D4D51CB & MASK32
        check = (spread ^ h << 5) >> 6 & 15
        cell = self.hashed[spread >> (32 - self.cells_log2)]
        if cell.check == check or self.cells_log2 < 10:
            return cell
        if cell.n <= 1:
            cell.__init__(check)
            return cell
        cell.n -= 1
        return ByteCell()

    def byte(self):
        self.p = self.place = self.decoder.position
        self.back = self.decoder.back
        e = None if self.op.intra else self.old_at(self.pointer)
        self.pointer += 1
        if e is None:
            return self.literal(None, None)
        x = self.expected_byte() if self.search else None
        if self.same(e, x):
            value = e
            self.run += 1
            if self.search:
                self.note_match(value, x)
            else:
                self.matched = self.follow = 0
        else:
            if self.search == 0 or self.run >= 3:
                self.anchor_gap = self.p - self.anchor
                self.anchor, self.anchor_old = self.p, self.pointer - 1
                self.guessed = 0
            value = self.literal(e, None)
            self.run, self.search = 0, 32
        if self.search:
            self.resynchronise(value)
        return value

    def element(self):
        return 1 << min(self.op.width, 2)

    def same(self, e, x):
        phase = self.p % self.element()
        run = self.run if self.run < 16 else 16 if self.run < 32 else 17
        near = min(run, 3)
        trust = (0 if self.search == 0 else 1 if self.guessed
                 else 2 if self.p - self.anchor < self.shift_new
                 else 3 if self.search > 24 else 4)
        same_cell = self.same_cells[5 * run + trust]
        if self.cells_log2 < 10:
            return self.coder.coded(same_cell)
        salt = near + 16 * trust
        agrees = 0 if x is None else 2 * min(self.matched // 4, 4) + (1 if x == e else 2)
        inputs = [same_cell, self.cell(mix_hash(256 * e + self.back(1), 5 + salt), 0),
                  self.cell(mix_hash(256 * phase + e, 9 + salt), 0),
                  self.other_cells[4 * agrees + near]]
        return mixed_byte_bit(self.coder, inputs, self.same_run[near], self.same_other[agrees],
                              None)

    def resynchronise(self, value):
        self.search -= 1
        if self.run >= 4:
            self.search = 0
        if self.run != 0:
            return
        since = self.p + 1 - self.anchor
        if not self.guessed:
            behind = self.anchor_old + self.shift_old
            if self.shift_new != 0 and since == self.shift_new:
                self.pointer, self.guessed = behind, 1
                return
            if (self.shift_new == 0 and since == 1 and self.shift_old != 0
                    and self.old_at(behind) == value):
                self.pointer, self.guessed = behind + 1, 1
                return
        last = [value] + [self.back(i) for i in range(1, 6)]
        fits = lambda a, count: a >= count and all(
            self.old_at(a - 1 - i) == last[i] for i in range(count))
        if fits(self.pointer, 4):
            return
        for d in range(1, 65):
            if fits(self.pointer + d, 4):
                self.pointer += d
            elif self.pointer >= d and fits(self.pointer - d, 4):
                self.pointer -= d
            else:
                continue
            self.note_shift(since)
            return
        if self.table_log2 == 0:
            return
        place = self.table[self.key(last)]
        if place & LEARNT and fits(self.learnt + place - LEARNT, 6):
            self.pointer, self.guessed = self.learnt + place - LEARNT, 1

    def note_shift(self, since):
        n = 4
        while (n < since and self.pointer > self.anchor_old + n
               and self.old_at(self.pointer - n - 1) == self.back(n)):
            n += 1
        if n <= since and self.pointer >= self.anchor_old + n:
            self.shift_new = since - n
            self.shift_old = self.pointer - self.anchor_old - n & MASK32

    def key(self, last):
        word = last[0] << 8 | last[1] << 16 | last[2] << 24
        return (word * 0x9E3779B1 & MASK32) >> (32 - self.table_log2)

    def followed(self, before):
        """The byte so many before the one that the match model expects; None out of reach."""
        if self.follow & LEARNT:
            return self.old_at(self.learnt + self.follow - LEARNT - before)
        distance = self.p - self.follow
        return None if self.learning or distance > self.reach else self.back(distance + before)

    def expected_byte(self):
        """x of the page; sets matched, follow and missed."""
        if self.table_log2 == 0 or self.place < 4:
            return None
        if self.matched == 0:
            before = self.follow
            self.follow = self.table[self.key([self.back(i) for i in range(1, 4)])]
            n = 0
            while self.follow != 0 and n < 16 and self.back(n + 1) == self.followed(n + 1):
                n += 1
            if n >= 3:
                self.matched, self.missed = n, 0
            else:
                self.follow = before if self.missed <= 16 else 0
                if self.follow == 0:
                    return None
        x = self.followed(0)
        if x is None:
            self.matched = self.follow = 0
        return x

    def note_match(self, value, x):
        if self.table_log2 == 0:
            return
        if x is not None:
            self.follow = self.follow + 1 & MASK32
            self.matched = self.matched + 1 if x == value else 0
            self.missed += 0 if x == value else 1
        if self.place >= 4:
            self.table[self.key([self.back(i) for i in range(1, 4)])] = self.place

    def contexts(self, phase, e, x):
        back, op = self.back, self.op
        b1, b2, b3, b4 = back(1), back(2), back(3), back(4)
        last4 = b1 | b2 << 8 | b3 << 16 | b4 << 24
        above = back(op.stride or self.element())
        h = [mix_hash(phase, 0), mix_hash(256 * phase + b1, 1)]
        if self.cells_log2 < 10:
            return h
        h.append(mix_hash(b1 + 256 * b2 + (65536 * b3 if phase == 3 else 0), 16 * phase + 2))
        h.append(mix_hash(last4, 3))
        if e is not None:
            h.append(mix_hash(256 * e + phase, 13))
        else:
            h.append(mix_hash(65536 * phase + 256 * above + (b1 if phase else above), 4))
        if self.cells_log2 < 14 or op.width == 2:
            return h
        h.append(mix_hash(last4 << 8 & MASK32, 5))
        h.append(mix_hash(last4, mix_hash(back(5) | back(6) << 8, 6)))
        if e is not None and self.search and self.anchor_gap:
            since = min(self.p - self.anchor, 15)
            h.append(mix_hash(back(self.anchor_gap) + 256 * b1, 16 * since + 8))
        else:
            h.append(mix_hash(b2 + 256 * b3, 7))
        h.append(mix_hash(65536 * (self.p & 3) + 256 * b4 + back(8), 21))
        guess = 0 if x is None else 65536 + 256 * x + min(self.matched, 15)
        h += [mix_hash(guess, 22), mix_hash(guess, 256 * b1 + 23)]
        return h

    def literal(self, e, value):
        """Decodes a literal, or learns the value, when it is not None."""
        phase = self.p % self.element()
        x = self.expected_byte()
        h = self.contexts(phase, e, x)
        right = x is not None and self.cells_log2 >= 10
        node = 1
        for i in reversed(range(8)):
            bit = None if value is None else value >> i & 1
            inputs, seen = [], 0
            for k, each in enumerate(h):
                inputs.append(self.cell(each, node))
                seen += 1 if 2 <= k < 6 and inputs[-1].n != 0 else 0
            if self.cells_log2 < 10:
                bit = mixed_byte_bit(self.coder, inputs, self.small[0], self.small[1], bit)
            else:
                known = self.known[9 + (5 if e is not None else 0) + seen]
                if right:
                    inputs.append(self.match_cells[2 * min(self.matched, 15) + (x >> i & 1)])
                    known = self.known[min(self.matched // 4, 8)]
                bit = mixed_byte_bit(self.coder, inputs, known, self.phase[8 * phase + i],
                                     bit)
            right = right and x >> i & 1 == bit
            node = 2 * node + bit
        self.note_match(node - 256, x)
        return node - 256


# --- 3.1 and 3.2: chunks --------------------------------------------------------------------------

class PatchDecoder:
    def __init__(self, limits, component, olds, new_size):
        self.limits, self.component, self.olds = limits, component, olds
        self.new_size = new_size
        self.new = bytearray()
        self.restart_offset = 0
        self.position = 0
        self.headers = self.bytes_state = None
        self.slots = {}

    def back(self, d):
        reachable = d <= self.position and d <= (1 << self.limits.history) - 1
        return self.new[-d] if reachable else 0

    def put(self, data):
        self.new += data
        self.position += len(data)

    def restart(self):
        self.position = 0
        reach = self.limits.reach
        self.floor = max(0, len(self.new) - reach) if reach != 0 else 0
        self.headers = Headers(self.component, len(self.olds), len(self.new))
        self.slots, self.bytes_state = {}, None

    def decode(self, patch):
        at = 0
        while len(self.new) < self.new_size:
            require(at < len(patch), 'the patch ends early')
            first = patch[at]
            size, at = self.varint(patch, at + 1)
            payload_size, at = self.varint(patch, at)
            require(payload_size <= len(patch) - at, 'payload beyond the end')
            self.chunk(first, size, patch[at:at + payload_size])
            at += payload_size
        require(at == len(patch), 'bytes after the last chunk')
        return bytes(self.new)

    @staticmethod
    def varint(patch, at):
        value = 0
        for i in range(5):
            require(at < len(patch), 'the patch ends in a chunk header')
            byte = patch[at]
            at += 1
            value |= (byte & 127) << (7 * i)
            if byte < 128:
                require(byte != 0 or i == 0, 'superfluous byte of a varint')
                require(value < 1 << 32, 'varint too large')
                return value, at
        raise Refused('varint too long')

    def chunk(self, first, size, payload):
        require(first & 0x70 == 0, 'bits of a chunk header')
        require(1 <= size <= self.new_size - len(self.new), 'new size of a chunk')
        if first & 0x80:
            require(len(self.new) % self.limits.erase_size == 0, 'unaligned restart point')
            self.restart()
        require(self.headers is not None, 'no restart point at the start')
        require(self.position + size <= self.limits.restart_interval, 'restart interval')
        if first & 15 != 0:
            raise NoCodec(first & 15)
        coder = RangeDecoder(payload)
        end = len(self.new) + size
        while len(self.new) < end:
            op = self.headers.decode(coder)
            require(1 <= op.size <= end - len(self.new), 'size of an operation')
            self.operation(coder, op)
        require(coder.at >= len(payload), 'payload is left')

    def operation(self, coder, op):
        old = None
        if op.reads_old():
            require(op.component < len(self.olds), 'component of an old place')
            old = self.olds[op.component]
            needed = 0 if op.kind == BYTES else op.size
            require(op.offset + needed <= len(old), 'old place')
            require(op.kind == BYTES or op.offset >= self.floor, 'old beyond the reach')
        if op.kind == COPY:
            self.put(old[op.offset:op.offset + op.size])
        elif op.kind == VALUES:
            self.values(coder, op, old)
        elif op.kind == RECORDS:
            self.records(coder, op, old)
        else:
            if old is None:
                old = self.olds[self.component]
            require(op.learn_size <= 1 << 30
                    and op.learn_offset + op.learn_size <= len(old), 'what is learnt')
            require(op.learn_size == 0 or op.learn_offset >= self.floor, 'learns beyond the reach')
            self.bytes(coder, op, old)

    def slot(self, coder, op, index):
        if op.fresh:
            self.slots[index] = Slot(self.limits.value_level)
        require(index in self.slots, 'slot was not reset')
        self.slots[index].coder = coder
        return self.slots[index]

    def values(self, coder, op, old):
        require(op.type in TYPES and op.type != UINT4, 'type of values')
        size = TYPES[op.type][0]
        require(op.size % size == 0, 'size of values')
        require(op.slot < self.limits.value_slots, 'slot')
        slot = self.slot(coder, op, op.slot)
        if op.intra:
            require(op.factor == 0 or is_float(op.type), 'type of a product')
            for _ in range(op.size // size):
                above = self.above(op.row, size)
                value = (slot.residual(op.type, *product(op.type, above, op.factor)) if op.factor
                         else slot.intra(op.type, above))
                self.put(value.to_bytes(size, 'little'))
            return
        require(op.predictor != GRID or op.multiplier != 0, 'multiplier of a grid')
        require(op.predictor != LATTICE or is_float(op.type), 'type of a lattice')
        rows = Rows(coder, op, self.limits) if op.predictor == ROWS else None
        for i in range(op.size // size):
            if rows:
                rows.before_value()
            if i % 32 == 0:
                unchanged = slot.tile()
            value = u(old, op.offset + i * size, size)
            if not unchanged:
                value = self.residual(slot, op, rows, value)
            if rows:
                rows.after_value()
            self.put(value.to_bytes(size, 'little'))

    @staticmethod
    def residual(slot, op, rows, old):
        if op.zero_map:
            zero = slot.zero(op.type, old)
            if zero is not None:
                return zero
        if op.predictor == GRID:
            return on_grid(op.type, old, op.multiplier, op.exponent, slot.steps())
        if op.predictor == LATTICE:
            index, fraction = lattice_index(op.type, old, op.old_step)
            k = (slot.residual(INT8, index) if -1 <= fraction <= 1
                 else slot.residual(INT8, index, fraction))
            return on_lattice(op.type, op.new_step, (k ^ 128) - 128)
        if rows:
            return slot.residual(op.type, *rows.predict(op.type, old))
        return slot.residual(op.type, old)

    def records(self, coder, op, old):
        require(1 <= len(op.fields) <= self.limits.value_slots, 'count of fields')
        for kind, _, count in op.fields:
            require(count != 0, 'field without values')
            require(kind != UINT4 or count % 2 == 0, 'half a byte')
        slots = [self.slot(coder, op, self.limits.value_slots - 1 - i)
                 for i in range(len(op.fields))]
        size_of = lambda kind, count: count // 2 if kind == UINT4 else count * TYPES[kind][0]
        size = sum(size_of(kind, count) for kind, _, count in op.fields)
        require(op.size % size == 0, 'size of records')
        for begin in range(op.offset, op.offset + op.size, size):
            if slots[0].tile():
                self.put(old[begin:begin + size])
                continue
            ratio, at = ONE, begin
            for slot, (kind, scaled, count) in zip(slots, op.fields):
                data = old[at:at + size_of(kind, count)]
                at += len(data)
                made, ratio = self.field(slot, (kind, scaled), data, ratio)
                self.put(made)

    @staticmethod
    def field(slot, kind_and_scaled, old, ratio):
        kind, scaled = kind_and_scaled
        size, values = TYPES[kind][0], []
        if kind == UINT4:
            olds = [half for byte in old for half in (byte & 15, byte >> 4)]
        else:
            olds = [u(old, i, size) for i in range(0, len(old), size)]
        for before in olds:
            expected = predict(kind, before, ratio, 0, 0) if scaled else (before, None)
            values.append(slot.residual(kind, *expected))
            if kind == FLOAT16:
                ratio = scale_ratio(before, values[-1])
        if kind == UINT4:
            values = [low | high << 4 for low, high in zip(values[::2], values[1::2])]
        return b''.join(value.to_bytes(size, 'little') for value in values), ratio

    def above(self, row, size):
        if row < size or row > self.position:
            return 0
        return sum(self.back(row - i) << (8 * i) for i in range(size))

    def bytes(self, coder, op, old):
        require(self.limits.byte_cells != 0, 'no cells for bytes')
        if self.bytes_state is None:
            self.bytes_state = BytesState(self)
        state = self.bytes_state
        state.coder = coder
        state.begin(op, old, self.floor)
        for _ in range(op.size):
            self.put(bytes([state.byte()]))
        if op.reads_old():
            self.headers.expected_offset = state.pointer


# --- The command ----------------------------------------------------------------------------------

# What this program can judge. The others are about signatures, floors and places.
JUDGED = {'E_FORMAT', 'E_VERSION', 'E_DIGEST', 'E_TRUNCATED', 'E_TRAILING', 'E_OLD'}


def load(path):
    with open(path, 'rb') as file:
        return file.read()


def load_all(folder, names):
    return [] if names == '-' else [load(os.path.join(folder, name)) for name in names.split(',')]


def outcome(bundle, olds, news):
    """'DONE', 'refused: why', 'no codec', or what is wrong."""
    try:
        made = decode_bundle(bundle, olds)
    except Refused as refused:
        return f'refused: {refused}'
    except NoCodec:
        return 'no codec'
    return 'DONE' if made == news else 'other new files'


def check_vectors(folder):
    judged = wrong = 0
    indexes = [load(os.path.join(folder, name)) for name in ('index.tsv', 'index-p256.tsv')]
    for line in b''.join(indexes).decode().splitlines():
        name, bundle, old_names, new_names, status, options = line.split('\t')
        got = outcome(load(os.path.join(folder, bundle)), load_all(folder, old_names),
                      load_all(folder, new_names))
        if status == 'DONE':
            right = got == 'DONE'
        elif status == 'E_CODEC' and options == '-':
            right = got == 'no codec'
        elif status in JUDGED:
            # A stream that breaks a rule is refused for that and not for what it makes.
            right = got.startswith('refused') and not (status == 'E_FORMAT'
                                                       and got == 'refused: digest of new')
        else:
            continue
        judged += 1
        if not right:
            wrong += 1
            print(f'{name}: {status} expected, {got}')
    print(f'{judged} vectors judged, {wrong} wrong')
    return wrong == 0 and judged > 100


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('bundle', nargs='?')
    parser.add_argument('--vectors')
    parser.add_argument('--old', nargs='+', default=[])
    parser.add_argument('--new', nargs='+', default=[])
    arguments = parser.parse_args()
    if arguments.vectors:
        return 0 if check_vectors(arguments.vectors) else 1
    if not arguments.bundle or not arguments.new:
        parser.error('a bundle and its files, or --vectors')
    olds = [b'' if name == '-' else load(name) for name in arguments.old]
    got = outcome(load(arguments.bundle), olds, [load(name) for name in arguments.new])
    print(got)
    return 0 if got == 'DONE' else 1


if __name__ == '__main__':
    sys.exit(main())
